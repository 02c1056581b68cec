//! Forward reader of one log stream, with a few megabytes of read-ahead.

use crate::wal::shared::Inner;
use crate::wal::store::{key, number};
use fjall::{Keyspace, Slice};
use sluicebox_core::error::Result;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of one read-ahead.
const READ_AHEAD: usize = 4 << 20;

/// Reads one stream forward. Holds at most a few megabytes, or one record.
pub struct Reader {
    log: Arc<Inner>,
    stream: u16,
    /// First sequence number that is neither read nor in `ahead`.
    from: u64,
    ahead: VecDeque<(u64, Slice)>,
}

impl Reader {
    pub(super) fn new(log: Arc<Inner>, stream: u16, from: u64) -> Self {
        Self { log, stream, from, ahead: VecDeque::new() }
    }

    /// Returns the next durable record with its sequence number, or None if there is none yet.
    /// Never blocks. Fails if records still to be read have been trimmed.
    pub fn read(&mut self) -> Result<Option<(u64, Slice)>> {
        self.look()?;
        Ok(self.ahead.pop_front())
    }

    /// Looks for further records without taking one, so that [`Reader::position`] is up to date.
    pub fn look(&mut self) -> Result<()> {
        if self.ahead.is_empty() { self.read_ahead() } else { Ok(()) }
    }

    /// Returns the first sequence number not read yet: records before it may be trimmed. Also
    /// advances past records of other streams.
    pub fn position(&self) -> u64 {
        self.ahead.front().map_or(self.from, |(sequence, _)| *sequence)
    }

    fn read_ahead(&mut self) -> Result<()> {
        let (parts, durable) = {
            let segments = self.log.segments.read();
            // Records that become durable after this line are left to the next call.
            let durable = self.log.durable();
            let oldest = segments.keys().next().map_or(durable, |first| *first);
            let first = segments.range(..=self.from).next_back().map_or(oldest, |(first, _)| *first);
            let parts: Vec<Keyspace> = match self.from < durable {
                true => segments.range(first..).map(|(_, part)| part.keyspace.clone()).collect(),
                false => return Ok(()),
            };
            if self.from < oldest {
                drop(segments);
                self.skip_trimmed(oldest)?;
            }
            (parts, durable)
        };
        let cannot = |error| self.log.fault_of(&error);
        let mut bytes = 0;
        for part in parts {
            for record in part.range(key(self.stream, self.from)..key(self.stream, durable)) {
                let (key, payload) = record.into_inner().map_err(cannot)?;
                bytes += payload.len();
                let sequence = number(&key[2..]);
                self.from = sequence + 1;
                self.ahead.push_back((sequence, payload));
                if bytes >= READ_AHEAD {
                    return Ok(());
                }
            }
        }
        self.from = durable;
        Ok(())
    }

    /// Continues with the oldest record that is kept, unless trimmed records of this stream lie
    /// between. A reader that starts from 0 skips trimmed records.
    fn skip_trimmed(&mut self, oldest: u64) -> Result<()> {
        let gone = self.log.store.last_gone(self.stream).map_err(|error| self.log.fault_of(&error))?;
        if let Some(last) = gone.filter(|last| self.from > 0 && *last >= self.from) {
            return Err(self.log.fault(&format!(
                "the next record to read is {}, but records up to {last} have been deleted: go on from the \
                 newest checkpoint without the log, with --forget-log, or start anew with --fresh",
                self.from
            )));
        }
        self.from = oldest;
        Ok(())
    }
}

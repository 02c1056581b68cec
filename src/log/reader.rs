//! Reading a stream of the log forward, a few megabytes ahead.

use super::store::{key, number};
use super::{Log, unpoisoned};
use crate::error::Result;
use fjall::{Keyspace, Slice};
use std::collections::VecDeque;

/// Bytes a reader takes at a time.
const READ_AHEAD: usize = 4 << 20;

/// Reads one stream forward. It holds at most a few megabytes, or one record.
pub struct Reader {
    log: Log,
    stream: u16,
    /// Where to look next: all before is read, or in `ahead`.
    from: u64,
    ahead: VecDeque<(u64, Slice)>,
}

impl Reader {
    pub(super) fn new(log: Log, stream: u16, from: u64) -> Self {
        Self { log, stream, from, ahead: VecDeque::new() }
    }

    /// The next durable record with its sequence number; none while there is none. Never waits.
    /// Fails where records that were still to be read have been trimmed.
    pub fn read(&mut self) -> Result<Option<(u64, Slice)>> {
        self.look()?;
        Ok(self.ahead.pop_front())
    }

    /// Looks for further records without taking one, so that [`Reader::position`] is that of now.
    pub fn look(&mut self) -> Result<()> {
        if self.ahead.is_empty() { self.read_ahead() } else { Ok(()) }
    }

    /// The first sequence number that is not read yet: what is before it may be trimmed. It goes
    /// on past records of other streams too.
    pub fn position(&self) -> u64 {
        self.ahead.front().map_or(self.from, |(sequence, _)| *sequence)
    }

    fn read_ahead(&mut self) -> Result<()> {
        let (parts, durable) = {
            let segments = unpoisoned(self.log.0.segments.read());
            // What becomes durable after this line is left to the next call.
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

    /// Goes on with the oldest record that is kept, if none of this stream lies between. A
    /// reader from 0 takes what there is.
    fn skip_trimmed(&mut self, oldest: u64) -> Result<()> {
        let gone = self.log.0.store.last_gone(self.stream).map_err(|error| self.log.fault_of(&error))?;
        if let Some(last) = gone.filter(|last| self.from > 0 && *last >= self.from) {
            return Err(self.log.fault(&format!(
                "records from {} on are wanted, but those up to {last} have been trimmed; start anew with --fresh",
                self.from
            )));
        }
        self.from = oldest;
        Ok(())
    }
}

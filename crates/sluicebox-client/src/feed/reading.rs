//! The thread that reads files or stdin. Samples that the job already has are read again, compared
//! by checksum, and left out.

use crate::feed::input::Input;
use crate::feed::queue::SampleQueue;
use crate::feed::settings::Settings;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Block, Format};
use sluicebox_core::terminal::tell;
use sluicebox_stream::decode::{self, DecodeError, Kind, Record, Records};
use sluicebox_stream::protocol::{Accepted, ClientProgress};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

/// State of the reading thread.
pub struct Reading {
    settings: Settings,
    client: String,
    format: Format,
    queue: Arc<SampleQueue>,
    /// Samples that the job already had, and those read again so far.
    known: ClientProgress,
    again: ClientProgress,
    scratch: Block,
}

impl Reading {
    /// Starts a thread that fills `queue` and ends when everything is read or the feeder is stopped.
    pub fn start(
        settings: &Settings,
        client: &str,
        accepted: &Accepted,
        queue: Arc<SampleQueue>,
    ) -> Result<()> {
        let mut reading = Self {
            settings: settings.clone(),
            client: client.to_string(),
            format: accepted.format.clone(),
            queue,
            known: accepted.taken,
            again: ClientProgress::default(),
            scratch: Block::default(),
        };
        let thread = std::thread::Builder::new().name("reading".into());
        let started = thread.spawn(move || {
            let end = reading.run();
            reading.queue.end(end);
        });
        started
            .map(|_| ())
            .map_err(|error| Error::Connection(format!("cannot start the reading thread: {error}")))
    }

    fn run(&mut self) -> Result<()> {
        for round in 0u64.. {
            let mut found = false;
            for input in self.settings.inputs.clone() {
                let files = input.files()?;
                if let Input::Stdin(kind) = input {
                    let stdin = Path::new("stdin");
                    let records = self.stdin(kind).map_err(|fault| Error::file(stdin, fault))?;
                    if !self.read(stdin, records, round, &mut found)? {
                        return Ok(());
                    }
                }
                for path in files {
                    let records = decode::open(&path, &self.format, &self.settings.decode)?;
                    if !self.read(&path, records, round, &mut found)? {
                        return Ok(());
                    }
                }
            }
            if !self.settings.repeat {
                break;
            }
            if !found {
                return Err(Error::request("the input has no samples to repeat"));
            }
        }
        match self.again.samples < self.known.samples {
            true => Err(self.other()),
            false => Ok(()),
        }
    }

    fn stdin(&self, kind: Kind) -> std::result::Result<Box<dyn Records>, DecodeError> {
        let input = BufReader::with_capacity(1 << 16, std::io::stdin());
        Ok(match kind {
            Kind::Csv => Box::new(decode::csv(input, &self.format, &self.settings.decode.table, tell)),
            Kind::Npy => Box::new(decode::npy(input, &self.format)?),
            _ => Box::new(decode::ndjson(input, &self.format)),
        })
    }

    /// Passes every record on; returns false once the feeder is stopped.
    fn read(
        &mut self,
        path: &Path,
        mut records: Box<dyn Records>,
        round: u64,
        found: &mut bool,
    ) -> Result<bool> {
        loop {
            match records.next_record() {
                Ok(None) => return Ok(true),
                Ok(Some(record)) => {
                    *found = true;
                    if !self.give(record, round)? {
                        return Ok(false);
                    }
                }
                Err(fault @ DecodeError::Bad { .. }) if self.settings.skip_bad => {
                    if self.queue.bad() == 0 {
                        tell(&format!(
                            "{}: {fault}: skipped; further bad records are skipped without a message",
                            path.display()
                        ));
                    }
                    self.queue.skip();
                }
                Err(fault) => return Err(Error::file(path, fault)),
            }
        }
    }

    fn give(&mut self, record: Record, round: u64) -> Result<bool> {
        // A repeated sample counts as a new one, so it must not keep its id.
        let id = record.id.filter(|_| round == 0);
        if self.again.samples == self.known.samples {
            return Ok(self.queue.push(id, &record.values));
        }
        self.scratch.ids.clear();
        self.scratch.bytes.clear();
        self.scratch.ids.extend(id);
        self.scratch.push(&record.values);
        self.again.add(&self.scratch, 1);
        match self.again.samples == self.known.samples && self.again != self.known {
            true => Err(self.other()),
            false => Ok(!self.queue.is_stopped()),
        }
    }

    /// Error where the samples read here do not begin with those that the job has.
    fn other(&self) -> Error {
        Error::request(format!(
            "the job already has {} samples of client {}, and the input does not begin with the same ones; to \
             send the whole input, use another --client-id",
            self.known.samples, self.client
        ))
    }
}

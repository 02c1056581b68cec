//! The thread that reads files or stdin. Samples that the job already has are read again, compared
//! by checksum, and left out.

use crate::feed::Settings;
use crate::feed::queue::SampleQueue;
use sha2::{Digest, Sha256};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Block;
use sluicebox_core::sample::Format;
use sluicebox_stream::decode;
use sluicebox_stream::decode::{DecodeError, Kind, Record, Records};
use sluicebox_stream::protocol::{Accepted, ClientProgress};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where samples are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or all files in a folder whose names give a known format, sorted by name.
    File(PathBuf),
    /// Stdin.
    Stdin(Kind),
}

impl Input {
    /// Returns an error if the input does not exist.
    pub fn check(&self) -> Result<()> {
        self.files().map(|_| ())
    }

    /// Returns the files of this input; none for stdin.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let Input::File(path) = self else { return Ok(Vec::new()) };
        let fault = |error| Error::file(path, error);
        if !std::fs::metadata(path).map_err(fault)?.is_dir() {
            return Ok(vec![path.clone()]);
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fault)? {
            files.push(entry.map_err(fault)?.path());
        }
        files.retain(|file| Kind::of(file).is_some() && file.is_file());
        files.sort();
        match files.is_empty() {
            true => Err(Error::file(path, "there is no file in this folder whose name says what it holds")),
            false => Ok(files),
        }
    }
}

/// Returns a client id that the same command on the same machine produces again. Input from stdin
/// or with `repeat` gets a new id each time.
pub fn client_id(settings: &Settings) -> String {
    let mut digest = Sha256::new();
    let mut first = "stdin".to_string();
    for input in settings.inputs.iter().rev() {
        if let Input::File(path) = input {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            digest.update(whole.as_os_str().as_encoded_bytes());
            digest.update([0]);
            first = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
    }
    let once = settings.repeat || settings.inputs.iter().any(|input| matches!(input, Input::Stdin(_)));
    if once {
        digest.update(rand::random::<u64>().to_le_bytes());
    }
    let hash: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = format!("{host}-{first}").chars().filter(|c| !c.is_control()).take(100).collect();
    format!("{name}-{hash}")
}

/// State of the reading thread.
pub struct Reading {
    settings: Settings,
    client: String,
    format: Format,
    hopper: Arc<SampleQueue>,
    /// Samples that the job already had, and those read again so far.
    known: ClientProgress,
    again: ClientProgress,
    scratch: Block,
}

impl Reading {
    /// Starts a thread that fills `hopper` and ends when everything is read or the feeder is stopped.
    pub fn start(
        settings: &Settings,
        client: &str,
        accepted: &Accepted,
        hopper: Arc<SampleQueue>,
    ) -> Result<()> {
        let mut reading = Self {
            settings: settings.clone(),
            client: client.to_string(),
            format: accepted.format.clone(),
            hopper,
            known: accepted.taken,
            again: ClientProgress::default(),
            scratch: Block::default(),
        };
        let thread = std::thread::Builder::new().name("reading".into());
        let started = thread.spawn(move || {
            let end = reading.run();
            reading.hopper.end(end);
        });
        started.map(|_| ()).map_err(|error| Error::Connection(format!("cannot start to read: {error}")))
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
                return Err(Error::request("there is no sample to send again and again"));
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
            Kind::Csv => Box::new(decode::csv(input, &self.format, &self.settings.decode)),
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
                    if self.hopper.bad() == 0 {
                        eprintln!("{}: {fault}: left out, and so are others like it", path.display());
                    }
                    self.hopper.skip();
                }
                Err(fault) => return Err(Error::file(path, fault)),
            }
        }
    }

    fn give(&mut self, record: Record, round: u64) -> Result<bool> {
        // A repeated sample counts as a new one, so it must not keep its id.
        let id = record.id.filter(|_| round == 0);
        if self.again.samples == self.known.samples {
            return Ok(self.hopper.push(id, &record.values));
        }
        self.scratch.ids.clear();
        self.scratch.bytes.clear();
        self.scratch.ids.extend(id);
        self.scratch.push(&record.values);
        self.again.add(&self.scratch, 1);
        match self.again.samples == self.known.samples && self.again != self.known {
            true => Err(self.other()),
            false => Ok(!self.hopper.is_stopped()),
        }
    }

    /// Error where the samples read here do not begin with those that the job has.
    fn other(&self) -> Error {
        Error::request(format!(
            "the job has {} samples of client {}, and these do not begin with them; to send all of these, \
             name another --client-id",
            self.known.samples, self.client
        ))
    }
}

//! The thread that reads files or stdin. Samples that the job already has are read again, compared
//! by checksum, and left out.

use crate::feed::idx_labels::{labelled, labels_of};
use crate::feed::input::{Input, class_of_folder};
use crate::feed::queue::SampleQueue;
use crate::feed::settings::Settings;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Block, Format, SampleClass};
use sluicebox_core::terminal::tell;
use sluicebox_stream::decode::{self, DecodeError, Keys, Kind, Record, Records};
use sluicebox_stream::protocol::{Accepted, ClientProgress};
use std::io::BufReader;
use std::path::{Path, PathBuf};
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
    /// Whether it was told that folders give images their labels.
    told_of_folders: bool,
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
            told_of_folders: false,
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
            let inputs = self.settings.inputs.clone();
            let files = inputs.iter().map(Input::files).collect::<Result<Vec<Vec<PathBuf>>>>()?;
            let read_along: Vec<PathBuf> =
                files.iter().flatten().filter_map(|path| labels_of(path)).collect();
            for (input, files) in inputs.into_iter().zip(files) {
                if let Input::Stdin(kind) = input {
                    let stdin = Path::new("stdin");
                    let records = self.stdin(kind).map_err(|fault| Error::file(stdin, fault))?;
                    if !self.read(stdin, records, None, round, &mut found)? {
                        return Ok(());
                    }
                }
                for path in files.into_iter().filter(|path| !read_along.contains(path)) {
                    let (records, class) = self.open(&path)?;
                    if !self.read(&path, records, class, round, &mut found)? {
                        return Ok(());
                    }
                }
            }
            if !found && self.queue.bad() > 0 {
                let bad = self.queue.bad();
                return Err(Error::request(format!("none of the {bad} records of the input can be read")));
            }
            if !found && !self.settings.repeat {
                tell("there is no sample in the input");
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

    /// Opens a file. Returns its records, and the class that its folder gives them.
    fn open(&mut self, path: &Path) -> Result<(Box<dyn Records>, Option<String>)> {
        let records = decode::open(path, &self.format_of(Kind::of(path)), &self.settings.decode)?;
        if !self.settings.labels {
            return Ok((records, None));
        }
        if let Some(labels) = labels_of(path) {
            return Ok((labelled(records, labels, &self.format.classes)?, None));
        }
        let class = class_of_folder(path, &self.format.classes);
        if let Some(class) = class.as_ref().filter(|_| !std::mem::replace(&mut self.told_of_folders, true)) {
            tell(&format!(
                "{}: its label is the name of its folder, `{class}`; so are those of other images in folders with the \
                 name of a class (--no-labels sends none)",
                path.display()
            ));
        }
        Ok((records, class))
    }

    /// Returns the format by which records of a kind are read: one without classes takes any label.
    fn format_of(&self, kind: Option<Kind>) -> Format {
        match self.settings.labels || kind == Some(Kind::Cifar) {
            true => self.format.clone(),
            false => Format { classes: Vec::new(), ..self.format.clone() },
        }
    }

    fn stdin(&self, kind: Kind) -> std::result::Result<Box<dyn Records>, DecodeError> {
        let input = BufReader::with_capacity(1 << 16, std::io::stdin());
        let format = self.format_of(Some(kind));
        Ok(match kind {
            Kind::Csv => Box::new(decode::csv(input, &format, &self.settings.decode.table, tell)),
            Kind::Npy => Box::new(decode::npy(input, &format)?),
            _ => {
                let keys = Keys::of(&self.settings.decode.table, &format).map_err(DecodeError::Broken)?;
                Box::new(decode::ndjson(input, &format, keys))
            }
        })
    }

    /// Passes every record on, with `class` where it has none; returns false once the feeder is stopped.
    fn read(
        &mut self,
        path: &Path,
        mut records: Box<dyn Records>,
        class: Option<String>,
        round: u64,
        found: &mut bool,
    ) -> Result<bool> {
        loop {
            match records.next_record() {
                Ok(None) => return Ok(true),
                Ok(Some(record)) => {
                    *found = true;
                    let class = record.class.clone().or_else(|| class.clone());
                    if !self.give(Record { class, ..record }, round)? {
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
        let class = record.class.filter(|_| self.settings.labels);
        let class = class.map(|name| decode::class(&self.format.classes, &name)).transpose();
        let class = class.map_err(Error::Request)?.map(|class| class as u32);
        if self.again.samples == self.known.samples {
            return Ok(self.queue.push(id, &record.values, class));
        }
        self.scratch.ids.clear();
        self.scratch.names.clear();
        self.scratch.bytes.clear();
        self.scratch.classes.clear();
        id.into_iter().for_each(|id| self.scratch.push_id(id));
        self.scratch.classes.extend(class.map(|class| SampleClass { at: 0, class }));
        self.scratch.push(&record.values);
        self.again.add(&self.scratch, 1);
        match self.again.samples == self.known.samples && self.again != self.known {
            true => Err(self.other()),
            false => Ok(!self.queue.is_stopped()),
        }
    }

    /// Error where the samples read here do not begin with those that the job has.
    fn other(&self) -> Error {
        if self.again == (ClientProgress { labels: self.again.labels, ..self.known }) {
            return Error::request(format!(
                "the job already has {} samples of client {}, but with other labels than the input, or without; with \
                 --no-labels the rest is sent as it would be without labels, and with another --client-id all of it \
                 is sent again",
                self.known.samples, self.client
            ));
        }
        Error::request(format!(
            "the job already has {} samples of client {}, and the input does not begin with the same ones; to \
             send the whole input, use another --client-id",
            self.known.samples, self.client
        ))
    }
}

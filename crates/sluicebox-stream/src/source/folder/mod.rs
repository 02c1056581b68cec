//! Source of files that appear in a folder, of any kind that is read: images, Parquet, Arrow, IDX, NPY, CSV, NDJSON,
//! CIFAR, tar. A file is read once, when it is complete, for as long as its name stays in the folder. Files in folders below it are
//! read too; a folder with the name of a class labels its files. Where the job names no classes, they are the folders
//! in the folder.

mod arrivals;
mod files;
mod journal;
mod settings;

use crate::decode;
use crate::decode::{DecodeError, Form, Kind, PixelRange, Record, Records};
use crate::ingest::IngestContext;
use crate::remote;
use crate::source::api::{Context, HeldOut, OWN_IDS, ReadProgress, Source};
use crate::source::bad_records::BadRecords;
use crate::source::dead_letter::State as Letters;
use crate::source::filled::filled;
use crate::source::image_files::ImageFiles;
use arrivals::Arrivals;
pub use files::list;
use files::{folders_of_classes, streamed};
use journal::Journal;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
pub use settings::Settings;
use sha2::{Digest, Sha256};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Samples, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::{Stateful, decode, encode};
use std::path::Path;
use std::time::Instant;

/// Position of the stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Position {
    /// Name of the journal in the state folder.
    journal: String,
    /// Number of the file that is being read, or of the next.
    file: u64,
    /// Records of that file that were read, good and bad.
    record: u64,
    /// Records read, good and bad.
    records: u64,
    /// Ids assigned.
    given: u64,
    letters: Letters,
}

struct Folder {
    options: Settings,
    format: Format,
    context: Context,
    /// First assigned id; ids in files are kept unchanged.
    first_id: u64,
    position: Position,
    arrivals: Arrivals,
    bad: BadRecords,
    /// Opened at the first read.
    journal: Option<Journal>,
    /// File that is being read.
    present: Option<Box<dyn Records>>,
    images: ImageFiles,
    pixels: Option<PixelRange>,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let mut options: Settings = sluicebox_core::config::registry::settings(spec)?;
    let own = context.own_files(options.dead_letter.as_ref());
    let path = &options.path;
    if remote::is_url(path) {
        if streamed(&options, &own)?.names.is_empty() && !options.follow {
            let reason = "it holds no file that is read; is source.path the folder, without its last slash?";
            return Err(Error::file(path, reason));
        }
    } else if !path.is_dir() {
        let reason = "no such folder; set source.path (--set source.path=…) to where files will appear";
        return Err(Error::file(path, reason));
    }
    if options.classes.is_empty() {
        options.classes = folders_of_classes(&options, &own)?;
    }
    let path = &options.path;
    let name: String =
        Sha256::digest(path.to_string_lossy().as_bytes())[..4].iter().map(|b| format!("{b:02x}")).collect();
    let format = options.sample_format().format();
    let missing = options.missing;
    let folder = Box::new(Folder {
        pixels: context.pixel_range(&format),
        format,
        position: Position { journal: format!("folder-{name}.journal"), ..Position::default() },
        arrivals: Arrivals::new(&options, own, context.seed),
        bad: BadRecords::new(options.max_bad, options.dead_letter.clone(), context),
        options,
        context: context.clone(),
        first_id: OWN_IDS,
        journal: None,
        present: None,
        images: ImageFiles::default(),
    });
    Ok(filled(folder, missing))
}

/// Next item of the stream.
enum Next {
    /// A sample and, if known, its class.
    Sample(Record, Option<usize>),
    /// No sample yet.
    NotYet,
    /// End of the stream.
    End,
}

impl Folder {
    /// Returns the journal, opened at the current position.
    fn journal(&mut self) -> Result<&mut Journal> {
        match &mut self.journal {
            Some(journal) => Ok(journal),
            none => {
                let path = self.context.state.as_ref().map(|state| state.join(&self.position.journal));
                let mut journal = Journal::open(path)?;
                if self.position.file > journal.next() {
                    let reason = format!(
                        "the journal {}, which records which files of {} have been read, is missing from the state folder or \
                         belongs to another job; put it back, or start anew with --fresh",
                        self.position.journal,
                        self.options.path.display()
                    );
                    return Err(Error::Request(reason));
                }
                journal.go_to(self.position.file);
                Ok(none.insert(journal))
            }
        }
    }

    /// Reads the next sample; bad records before it go to the dead-letter file.
    fn next(&mut self) -> Result<Next> {
        loop {
            let Some((number, name)) = self.journal()?.front().cloned() else {
                let Some(journal) = &mut self.journal else { continue };
                let at_rest = self.arrivals.look(journal, Instant::now())?;
                match journal.front() {
                    Some(_) => continue,
                    None if at_rest && !self.options.follow => return Ok(Next::End),
                    None => return Ok(Next::NotYet),
                }
            };
            let path = self.options.path.join(&name);
            let fault = match self.next_record(number, &path) {
                Ok(Some(record)) => {
                    let class = self.class(&record, &name);
                    return Ok(Next::Sample(record, class));
                }
                Ok(None) => {
                    self.close(number)?;
                    continue;
                }
                Err(fault) => fault,
            };
            let read = self.position.records;
            match fault {
                DecodeError::Bad { line, reason, text } => self.bad.add(&path, line, &reason, &text, read)?,
                DecodeError::Broken(reason) => {
                    // A file that cannot be reached is not known to be bad: a resumed job reads it.
                    remote::check_reached(&path)?;
                    self.close(number)?;
                    self.bad.add(&path, 0, &reason, "", read)?;
                }
            }
        }
    }

    /// Reads the next record of file `number`; opens the file if necessary.
    fn next_record(&mut self, number: u64, path: &Path) -> Result<Option<Record>, DecodeError> {
        if number != self.position.file {
            (self.position.file, self.position.record) = (number, 0);
        }
        let next = match &mut self.present {
            Some(present) => present.next_record(),
            none => {
                let coming = self.journal.iter().flat_map(Journal::coming);
                let coming = coming.map(|name| self.options.path.join(name));
                let (options, skipped) = (self.options.decoding(), self.position.record);
                let opened = self.images.open(path, skipped, coming, &self.format, &options);
                opened.and_then(|records| none.insert(records).next_record())
            }
        };
        if next != Ok(None) {
            self.position.record += 1;
            self.position.records += 1;
        }
        match (next, &self.pixels) {
            (Ok(Some(record)), Some(pixels)) => match pixels.check(&record.values) {
                Ok(()) => Ok(Some(record)),
                Err(reason) => {
                    Err(DecodeError::Bad { line: self.position.record, reason, text: String::new() })
                }
            },
            (next, _) => next,
        }
    }

    /// Advances to the file after `number`.
    fn close(&mut self, number: u64) -> Result<()> {
        self.present = None;
        (self.position.file, self.position.record) = (number + 1, 0);
        self.journal()?.go_to(number + 1);
        Ok(())
    }

    /// Returns the class of a record: its own, or that of the folder of its file.
    fn class(&self, record: &Record, name: &str) -> Option<usize> {
        match &record.class {
            Some(class) => decode::class(&self.format.classes, class).ok(),
            None => self.folder_class(name),
        }
    }

    /// Returns the class after which the innermost folder of a file is named that has a class's name. A number,
    /// as of a shard, is none.
    fn folder_class(&self, name: &str) -> Option<usize> {
        let (folders, _) = name.rsplit_once('/')?;
        folders.rsplit('/').find_map(|folder| decode::named(&self.format.classes, folder))
    }

    /// Reads the image in a file.
    fn image(&self, name: &str) -> Option<Values> {
        let path = self.options.path.join(name);
        let mut records = decode::open(&path, &self.format, &self.options.decoding()).ok()?;
        Some(records.next_record().ok()??.values)
    }

    /// Draws the labelled images from those present now.
    fn choose_labelled(&self) -> Result<Vec<String>> {
        let wanted = self.options.labelled_per_class;
        let own = self.context.own_files(self.options.dead_letter.as_ref());
        let mut files = streamed(&self.options, &own)?.names;
        files.retain(|name| Kind::of(Path::new(name)) == Some(Kind::Image));
        files.shuffle(&mut Randomness::new(self.context.seed, 0).at(u64::MAX, Stage::Source));
        let mut found = vec![0; self.format.classes.len()];
        let mut chosen = Vec::new();
        for name in files {
            if found.iter().all(|found| *found == wanted) {
                break;
            }
            let Some(class) = self.folder_class(&name) else { continue };
            if found[class] < wanted && self.image(&name).is_some() {
                chosen.push(name);
                found[class] += 1;
            }
        }
        match found.iter().position(|found| *found < wanted) {
            None => Ok(chosen),
            Some(class) => {
                let (name, found) = (&self.format.classes[class], found[class]);
                let reason = format!(
                    "has {found} images that can be read, but source.labelled_per_class is {wanted}: put images \
                     of class `{name}` there before the job starts"
                );
                Err(Error::file(self.options.path.join(name), reason))
            }
        }
    }
}

impl Stateful for Folder {
    fn save(&self) -> Result<Vec<u8>> {
        let position = Position { letters: self.bad.state(), ..self.position.clone() };
        encode("the source", &position)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        (self.journal, self.present) = (None, None);
        self.images.clear();
        self.bad.restore(self.position.letters.clone())
    }
}

impl Source for Folder {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        let wanted = self.options.labelled_per_class * self.format.classes.len();
        // The journal already has some if the job was killed before its first checkpoint.
        if self.journal()?.labelled().len() != wanted {
            let chosen = self.choose_labelled()?;
            self.journal()?.begin(chosen)?;
        }
        let mut samples = Labelled::none(self.format.dtype);
        for name in self.journal()?.labelled() {
            let (Some(values), Some(class)) = (self.image(&name), self.folder_class(&name)) else {
                let reason = "this labelled image can no longer be read; start with --fresh";
                return Err(Error::file(self.options.path.join(&name), reason));
            };
            samples.values.extend_from(&values, 0..values.len());
            samples.classes.push(class as i64);
        }
        Ok(samples)
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let Some(folder) = &self.options.test else { return Ok(None) };
        let mut files = list(folder)?.names;
        files.shuffle(&mut Randomness::new(self.context.seed, 0).at(u64::MAX - 1, Stage::Source));
        let mut held_out = Labelled::none(self.format.dtype);
        for name in files {
            if held_out.len() >= limit {
                break;
            }
            let path = folder.join(&name);
            let mut records = decode::open(&path, &self.format, &self.options.decoding())?;
            while held_out.len() < limit
                && let Some(record) = records.next_record().map_err(|fault| Error::file(&path, fault))?
            {
                if let Some(class) = self.class(&record, &name) {
                    held_out.values.extend_from(&record.values, 0..record.values.len());
                    held_out.classes.push(class as i64);
                }
            }
        }
        if held_out.is_empty() {
            return Err(Error::file(folder, "it holds no sample whose class is known"));
        }
        Ok(Some(Box::new(held_out)))
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn has_own_ids(&self) -> bool {
        true
    }

    fn form(&self) -> Option<Form> {
        Some(Form::of(self.options.decoding(), &self.format))
    }

    fn open(&mut self, _live: &IngestContext, stream: u16) -> Result<()> {
        self.first_id = OWN_IDS * (u64::from(stream) + 1);
        Ok(())
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        for _ in 0..count {
            let (record, class) = match self.next()? {
                Next::Sample(record, class) => (record, class),
                Next::NotYet => return Ok(ReadProgress::NotYet),
                Next::End => return Ok(ReadProgress::End),
            };
            samples.values.extend_from(&record.values, 0..record.values.len());
            samples.truth.push(class);
            let given = self.first_id + self.position.given;
            self.position.given += u64::from(record.id.is_none());
            samples.push_id(record.id.unwrap_or(SampleId::of_key(given)));
        }
        Ok(ReadProgress::Full)
    }

    fn dead_letters(&self) -> u64 {
        self.bad.count()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.bad.reasons()
    }
}

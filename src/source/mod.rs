//! Where samples come from. One file a source, one row in [`SOURCES`].

pub mod ahead;
mod blind;
mod blocks;
mod cifar;
mod csv;
pub mod cuts;
mod dead_letter;
mod digits;
pub mod feed;
mod folder;
mod http;
mod idx;
mod kafka;
pub mod late;
mod lines;
pub mod logged;
pub mod mix;
mod npy;
pub mod scenario;
pub mod tcp;
mod tolerance;

use crate::access::Access;
use crate::error::Result;
use crate::intake::Intake;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::samples::{Format, Labelled, Samples};
use std::borrow::Cow;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a source may need beside its options.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The job's seed.
    pub seed: u64,
    /// The job's state folder, if it has one.
    pub state: Option<PathBuf>,
    /// Number of the source in the job.
    pub source: usize,
}

impl Context {
    /// Where a source's bad records go that does not say: each source has a file of its own.
    pub fn dead_letters(&self) -> PathBuf {
        let name = match self.source {
            0 => "dead-letter.jsonl".to_string(),
            other => format!("dead-letter-{other}.jsonl"),
        };
        self.state.clone().unwrap_or_default().join(name)
    }
}

/// What a job has that listens: the gate to its log, and where listeners run.
pub struct Live {
    /// The gate.
    pub intake: Arc<Intake>,
    /// Runs listeners.
    pub runtime: tokio::runtime::Handle,
    /// Who may come in, and how.
    pub access: Arc<Access>,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// As many samples as asked for.
    Full,
    /// Fewer: nothing more has arrived yet.
    NotYet,
    /// Fewer: the stream is over.
    End,
}

/// A stream of samples that can say where it is and go back there.
pub trait Source {
    /// What the samples look like.
    fn format(&self) -> &Format;

    /// The samples whose classes are known before the stream begins. Called once, before the
    /// first read, and only when a job starts anew: a resumed job has them in its memory.
    fn labelled(&mut self) -> Result<Labelled>;

    /// The samples whose classes become known while the stream flows: those that are new since the
    /// last time, once `streamed` samples of it have gone by.
    fn learned(&mut self, _streamed: u64) -> Option<Labelled> {
        None
    }

    /// Whether it knows the classes of the samples it streams.
    fn knows_classes(&self) -> bool {
        true
    }

    /// At most `limit` samples kept apart for evaluation, where the source has such.
    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>>;

    /// Whether what a read gives depends on when it is asked: then the job writes down how
    /// each step was cut.
    fn is_timed(&self) -> bool {
        false
    }

    /// Begins to listen, as source number `stream` of the job. Called once, before the first
    /// read, and only in jobs in which a source [is timed](Source::is_timed).
    fn open(&mut self, _live: &Live, _stream: u16) -> Result<()> {
        Ok(())
    }

    /// Whether those who feed it are told what is durable: then the job must have a place where
    /// that is kept.
    fn acknowledges(&self) -> bool {
        false
    }

    /// Whether its samples have ids that somebody else knows them by: these stay as they are
    /// where a job has several sources.
    fn has_own_ids(&self) -> bool {
        false
    }

    /// What is to be written down of the reads since the last note, beside how many samples
    /// they gave, so that a restart can read the same again.
    fn note(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Hands such a note back before those reads are done again: they then give just that,
    /// however long it takes to arrive.
    fn replay(&mut self, _note: &[u8]) -> Result<()> {
        Ok(())
    }

    /// The first record of the log that is still to be read, where the source reads the log.
    fn log_position(&self) -> Option<u64> {
        None
    }

    /// Appends up to `count` samples to `samples`, without waiting for more to arrive.
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<Progress>;

    /// Where the stream is: bytes for [`Source::restore`].
    fn snapshot(&self) -> Vec<u8>;

    /// Goes back to where a snapshot was taken: the next sample read is the one that would
    /// have been read then.
    fn restore(&mut self, state: &[u8]) -> Result<()>;

    /// At most `limit` samples with known classes for an evaluation of a saved state, where
    /// `streamed` samples had been seen and the source's own state was `state`.
    fn evaluation(&mut self, _state: &[u8], streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        Ok(self.held_out(limit)?.map(|held_out| held_out.at(streamed).into_owned()))
    }

    /// Records that could not be read so far; they are in the dead-letter file.
    fn dead_letters(&self) -> u64 {
        0
    }

    /// The same by the kind of reason.
    fn reasons(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Samples for evaluation, as they look after so many samples of the stream (a drifting
/// source drifts here too).
pub trait HeldOut {
    /// The samples and their classes.
    fn at(&self, streamed: u64) -> Cow<'_, Labelled>;

    /// The same as they look in a phase of the stream, where phases look different.
    fn in_phase(&self, _phase: usize, _streamed: u64) -> Option<Labelled> {
        None
    }
}

impl HeldOut for Labelled {
    fn at(&self, _streamed: u64) -> Cow<'_, Labelled> {
        Cow::Borrowed(self)
    }
}

/// Makes a source from resolved options.
pub type Build = fn(&Spec, &Context) -> Result<Box<dyn Source>>;

/// Every source a job can name.
pub static SOURCES: Registry<Build> = Registry {
    what: "source",
    entries: &[
        Entry {
            name: "digits",
            about: "1,797 real handwritten digits (8×8), embedded, flowing for ever; can drift",
            resolve: resolve::<digits::Settings>,
            build: digits::build,
        },
        Entry {
            name: "idx",
            about: "IDX files, gzip or raw: MNIST, Fashion-MNIST and their kin",
            resolve: resolve::<idx::Settings>,
            build: idx::build,
        },
        Entry {
            name: "cifar",
            about: "CIFAR-10 or CIFAR-100 in their binary form",
            resolve: resolve::<cifar::Settings>,
            build: cifar::build,
        },
        Entry {
            name: "npy",
            about: "NumPy arrays: samples and, where they are known, classes; pixels or features",
            resolve: resolve::<npy::Settings>,
            build: npy::build,
        },
        Entry {
            name: "folder",
            about: "files that appear in a folder: PNG, JPEG, IDX, NPY, CSV, NDJSON, CIFAR",
            resolve: resolve::<folder::Settings>,
            build: folder::build,
        },
        Entry {
            name: "csv",
            about: "numeric features and a class column, in the order of the file, gzip or plain",
            resolve: resolve::<csv::Settings>,
            build: csv::build,
        },
        Entry {
            name: "http",
            about: "what comes in by POST /samples at the job's server",
            resolve: resolve::<http::Settings>,
            build: http::build,
        },
        Entry {
            name: "lines",
            about: "NDJSON or CSV from standard input: some-program | sluicebox run job.toml",
            resolve: resolve::<lines::Settings>,
            build: lines::build,
        },
        Entry {
            name: "tcp",
            about: "samples that feeders send over TCP or TLS, acknowledged once they are durable",
            resolve: resolve::<tcp::Settings>,
            build: tcp::build,
        },
        Entry {
            name: "kafka",
            about: "a topic of Kafka; offsets are kept in the checkpoint, not in a group",
            resolve: resolve::<kafka::Settings>,
            build: kafka::build,
        },
    ],
};

/// Opens a file, gzip or plain, and skips to byte `offset` of its (unpacked) content.
fn open(path: &Path, offset: u64) -> Result<Box<dyn Read>> {
    let fault = |error: std::io::Error| crate::Error::file(path, reason(&error));
    let mut file = std::fs::File::open(path).map_err(fault)?;
    if file.metadata().map_err(fault)?.is_dir() {
        return Err(crate::Error::file(path, "this is a folder, but a file is needed"));
    }
    let mut magic = [0; 2];
    let got = file.read(&mut magic).map_err(fault)?;
    let gzip = got == 2 && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(if gzip { 0 } else { offset })).map_err(fault)?;
    let buffered = BufReader::with_capacity(1 << 16, file);
    if !gzip {
        return Ok(Box::new(buffered));
    }
    let mut unpacked = BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(buffered));
    std::io::copy(&mut unpacked.by_ref().take(offset), &mut std::io::sink()).map_err(fault)?;
    Ok(Box::new(unpacked))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "no such file; set source.path (--set source.path=…) to where it is".into()
        }
        _ => error.to_string(),
    }
}

//! The contract of a source: a stream of samples that knows its position and can return to it.

use crate::decode::{Form, PixelRange, packed};
use crate::ingest::IngestContext;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Labelled, Samples};
use sluicebox_core::state::Stateful;
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf, absolute};

/// Spacing of id ranges in a job with several sources: a source that numbers its own samples starts
/// at a multiple of this.
pub const OWN_IDS: u64 = 1 << 44;

/// Surroundings that a source is built with, beside its options.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The job's seed.
    pub seed: u64,
    /// The job's state folder, if it has one.
    pub state: Option<PathBuf>,
    /// Index of the source in the job.
    pub source: usize,
    /// View that keeps pixels within 0 to 1, if the job has one: then images outside are bad records.
    pub bounded_view: Option<String>,
    /// Whether the source is only looked at, and not streamed: it counts bad records, but keeps none.
    pub is_look: bool,
}

impl Context {
    /// Returns the check of images of `format` for the job's views, if they need one.
    pub fn pixel_range(&self, format: &Format) -> Option<PixelRange> {
        self.bounded_view.as_ref().map(|view| PixelRange::new(view, format))
    }

    /// Returns what the job itself writes beside its data, which may lie in the same folder and must not be read as if it
    /// were some: the state and the dead letters.
    pub fn own_files(&self, dead_letter: Option<&PathBuf>) -> Vec<PathBuf> {
        let dead_letters = dead_letter.cloned().unwrap_or_else(|| self.dead_letters());
        self.state.iter().chain([&dead_letters]).filter_map(|path| absolute(path).ok()).collect()
    }

    /// Returns the default dead-letter file of the source: each source has its own.
    pub fn dead_letters(&self) -> PathBuf {
        let name = match self.source {
            0 => "dead-letter.jsonl".to_string(),
            other => format!("dead-letter-{other}.jsonl"),
        };
        self.state.clone().unwrap_or_default().join(name)
    }
}

/// Result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadProgress {
    /// As many samples as requested.
    Full,
    /// Fewer than requested: more may arrive later.
    NotYet,
    /// Fewer than requested: the stream is over.
    End,
}

/// A stream of samples. Its [state](Stateful) is its position: after [`Stateful::load`], the next sample read is the
/// one that would have been read when the state was saved.
///
/// ```
/// use sluicebox_core::error::Result;
/// use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
/// use sluicebox_core::state::{Stateful, decode, encode};
/// use sluicebox_stream::source::api::{ReadProgress, Source};
///
/// /// An endless stream of 0, 1, 2, …, in the classes "even" and "odd".
/// struct Counting {
///     format: Format,
///     next: u64,
/// }
///
/// impl Stateful for Counting {
///     fn save(&self) -> Result<Vec<u8>> {
///         encode("the counting source", &self.next)
///     }
///     fn load(&mut self, state: &[u8]) -> Result<()> {
///         self.next = decode("the counting source", state)?;
///         Ok(())
///     }
/// }
///
/// impl Source for Counting {
///     fn format(&self) -> &Format {
///         &self.format
///     }
///     fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
///         for number in self.next..self.next + count as u64 {
///             samples.push(number, &Values::F32(vec![number as f32]), Some((number % 2) as usize));
///         }
///         self.next += count as u64;
///         Ok(ReadProgress::Full)
///     }
/// }
///
/// let classes = vec!["even".to_string(), "odd".to_string()];
/// let format = Format { shape: Shape::Vector { features: 1 }, dtype: Dtype::F32, scale: 1.0, classes };
/// let mut source = Counting { format: format.clone(), next: 0 };
/// source.read(5, &mut Samples::none(Dtype::F32))?;
///
/// let mut resumed = Counting { format, next: 0 };
/// resumed.load(&source.save()?)?;
/// let mut samples = Samples::none(Dtype::F32);
/// resumed.read(2, &mut samples)?;
/// assert_eq!(samples.ids, [5, 6]);
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Source: Stateful {
    /// Returns the format of the samples.
    fn format(&self) -> &Format;

    /// Returns the samples whose classes are known before the stream begins. Called once, before
    /// the first read, and only in a new job: a resumed job has them in its replay buffer.
    /// By default there are none.
    fn labelled(&mut self) -> Result<Labelled> {
        Ok(Labelled::none(self.format().dtype))
    }

    /// Returns the labelled samples that became known since the last call, after `streamed` samples
    /// of the stream.
    fn learned(&mut self, _streamed: u64) -> Option<Labelled> {
        None
    }

    /// Returns whether the source knows the classes of the samples it streams.
    fn knows_classes(&self) -> bool {
        true
    }

    /// Returns at most `limit` samples that are held out for evaluation, if the source has any. By default it has
    /// none.
    fn held_out(&self, _limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        Ok(None)
    }

    /// Returns whether the result of a read depends on when it happens. If so, the job writes a
    /// step journal.
    fn is_timed(&self) -> bool {
        false
    }

    /// Starts listening, as source number `stream` of the job. Called once, before the first read,
    /// and only in jobs in which a source [is timed](Source::is_timed).
    fn open(&mut self, _live: &IngestContext, _stream: u16) -> Result<()> {
        Ok(())
    }

    /// Returns whether the source acknowledges samples to its feeders once they are durable. Such a
    /// job needs a state folder.
    fn acknowledges(&self) -> bool {
        false
    }

    /// Returns whether the sample ids are known outside the job (labels refer to them). Such ids
    /// stay unchanged in a job with several sources.
    fn has_own_ids(&self) -> bool {
        false
    }

    /// Returns how samples look in requests, if the source says more of it than their format does.
    fn form(&self) -> Option<Form> {
        None
    }

    /// Returns the bytes that the step journal must keep about the reads since the last note,
    /// beside their sample counts, so that a restart can repeat those reads.
    fn note(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes back such a note before those reads are repeated: they then return the same samples,
    /// however long these take to arrive.
    fn replay(&mut self, _note: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Returns the first record of the write-ahead log still to be read, if the source reads that
    /// log.
    fn log_position(&self) -> Option<u64> {
        None
    }

    /// Appends up to `count` samples to `samples`, without waiting for more to arrive.
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress>;

    /// Returns at most `limit` samples with known classes to evaluate a checkpoint taken after
    /// `streamed` samples, when the source's own state was `state`.
    fn evaluation(&mut self, _state: &[u8], streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        Ok(self.held_out(limit)?.map(|held_out| held_out.at(streamed).into_owned()))
    }

    /// Returns how many records wait where the source reads them, if it knows.
    fn lag(&self) -> Option<u64> {
        None
    }

    /// Returns the number of records that could not be decoded so far; they are in the dead-letter
    /// file.
    fn dead_letters(&self) -> u64 {
        0
    }

    /// Returns the same count by kind of reason.
    fn reasons(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Evaluation samples as they look after a given number of stream samples (a drifting source drifts
/// here too).
pub trait HeldOut {
    /// Returns the samples and their classes.
    fn at(&self, streamed: u64) -> Cow<'_, Labelled>;

    /// Returns them as they look in a phase of the stream, if phases look different.
    fn in_phase(&self, _phase: usize, _streamed: u64) -> Option<Labelled> {
        None
    }
}

impl HeldOut for Labelled {
    fn at(&self, _streamed: u64) -> Cow<'_, Labelled> {
        Cow::Borrowed(self)
    }
}

/// Builds a source from resolved options.
pub type Build = fn(&Spec, &Context) -> Result<Box<dyn Source>>;

/// Opens a file, packed or plain, and skips to byte `offset` of its (unpacked) content.
pub fn open(path: &Path, offset: u64) -> Result<Box<dyn Read>> {
    match packed::open(path, offset) {
        Ok(content) => Ok(Box::new(content)),
        Err(error) => Err(Error::file(path, reason(&error))),
    }
}

/// Returns why a file cannot be opened, and what to do.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound if error.get_ref().is_none() => {
            "no such file; set source.path (--set source.path=…) to where it is".into()
        }
        _ => error.to_string(),
    }
}

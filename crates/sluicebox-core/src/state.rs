//! Saved state: the sections of a checkpoint, each with one owner, and their codec.
//!
//! ```
//! use sluicebox_core::state::{Section, Sections, decode, encode};
//!
//! let mut sections = Sections::default();
//! sections.put(Section::Memory, encode("the replay buffer", &[1u64, 2])?);
//! let held: Vec<u64> = decode("the replay buffer", &encode("the replay buffer", &vec![1u64, 2])?)?;
//! assert_eq!(held, [1, 2]);
//! assert!(sections.get(Section::Ledger).is_none());
//! # Ok::<(), sluicebox_core::error::Error>(())
//! ```

use crate::error::{Error, Result};
use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// A larger state is treated as damaged.
pub const MOST_BYTES: u64 = 64 << 30;

/// Something whose state a checkpoint holds.
pub trait Stateful {
    /// Returns the state as bytes for [`Stateful::load`].
    ///
    /// # Errors
    /// [`Error::Engine`] if the state cannot be written.
    fn save(&self) -> Result<Vec<u8>>;

    /// Returns to a saved state.
    ///
    /// # Errors
    /// [`Error::Request`] if the bytes are damaged or do not fit the job.
    fn load(&mut self, state: &[u8]) -> Result<()>;
}

/// Owner of a part of a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Source positions, simulated late labels, near-future test.
    Source,
    /// First step of the current epoch, in jobs whose epochs also end by time.
    Epoch,
    /// Ids and feeders' progress that the ingest gate knows.
    Ingest,
    /// Mean and deviation by which the network's input is standardised.
    Standardise,
    /// Replay buffer.
    Memory,
    /// Whether the warm-up on the first labels is done, in jobs that have one.
    WarmUp,
    /// Samples that await a label, and labels that await their sample.
    Window,
    /// Experts and their shares.
    Experts,
    /// Shares by which the next step's labelled samples are drawn.
    ReplayShares,
    /// Shares of network and experts, fit to the class prior.
    Correction,
    /// The method's pseudo-labeller.
    Method,
    /// Prototypes, and the features they are made of, in jobs that answer by them.
    Prototypes,
    /// Confidence gate.
    Gate,
    /// How often the network agrees with the labels of each class, in jobs that correct labels.
    Relabel,
    /// Student, optimiser, teacher versions in flight.
    Student,
    /// Steps in which the student learned nothing, and which it did not count; absent where there were none.
    Empty,
    /// The student's updates, where they are not one for each other step.
    Updates,
    /// What the student holds from before the stream changed, in jobs with `regularise.anchor`.
    Anchor,
    /// Counts of the report.
    Report,
    /// Accuracy on each phase where a phase ended.
    Phases,
    /// Accuracy of the network alone, and how many of its predictions were right.
    Network,
    /// Best accuracy on held-out samples; absent where there was no evaluation.
    Best,
    /// Skipped updates, the filter's alarms and unfit samples.
    Alarms,
    /// Alarms of classes; absent where nothing was judged.
    Classes,
    /// Ledger.
    Ledger,
}

impl Section {
    /// Returns its name in `state.bin`.
    pub fn name(self) -> &'static str {
        match self {
            Section::Source => "source",
            Section::Epoch => "epoch",
            Section::Ingest => "ingest",
            Section::Standardise => "standardise",
            Section::Memory => "memory",
            Section::WarmUp => "warm-up",
            Section::Window => "window",
            Section::Experts => "experts",
            Section::ReplayShares => "replay-shares",
            Section::Correction => "correction",
            Section::Method => "method",
            Section::Prototypes => "prototypes",
            Section::Gate => "gate",
            Section::Relabel => "relabel",
            Section::Student => "student",
            Section::Empty => "empty",
            Section::Updates => "updates",
            Section::Anchor => "anchor",
            Section::Report => "report",
            Section::Phases => "phases",
            Section::Network => "network",
            Section::Best => "best",
            Section::Alarms => "alarms",
            Section::Classes => "classes",
            Section::Ledger => "ledger",
        }
    }
}

/// The state of each owner, as bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sections(BTreeMap<String, Vec<u8>>);

impl Sections {
    /// Stores a section.
    pub fn put(&mut self, section: Section, state: Vec<u8>) {
        self.0.insert(section.name().into(), state);
    }

    /// Returns a section; none if the job that was saved had no such owner.
    pub fn get(&self, section: Section) -> Option<&[u8]> {
        self.0.get(section.name()).map(Vec::as_slice)
    }

    /// Returns a section that every checkpoint has.
    ///
    /// # Errors
    /// [`Error::Request`] if it is absent.
    pub fn require(&self, section: Section) -> Result<&[u8]> {
        let found = self.get(section);
        found.ok_or_else(|| {
            Error::Request(format!("the state of `{}` is missing from the checkpoint", section.name()))
        })
    }

    /// Returns a copy of those of the given sections that there are.
    pub fn only(&self, sections: &[Section]) -> Self {
        let of = |section: &Section| Some((section.name().to_string(), self.get(*section)?.to_vec()));
        Self(sections.iter().filter_map(of).collect())
    }

    /// Returns all sections by name.
    pub fn by_name(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }
}

impl From<BTreeMap<String, Vec<u8>>> for Sections {
    fn from(sections: BTreeMap<String, Vec<u8>>) -> Self {
        Self(sections)
    }
}

/// Encodes the state of `what`, such as "the student".
///
/// # Errors
/// [`Error::Engine`] if it cannot be encoded.
pub fn encode(what: &str, state: &impl Serialize) -> Result<Vec<u8>> {
    bincode::serialize(state)
        .map_err(|error| Error::Engine(format!("cannot save the state of {what}: {error}")))
}

/// Decodes the state of `what`, such as "the student".
///
/// # Errors
/// [`Error::Request`] if it is damaged.
pub fn decode<T: DeserializeOwned>(what: &str, state: &[u8]) -> Result<T> {
    let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MOST_BYTES);
    let read = options.allow_trailing_bytes().deserialize(state);
    read.map_err(|error| Error::Request(format!("the state of {what} is damaged: {error}")))
}

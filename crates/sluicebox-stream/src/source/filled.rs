//! A source whose samples may lack values: what is missing is filled in as the samples are read, with the statistics of
//! the stream so far, which checkpoints hold. In the log and in files it is still missing (NaN), so that a restart fills
//! in the same values.

use crate::decode::{Form, Missing};
use crate::ingest::IngestContext;
use crate::source::api::{HeldOut, ReadProgress, Source};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_core::statistics::Statistics;
use std::borrow::Cow;

/// Horizon of the statistics: all samples alike.
const ALL: u64 = 0;
const OWNER: &str = "the values that are filled in";

struct Filled {
    inner: Box<dyn Source>,
    missing: Missing,
    statistics: Statistics,
}

#[derive(Serialize, Deserialize)]
struct State {
    inner: Vec<u8>,
    statistics: Statistics,
}

/// Returns a source whose missing values are filled in, if the job says so.
pub fn filled(source: Box<dyn Source>, missing: Missing) -> Box<dyn Source> {
    if missing.is_drop() {
        return source;
    }
    let statistics = Statistics::new(source.format().shape.len());
    Box::new(Filled { inner: source, missing, statistics })
}

/// Returns the fault of filling in values of samples that have no room for missing ones.
pub fn fault(missing: Missing, dtype: Option<Dtype>) -> Option<(&'static str, String)> {
    let bytes = !missing.is_drop() && dtype == Some(Dtype::U8);
    bytes.then(|| {
        ("missing", "a byte cannot be missing: set source.dtype = \"f32\", or missing = \"drop\"".into())
    })
}

impl Missing {
    /// Returns what takes the place of a value of a feature.
    pub(super) fn value(self, statistics: &Statistics, feature: usize) -> f64 {
        match self {
            Missing::Last => statistics.last(feature),
            _ => statistics.mean(feature),
        }
    }
}

impl Filled {
    /// Fills in the values from `from` on, sample by sample; each enters the statistics before.
    fn fill(&mut self, values: &mut Values, from: usize) {
        let Values::F32(values) = values else { return };
        for sample in values[from..].chunks_exact_mut(self.statistics.features()) {
            self.statistics.add(&wide(sample), ALL);
            fill(sample, self.missing, &self.statistics);
        }
    }
}

fn wide(sample: &[f32]) -> Vec<f64> {
    sample.iter().map(|value| f64::from(*value)).collect()
}

fn fill(sample: &mut [f32], missing: Missing, statistics: &Statistics) {
    for (feature, value) in sample.iter_mut().enumerate().filter(|(_, value)| value.is_nan()) {
        *value = missing.value(statistics, feature) as f32;
    }
}

/// Fills in a set of samples that is known as a whole: with its own means, or with the value of the sample before.
/// Returns the statistics of it.
fn fill_set(values: &mut Values, features: usize, missing: Missing) -> Statistics {
    let mut statistics = Statistics::new(features);
    let Values::F32(values) = values else { return statistics };
    let rows: Vec<Vec<f64>> = values.chunks_exact(features).map(wide).collect();
    statistics.begin(&rows, ALL);
    let mut before = vec![f32::NAN; features];
    for sample in values.chunks_exact_mut(features) {
        if missing == Missing::Last {
            for (value, before) in sample.iter_mut().zip(&mut before) {
                match value.is_nan() {
                    true => *value = *before,
                    false => *before = *value,
                }
            }
        }
        fill(sample, missing, &statistics);
    }
    statistics
}

impl Stateful for Filled {
    fn save(&self) -> Result<Vec<u8>> {
        let state = State { inner: self.inner.save()?, statistics: self.statistics.clone() };
        encode(OWNER, &state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let state: State = decode(OWNER, state)?;
        self.statistics = state.statistics;
        self.inner.load(&state.inner)
    }
}

impl Source for Filled {
    fn format(&self) -> &Format {
        self.inner.format()
    }

    fn labelled(&mut self) -> Result<Labelled> {
        let mut labelled = self.inner.labelled()?;
        self.statistics = fill_set(&mut labelled.values, self.statistics.features(), self.missing);
        Ok(labelled)
    }

    fn learned(&mut self, streamed: u64) -> Option<Labelled> {
        self.inner.learned(streamed)
    }

    fn knows_classes(&self) -> bool {
        self.inner.knows_classes()
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let inner = self.inner.held_out(limit)?;
        let (missing, features) = (self.missing, self.statistics.features());
        Ok(inner.map(|inner| Box::new(FilledHeldOut { inner, missing, features }) as Box<dyn HeldOut>))
    }

    fn is_timed(&self) -> bool {
        self.inner.is_timed()
    }

    fn open(&mut self, live: &IngestContext, stream: u16) -> Result<()> {
        live.ingest.may_miss.lock().insert(stream);
        self.inner.open(live, stream)
    }

    fn acknowledges(&self) -> bool {
        self.inner.acknowledges()
    }

    fn has_own_ids(&self) -> bool {
        self.inner.has_own_ids()
    }

    fn form(&self) -> Option<Form> {
        self.inner.form()
    }

    fn note(&mut self) -> Result<Vec<u8>> {
        self.inner.note()
    }

    fn replay(&mut self, note: &[u8]) -> Result<()> {
        self.inner.replay(note)
    }

    fn log_position(&self) -> Option<u64> {
        self.inner.log_position()
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let from = samples.values.len();
        let progress = self.inner.read(count, samples)?;
        self.fill(&mut samples.values, from);
        Ok(progress)
    }

    /// Returns samples that are filled in by themselves: what a checkpoint is evaluated on must not depend on how far
    /// the stream was read.
    fn evaluation(&mut self, state: &[u8], streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        let inner = match state {
            [] => Vec::new(),
            state => decode::<State>(OWNER, state)?.inner,
        };
        let mut found = self.inner.evaluation(&inner, streamed, limit)?;
        if let Some(found) = &mut found {
            fill_set(&mut found.values, self.statistics.features(), self.missing);
        }
        Ok(found)
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }

    fn dead_letters(&self) -> u64 {
        self.inner.dead_letters()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.inner.reasons()
    }
}

struct FilledHeldOut {
    inner: Box<dyn HeldOut>,
    missing: Missing,
    features: usize,
}

impl HeldOut for FilledHeldOut {
    fn at(&self, streamed: u64) -> Cow<'_, Labelled> {
        let mut samples = self.inner.at(streamed).into_owned();
        fill_set(&mut samples.values, self.features, self.missing);
        Cow::Owned(samples)
    }

    fn in_phase(&self, phase: usize, streamed: u64) -> Option<Labelled> {
        let mut samples = self.inner.in_phase(phase, streamed)?;
        fill_set(&mut samples.values, self.features, self.missing);
        Some(samples)
    }
}

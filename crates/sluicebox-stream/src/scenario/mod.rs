//! A source whose stream changes over time: phases with their own classes or looks, drift,
//! imbalance, wrong labels, samples of no class. It drops some samples of the inner source and changes others. These
//! choices depend only on the seed and the numbers of samples read and passed on, so that they are
//! restored with the source.

mod foreign;
pub mod labels;
pub mod phases;
mod prepared;
mod settings;

use crate::decode::Form;
use crate::ingest::IngestContext;
use crate::source::api::{Context, HeldOut, ReadProgress, Source};
use prepared::PreparedScenario;
use rand::RngExt;
use serde::{Deserialize, Serialize};
pub use settings::{Scenario, Split};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Samples, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::borrow::Cow;
use std::rc::Rc;

/// Consecutive dropped samples after which the source fails, because no sample seems to fit.
const NONE_LEFT: u64 = 10_000_000;

/// Owner of the saved position, in messages.
const OWNER: &str = "the scenario";

/// Position of the stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    #[serde(with = "serde_bytes")]
    inner: Vec<u8>,
    /// Samples read from the inner source.
    read: u64,
    /// Samples passed on.
    passed: u64,
    /// Number of phases whose labelled samples have been handed over.
    begun: usize,
}

/// A source with a scenario.
struct ScenarioSource {
    inner: Box<dyn Source>,
    prepared: Rc<PreparedScenario>,
    label_noise: f64,
    foreign: f64,
    randomness: Randomness,
    /// Fraction of the job's stream that comes from this source.
    share: f64,
    number: u64,
    state: State,
    /// Labelled samples by phase.
    labelled: Vec<Labelled>,
    left_out: u64,
}

/// Applies the scenario to `source`, which contributes a fraction `share` of the job's stream.
pub fn apply(
    source: Box<dyn Source>,
    scenario: &Scenario,
    share: f64,
    context: &Context,
) -> Result<Box<dyn Source>> {
    let randomness = Randomness::new(context.seed, 0);
    let prepared = PreparedScenario::new(scenario, source.format(), randomness)?;
    if prepared.needs_classes() && !source.knows_classes() {
        return Err(Error::Request(format!(
            "source[{}] does not know the classes of its samples: a scenario can change how they look \
             (scenario.drift), but phases of classes, imbalance and drift.prior need classes",
            context.source
        )));
    }
    Ok(Box::new(ScenarioSource {
        inner: source,
        prepared: Rc::new(prepared),
        label_noise: scenario.label_noise,
        foreign: scenario.foreign,
        randomness,
        share,
        number: (context.source as u64) << 48,
        state: State::default(),
        labelled: Vec::new(),
        left_out: 0,
    }))
}

impl ScenarioSource {
    /// Drops some labelled samples, sorts the others by phase and adds label noise.
    fn sort_labelled(&mut self) -> Result<()> {
        let all = self.inner.labelled()?;
        let (format, prepared) = (self.inner.format(), &self.prepared);
        let phases = prepared.phases.as_ref().map_or(1, |phases| phases.count());
        let none = || Labelled::none(format.dtype);
        let mut sorted: Vec<Labelled> = (0..phases).map(|_| none()).collect();
        let (length, classes) = (format.shape.len(), format.classes.len() as u32);
        let mut counts = vec![0; format.classes.len()];
        all.classes.iter().for_each(|class| counts[*class as usize] += 1);
        let mut left = prepared.kept_labels(&counts);
        for (at, class) in all.classes.iter().enumerate() {
            let left = &mut left[*class as usize];
            if *left == 0 {
                continue;
            }
            *left -= 1;
            let phase = prepared.phases.as_ref().and_then(|phases| phases.of_class(*class as usize));
            let to = &mut sorted[phase.unwrap_or(0)];
            to.values.extend_from(&all.values, at * length..(at + 1) * length);
            let mut draws = self.randomness.at(self.number | at as u64, Stage::LabelNoise);
            to.classes.push(labels::noisy(*class as u32, classes, self.label_noise, &mut draws).into());
        }
        self.labelled = sorted;
        Ok(())
    }

    /// Returns the labelled samples of the phases from `state.begun` to `begun`.
    fn hand_over(&mut self, begun: usize) -> Labelled {
        let dtype = self.inner.format().dtype;
        let mut handed = Labelled::none(dtype);
        let new = self.labelled.iter_mut().take(begun).skip(self.state.begun);
        for phase in new {
            let values = std::mem::replace(&mut phase.values, Values::none(dtype));
            handed.append(Labelled { values, classes: std::mem::take(&mut phase.classes) });
        }
        self.state.begun = self.state.begun.max(begun);
        handed
    }

    /// Passes on the samples that the scenario admits; returns their number.
    fn sift(&mut self, block: &Samples, samples: &mut Samples) -> usize {
        let before = samples.len();
        for (at, class) in block.truth.reveal().iter().enumerate() {
            let mut draws = self.randomness.at(self.number | self.state.read, Stage::Scenario);
            self.state.read += 1;
            let position = (self.state.passed as f64 / self.share) as u64;
            if !self.prepared.admits(position, *class, &mut draws) {
                self.left_out += 1;
                continue;
            }
            self.prepared.append_changed(position, &block.values, at, &mut samples.values, &mut draws);
            samples.ids.push(block.ids[at]);
            let is_foreign = self.foreign > 0.0 && draws.random::<f64>() < self.foreign;
            if is_foreign {
                foreign::scramble_last(&mut samples.values, self.inner.format().shape, &mut draws);
            }
            samples.truth.push(usize::try_from(*class).ok().filter(|_| !is_foreign));
            self.state.passed += 1;
            self.left_out = 0;
        }
        samples.len() - before
    }
}

impl Stateful for ScenarioSource {
    fn save(&self) -> Result<Vec<u8>> {
        encode(OWNER, &State { inner: self.inner.save()?, ..self.state.clone() })
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.state = decode(OWNER, state)?;
        // The labelled samples of future phases have not been handed over yet.
        self.sort_labelled()?;
        self.inner.load(&self.state.inner)
    }
}

impl Source for ScenarioSource {
    fn format(&self) -> &Format {
        self.inner.format()
    }

    fn labelled(&mut self) -> Result<Labelled> {
        self.sort_labelled()?;
        Ok(self.hand_over(1))
    }

    fn learned(&mut self, streamed: u64) -> Option<Labelled> {
        let begun = self.prepared.phases.as_ref()?.begun(streamed);
        let new = begun > self.state.begun;
        new.then(|| self.hand_over(begun)).filter(|labelled| !labelled.is_empty())
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let inner = self.inner.held_out(limit)?;
        Ok(inner.map(|inner| {
            Box::new(ScenarioHeldOut { inner, prepared: self.prepared.clone() }) as Box<dyn HeldOut>
        }))
    }

    fn knows_classes(&self) -> bool {
        self.inner.knows_classes()
    }

    fn is_timed(&self) -> bool {
        self.inner.is_timed()
    }

    fn open(&mut self, live: &IngestContext, stream: u16) -> Result<()> {
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

    /// Reads until `count` samples are passed on, and no further.
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let mut missing = count;
        while missing > 0 {
            let mut block = Samples::none(self.inner.format().dtype);
            let progress = self.inner.read(missing, &mut block)?;
            missing -= self.sift(&block, samples);
            if self.left_out >= NONE_LEFT {
                return Err(Error::Request(format!(
                    "the scenario let none of the last {NONE_LEFT} samples through: are there samples of \
                     each phase's classes in the stream?"
                )));
            }
            if progress != ReadProgress::Full {
                return Ok(progress);
            }
        }
        Ok(ReadProgress::Full)
    }

    fn evaluation(&mut self, state: &[u8], streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        let saved: State = match state {
            [] => State::default(),
            state => decode(OWNER, state)?,
        };
        let samples = self.inner.evaluation(&saved.inner, streamed, limit)?;
        Ok(samples.map(|still| self.prepared.at(streamed.saturating_sub(1), &still)))
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

/// Held-out samples of a stream with a scenario.
struct ScenarioHeldOut {
    inner: Box<dyn HeldOut>,
    prepared: Rc<PreparedScenario>,
}

impl HeldOut for ScenarioHeldOut {
    fn at(&self, streamed: u64) -> Cow<'_, Labelled> {
        let still = self.inner.at(streamed);
        match self.prepared.drifts() {
            true => Cow::Owned(self.prepared.at(streamed.saturating_sub(1), &still)),
            false => still,
        }
    }

    fn in_phase(&self, phase: usize, streamed: u64) -> Option<Labelled> {
        self.prepared.in_phase(phase, &self.inner.at(streamed))
    }
}

//! A scenario applied to samples of one format: which samples are admitted, and how they look.

use crate::drift::{Drift, Moment};
use crate::scenario::phases::{Phases, ranks};
use crate::scenario::settings::{Scenario, Split};
use rand::RngExt;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Shape, Values};

/// Generator step for held-out samples; the stream's steps count its reads.
const HELD_OUT: u64 = u64::MAX;

/// A scenario prepared for samples of one format.
pub struct PreparedScenario {
    format: Format,
    /// Phases, if the scenario has any.
    pub phases: Option<Phases>,
    drift: Option<Drift>,
    domains: bool,
    /// Fraction of each class that is kept.
    kept: Vec<f64>,
    /// Fraction of each class's labelled samples that is kept.
    labelled: Vec<f64>,
    randomness: Randomness,
}

impl PreparedScenario {
    /// Prepares `scenario` for samples of `format`; fails if it does not apply to them.
    pub fn new(scenario: &Scenario, format: &Format, randomness: Randomness) -> Result<Self> {
        let drift = scenario.drift;
        check(drift, format.shape)?;
        let most = format.classes.len().saturating_sub(1).max(1) as f64;
        let ranks = ranks(&scenario.order, &format.classes)?;
        let labelled = |rank: &usize| scenario.labelled_imbalance.powf(-(*rank as f64) / most);
        let kept = |rank: usize| {
            let rank = if scenario.reversed { most - rank as f64 } else { rank as f64 };
            scenario.imbalance.powf(-rank / most)
        };
        Ok(Self {
            phases: Phases::new(scenario, format)?,
            drift,
            domains: scenario.split == Split::Domain,
            labelled: ranks.iter().map(labelled).collect(),
            kept: ranks.into_iter().map(kept).collect(),
            format: format.clone(),
            randomness,
        })
    }

    /// Returns whether it needs to know the classes of samples.
    pub fn needs_classes(&self) -> bool {
        let by_class = self.phases.as_ref().is_some_and(|phases| !phases.are_domains());
        let thins = self.kept.iter().any(|part| *part < 1.0);
        by_class || thins || self.drift.is_some_and(|drift| drift.prior > 0.0)
    }

    /// Returns how many of each class's labelled samples are kept, of as many as there are: at least one.
    pub fn kept_labels(&self, counts: &[usize]) -> Vec<usize> {
        let kept = counts.iter().zip(&self.labelled);
        kept.map(|(count, part)| ((*count as f64 * part).round() as usize).max(1)).collect()
    }

    /// Returns whether samples look different over time.
    pub fn drifts(&self) -> bool {
        self.drift.is_some()
    }

    /// Returns the progress of the drift at sample `position`.
    fn moment(&self, drift: &Drift, position: u64) -> Moment {
        match self.phases.as_ref().filter(|_| self.domains) {
            Some(phases) => Moment::of_phase(phases.at(position), phases.count()),
            None => Moment::within(position, drift.period_samples),
        }
    }

    /// Returns whether to admit a sample of `class` (-1: unknown) as sample `position`.
    pub fn admits(&self, position: u64, class: i32, draws: &mut Draws) -> bool {
        if !self.needs_classes() {
            return true;
        }
        let Ok(class) = usize::try_from(class) else { return false };
        let absent = |phases: &Phases| phases.of_class(class).is_some_and(|own| own != phases.at(position));
        if self.phases.as_ref().is_some_and(absent) {
            return false;
        }
        let part = self.kept.get(class).copied().unwrap_or(1.0) * self.prior(position, class);
        part >= 1.0 || draws.random::<f64>() < part
    }

    /// Returns the frequency of a class relative to the most frequent one.
    fn prior(&self, position: u64, class: usize) -> f64 {
        let Some(drift) = self.drift.filter(|drift| drift.prior > 0.0) else { return 1.0 };
        let moment = self.moment(&drift, position);
        let of = |class| f64::from(drift.frequency(moment, class, self.format.classes.len()));
        of(class) / (0..self.format.classes.len()).map(of).fold(f64::MIN, f64::max)
    }

    /// Appends sample `at` of `from` as it looks at `position`.
    pub fn append_changed(
        &self,
        position: u64,
        from: &Values,
        at: usize,
        to: &mut Values,
        draws: &mut Draws,
    ) {
        let moment = self.drift.map(|drift| self.moment(&drift, position));
        self.look(moment, from, at, to, draws);
    }

    fn look(&self, moment: Option<Moment>, from: &Values, at: usize, to: &mut Values, draws: &mut Draws) {
        let length = self.format.shape.len();
        let range = at * length..(at + 1) * length;
        let (Some(drift), Some(moment)) = (&self.drift, moment) else { return to.extend_from(from, range) };
        let mut sample: Vec<f32> = match from {
            Values::U8(values) => values[range].iter().map(|value| f32::from(*value)).collect(),
            Values::F32(values) => values[range].to_vec(),
        };
        drift.change(moment, &self.format, &mut sample, draws);
        match to {
            Values::U8(values) => values.extend(sample.iter().map(|value| *value as u8)),
            Values::F32(values) => values.extend(sample),
        }
    }

    /// Returns held-out samples as they look at sample `position` of the stream.
    pub fn at(&self, position: u64, still: &Labelled) -> Labelled {
        self.all(self.drift.map(|drift| self.moment(&drift, position)), still)
    }

    /// Returns held-out samples as they look in `phase`; None unless phases are domains.
    pub fn in_phase(&self, phase: usize, still: &Labelled) -> Option<Labelled> {
        let phases = self.phases.as_ref().filter(|_| self.domains)?;
        Some(self.all(Some(Moment::of_phase(phase, phases.count())), still))
    }

    fn all(&self, moment: Option<Moment>, still: &Labelled) -> Labelled {
        let mut values = Values::none(self.format.dtype);
        let mut draws = self.randomness.at(HELD_OUT, Stage::Scenario);
        (0..still.len()).for_each(|at| self.look(moment, &still.values, at, &mut values, &mut draws));
        Labelled { values, classes: still.classes.clone() }
    }
}

/// Fails if a drift does not apply to samples of this shape.
fn check(drift: Option<Drift>, shape: Shape) -> Result<()> {
    let Some(drift) = drift else { return Ok(()) };
    let refuse = |key: &str, what: &str| {
        Err(Error::Request(format!("scenario.drift.{key} is for {what}, but the source gives {shape}")))
    };
    match shape {
        Shape::Vector { .. } if drift.rotation_degrees != 0.0 => refuse("rotation_degrees", "images"),
        Shape::Image { .. } if drift.shift != 0.0 => refuse("shift", "vectors"),
        Shape::Image { .. } if drift.scale != 0.0 => refuse("scale", "vectors"),
        _ => Ok(()),
    }
}

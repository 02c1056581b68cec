//! Choice of the labelled samples that a step trains on, from the replay buffer.

use crate::device::Compute;
use crate::device::upload::{Part, upload_all};
use crate::input::{part, scaled, tensor};
use crate::loss::unit;
use crate::messages::LabelledBatch;
use crate::replay::buffer::ReplayBuffer;
use crate::standardise::{Scale, input};
use serde::{Deserialize, Serialize};
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Values;

/// Which labelled samples of the replay buffer a step trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// Any, with equal probability.
    Uniform,
    /// Newer samples with higher probability.
    Recent,
    /// Those most similar to the step's unlabelled samples.
    Similar,
}

/// Choice of a step's labelled samples.
pub enum Choice<'a> {
    /// Uniformly.
    Uniform,
    /// Newer samples more often: a mixture of exponential distributions of the age, counted in
    /// labelled samples.
    Recent {
        /// Time constant (mean age) of each distribution; infinite is uniform.
        time_constants: &'a [f64],
        /// Weight of each distribution.
        shares: &'a [f64],
    },
    /// Those most similar to these samples of the stream.
    Similar {
        /// `[B, …]` sample values.
        to: &'a Values,
        /// How both are standardised before they are compared, on the CPU.
        scale: Option<&'a Scale>,
    },
}

impl ReplayBuffer {
    /// Draws `count` samples.
    pub fn draw(
        &self,
        count: usize,
        choice: &Choice,
        draws: &mut Draws,
        compute: Compute,
    ) -> Option<LabelledBatch> {
        if self.is_empty() || count == 0 {
            return None;
        }
        let slots = match choice {
            Choice::Uniform => self.uniform(count, draws),
            Choice::Recent { time_constants, shares } => {
                self.by_age.draw(count, time_constants, shares, draws)
            }
            Choice::Similar { to, scale } => self.similar(count, to, *scale, draws),
        };
        let classes: Vec<i64> = slots.iter().map(|slot| self.held.classes[*slot]).collect();
        let values = self.values_of(&slots);
        let parts = [part(&values, self.format.shape), Part::new(&classes, [classes.len() as i64])];
        let [values, classes] = upload_all(parts, compute.device);
        Some(LabelledBatch {
            input: scaled(&values, self.format.scale),
            classes,
            keys: slots.iter().map(|slot| self.held.ages[*slot]).collect(),
            class_weights: None,
            further: Vec::new(),
            judged: None,
        })
    }

    /// Draws without repetition while the buffer has enough samples; after a drift alarm, by weight.
    fn uniform(&self, count: usize, draws: &mut Draws) -> Vec<usize> {
        if !self.by_age.is_even() {
            return self.by_age.draw(count, &[f64::INFINITY], &[1.0], draws);
        }
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            let part = self.len().min(count - slots.len());
            slots.extend(rand::seq::index::sample(draws, self.len(), part));
        }
        slots
    }

    /// Draws four times as many candidates and keeps the `count` most similar to one of the samples
    /// `to` `[B, …]`: replay weighted by similarity to the stream (Csaba et al. 2024, "Label Delay
    /// in Online Continual Learning").
    fn similar(&self, count: usize, to: &Values, scale: Option<&Scale>, draws: &mut Draws) -> Vec<usize> {
        let candidates = self.uniform(4 * count, draws);
        if to.is_empty() {
            return candidates[..count].to_vec();
        }
        let length = self.format.shape.len() as i64;
        let rows = |values: &Values| {
            let rows = match scale {
                Some(_) => input(values, &self.format, scale),
                None => tensor(values, self.format.shape),
            };
            unit(&rows.view([-1, length]))
        };
        let likeness =
            rows(&self.values_of(&candidates)).matmul(&rows(to).tr()).amax([1i64].as_slice(), false);
        let best = likeness.topk(count as i64, 0, true, true).1;
        let best: Vec<i64> = Vec::try_from(best).unwrap_or_default();
        best.into_iter().map(|at| candidates[at as usize]).collect()
    }
}

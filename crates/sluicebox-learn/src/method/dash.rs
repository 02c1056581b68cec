//! Dash (Xu et al. 2021, §3): FixMatch with a threshold on the loss instead of the confidence, which falls while the network
//! learns. A sample is accepted where the loss of the weak view's own sharpened probabilities is at most
//! ρ = max(ρ_min, C γ^(-k) ρ̂); while ρ is above ρ_min they are the target, afterwards their class is.
//!
//! ρ̂ is the loss after training on labelled samples alone (the paper: 2,048 steps), and k counts tenths of thousands of
//! steps. For a stream: ρ̂ is the teacher's mean loss on labelled samples over `warm_up_steps` steps, in which nothing is
//! accepted; k grows by one every `decay_steps` steps; and a drift alarm starts both again, since a threshold that has
//! only ever fallen would not let the stream's new look in.
//!
//! USB's code takes ρ̂ from the test set. That is a leak, and is not done here.

use crate::loss::{cross_entropy, sharpened};
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Options of the method. The paper's, but for the numbers of steps, which are for far shorter training.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Steps over which ρ̂ is measured; none of their samples is accepted.
    pub warm_up_steps: u64,
    /// Steps after which the threshold falls once more.
    pub decay_steps: u64,
    /// γ: divisor of the threshold each time it falls.
    pub decay: f64,
    /// C: factor of the threshold.
    pub factor: f64,
    /// ρ_min: least threshold, in nats.
    pub least: f64,
    /// T: targets are probabilities to the power of 1/T while the threshold falls.
    pub temperature: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            warm_up_steps: 50,
            decay_steps: 20,
            decay: 1.27,
            factor: 1.0001,
            least: 0.05,
            temperature: 0.5,
            unlabelled_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("warm_up_steps", self.warm_up_steps as f64, 1.0..=1e9),
            ("decay_steps", self.decay_steps as f64, 1.0..=1e9),
            ("decay", self.decay, 1.0..=1e3),
            ("factor", self.factor, 0.0..=1e3),
            ("least", self.least, 0.0..=1e3),
            ("temperature", self.temperature, 0.01..=100.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Dash(Settings);

/// What is known of the loss since the start, or since the last drift alarm.
struct Labeller {
    settings: Settings,
    /// Number of steps.
    steps: u64,
    /// Number of them whose loss on labelled samples was measured.
    measured: u64,
    /// Sum of these losses: a scalar.
    sum: Option<Tensor>,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Dash(settings(spec)?)))
}

impl Settings {
    /// Returns ρ after it has fallen `times` times from ρ̂ `first`: a scalar.
    fn threshold(&self, first: &Tensor, times: u64) -> Tensor {
        (first * (self.factor * self.decay.powf(-(times as f64)))).clamp_min(self.least)
    }
}

impl Labeller {
    /// Counts a step, and measures its loss during the warm-up. Returns the threshold ρ, a scalar; `None` during the
    /// warm-up, which lasts until one loss was measured.
    fn threshold(&mut self, scores: &Scores) -> Option<Tensor> {
        if scores.alarm {
            (self.steps, self.measured, self.sum) = (0, 0, None);
        }
        let warms_up = self.steps < self.settings.warm_up_steps || self.measured == 0;
        self.steps += 1;
        if !warms_up {
            let first = self.sum.as_ref()?.to_device(scores.unlabelled[0].device()) / self.measured as f64;
            let fallen = self.steps.saturating_sub(self.settings.warm_up_steps + 1);
            return Some(self.settings.threshold(&first, fallen / self.settings.decay_steps));
        }
        if let Some(labelled) = &scores.labelled {
            let logits = labelled.probabilities.clamp_min(1e-12).log();
            let target = Target::Hard(labelled.classes.shallow_clone());
            let loss = cross_entropy(&logits, &target).mean(Kind::Float);
            self.sum = Some(
                self.sum
                    .take()
                    .map_or_else(|| loss.shallow_clone(), |sum| sum.to_device(loss.device()) + &loss),
            );
            self.measured += 1;
        }
        None
    }
}

impl Method for Dash {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled_scores: true, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        Box::new(Labeller { settings: self.0.clone(), steps: 0, measured: 0, sum: None })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let rows = &scores.unlabelled[0]; // [B, C]
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let hard = Target::Hard(class.shallow_clone()).rows(rows.size()[1]);
        let Some(threshold) = self.threshold(scores) else {
            let weight = confidence.zeros_like();
            return PseudoLabels::soft(hard, confidence, class, weight);
        };
        let falls = threshold.gt(self.settings.least);
        let target = sharpened(rows, self.settings.temperature).where_self(&falls, &hard);
        let own = cross_entropy(&rows.clamp_min(1e-12).log(), &Target::Soft(target.shallow_clone()));
        let weight = own.le_tensor(&threshold).to_kind(Kind::Float);
        PseudoLabels::soft(target, confidence, class, weight)
    }
}

/// The state's name in messages.
const WHAT: &str = "`dash`";

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(self.steps, self.measured, save_tensors(&[&self.sum])?))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (steps, measured, sum): (u64, u64, Vec<u8>) = decode(WHAT, state)?;
        load_tensors(&sum, [&mut self.sum])?;
        (self.steps, self.measured) = (steps, measured);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn the_threshold_falls_to_its_least() {
        let first = Tensor::from(1.5f32);
        let at = |times| Settings::default().threshold(&first, times).double_value(&[]);
        let expected = [1.5002, 1.1812, 0.9301, 0.7324, 0.5767];
        for (times, expected) in (0..).zip(expected).chain([(14, 0.0528), (15, 0.05), (400, 0.05)]) {
            assert!((at(times) - expected).abs() < 1e-4, "{times}: {} is not {expected}", at(times));
        }
    }

    /// A step whose labelled samples have a loss of ln 2, and whose unlabelled sample has a probability of 0.8.
    fn scores(alarm: bool) -> Scores {
        let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
        let rows = |values: &[f32]| Tensor::from_slice(values).view([-1, 2]);
        Scores {
            step: 0,
            unlabelled: vec![rows(&[0.8, 0.2])],
            input: none(),
            labelled: Some(crate::messages::LabelledScores {
                probabilities: rows(&[0.5, 0.5, 0.5, 0.5]),
                features: none(),
                heads: Vec::new(),
                input: none(),
                classes: Tensor::from_slice(&[0i64, 1]),
                keys: vec![0, 1],
                further: Vec::new(),
            }),
            features: none(),
            heads: Vec::new(),
            alarm,
            ledger_stats: None,
        }
    }

    #[test]
    fn nothing_passes_in_the_warm_up_and_an_alarm_begins_another() {
        let settings = Settings { warm_up_steps: 2, decay_steps: 2, decay: 2.0, ..Settings::default() };
        let mut labeller = Dash(settings).pseudo_labeller();
        let mut passed = |alarm| labeller.pseudo_label(&scores(alarm)).weight.double_value(&[0]);
        // The sample's own loss is 0.3047 against its sharpened target; ρ is 0.69, 0.35, then 0.17.
        let first: Vec<f64> = (0..8).map(|_| passed(false)).collect();
        assert_eq!(first, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!([passed(true), passed(false), passed(false)], [0.0, 0.0, 1.0]);
    }
}

//! Sample adaptive augmentation (Gui et al. 2023): samples that are easy for the network get a harder
//! strong view, one half of which is taken from a second, independent view (§3.3). A sample is easy if
//! its loss is below Otsu's threshold on the losses (§3.2). Everything else is FixMatch or FlexMatch.
//!
//! Departures: the paper averages the loss of each sample of a data set over epochs. On a stream each
//! sample comes once and is judged before the student has seen it: its loss is that of the teacher's
//! second weak view against the pseudo-label of the first, and the threshold comes from a histogram of
//! recent losses, on the device and of fixed size. The paper begins late (after 400 epochs); here it
//! begins after `warm_up_steps` steps.

use crate::messages::Scores;
use crate::method::api::{EASY, Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::fixmatch::{self, FixMatch};
use crate::method::flexmatch::{self, FlexMatch};
use crate::method::histogram::Histogram;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::Kind;

/// The method that this one extends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// FixMatch.
    #[default]
    Fixmatch,
    /// FlexMatch.
    Flexmatch,
}

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The method that this one extends.
    pub base: Base,
    /// τ of FixMatch or FlexMatch.
    pub threshold: f64,
    /// λ of FixMatch or FlexMatch.
    pub unlabelled_weight: f64,
    /// Number of first steps in which no sample counts as easy.
    pub warm_up_steps: u64,
    /// Steps after which the histogram's counts have fallen to 1/e.
    pub memory_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: Base::Fixmatch,
            threshold: 0.95,
            unlabelled_weight: 1.0,
            warm_up_steps: 200,
            memory_steps: 100,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("memory_steps", self.memory_steps as f64, 1.0..=1e9),
        ])
    }
}

/// Losses above this share one bin: a probability of 1 in 150.
const MOST: f64 = 5.0;

struct Saa {
    base: Box<dyn Method>,
    warm_up_steps: u64,
    memory_steps: u64,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    let Settings { base, threshold, unlabelled_weight, warm_up_steps, memory_steps } = settings(spec)?;
    let base: Box<dyn Method> = match base {
        Base::Fixmatch => Box::new(FixMatch(fixmatch::Settings { threshold, unlabelled_weight })),
        Base::Flexmatch => {
            let defaults = flexmatch::Settings::default();
            Box::new(FlexMatch(flexmatch::Settings { threshold, unlabelled_weight, ..defaults }))
        }
    };
    Ok(Box::new(Saa { base, warm_up_steps, memory_steps }))
}

impl Method for Saa {
    fn views(&self) -> ViewRequest {
        ViewRequest { weak: 2, student: vec![View::Spliced], ..self.base.views() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let losses = Histogram::new(MOST, (-1.0 / self.memory_steps as f64).exp());
        Box::new(Labeller { base: self.base.pseudo_labeller(), warm_up_steps: self.warm_up_steps, losses })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        self.base.loss(forward)
    }
}

/// The base's pseudo-labels, with the entry [`EASY`].
struct Labeller {
    /// Has no state of its own.
    base: Box<dyn PseudoLabeller>,
    warm_up_steps: u64,
    losses: Histogram,
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let mut pseudo_labels = self.base.pseudo_label(scores);
        let second = scores.unlabelled.last().unwrap_or(&scores.unlabelled[0]); // [B, C]
        let given = second.gather(1, &pseudo_labels.class.unsqueeze(1), false).view(-1);
        let loss = -given.clamp_min(1e-12).log(); // [B]
        self.losses.add(&loss);
        let easy = match self.losses.cut() {
            Some(cut) if scores.step >= self.warm_up_steps => loss.lt_tensor(&cut).to_kind(Kind::Float),
            _ => loss.zeros_like(),
        };
        pseudo_labels.rows.insert(EASY, easy);
        pseudo_labels
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.losses.counts])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.losses.counts])
    }
}

//! UnMixMatch (Roy and Etemad 2024, §3): for streams in which many unlabelled samples are of no class. No unlabelled sample
//! has a pseudo-label of its own. Labelled samples are mixed with unlabelled ones, mostly unchanged; and of unlabelled ones is
//! learned what needs no class: that two strong views of a sample are alike (NT-Xent: Chen et al. 2020, §2.1), and by how many
//! quarters an image was turned.
//!
//! The target of an unlabelled partner is its aligned and sharpened probability; its share is less than one half, and small
//! with the default α. Turns need square images: `turn_weight = 0` leaves them out.
//!
//! Departures: the weight of turns is that of the options of the authors' code, not of its published runs (10, at a quarter of the
//! learning rate), whose α of 0.1 is the default. Its NT-Xent has the factor 1/0.14, which here is part of `contrast_weight`. Partners are
//! labelled samples and strong views; weak views, which are partners too in the paper, would pass the network for nothing.
//! Labelled samples have the views of `views.labelled`, not harder ones.

use crate::augmentation::turn::quarters;
use crate::loss::{contrast, cross_entropy, sharpened, unit};
use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Among, Forward, Loss, Method, Mixing, PseudoLabeller, View, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::model::heads::{Base, Head, TURN, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::Tensor;

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// α of the Beta(α, α) from which the shares of mixed samples are drawn.
    pub alpha: f64,
    /// T: targets of unlabelled partners are probabilities to the power of 1/T.
    pub temperature: f64,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// Weight of the loss of two strong views of a sample that are to be alike.
    pub contrast_weight: f64,
    /// Temperature of that loss.
    pub contrast_temperature: f64,
    /// Weight of the cross-entropy of turns. 0: no turned views, so that samples need not be square images.
    pub turn_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alpha: 0.1,
            temperature: 0.5,
            aligned_steps: 128,
            contrast_weight: 0.7,
            contrast_temperature: 0.5,
            turn_weight: 0.5,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("alpha", self.alpha, 1e-3..=1e3),
            ("temperature", self.temperature, 0.01..=100.0),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("contrast_weight", self.contrast_weight, 0.0..=1e6),
            ("contrast_temperature", self.contrast_temperature, 0.01..=100.0),
            ("turn_weight", self.turn_weight, 0.0..=1e6),
        ])
    }
}

const PROJECTION: Head = Head {
    name: "projection",
    hidden: Width::Features,
    layers: 2,
    outputs: Width::Fixed(128),
    base: Base::Features,
};
const HEADS: &[Head] = &[PROJECTION, TURN];

struct UnMixMatch(Settings);

/// Mean probabilities of the last steps.
struct Labeller {
    temperature: f64,
    alignment: Alignment,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(UnMixMatch(settings(spec)?)))
}

impl UnMixMatch {
    /// Returns how unlike two strong views are, weighted, divided by B: a scalar; `None` where no sample was selected.
    fn unlike(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let [first, second, ..] = forward.strong.as_slice() else { return None };
        let [first, second] = [unit(first.heads.first()?), unit(second.heads.first()?)];
        let each = contrast(&first, &second, self.0.contrast_temperature); // [2 A]
        let both = each.view([2, -1]).mean_dim([0i64].as_slice(), false, each.kind()); // [A]
        Some(forward.over_batch(&both))
    }

    /// Returns the cross-entropy of turns, divided by B: a scalar; `None` where no view is turned.
    fn turns(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let turned = forward.strong.get(2)?;
        let quarters = quarters(turned.logits.size()[0], turned.logits.device());
        let each = cross_entropy(turned.heads.get(1)?, &Target::Hard(quarters));
        Some(forward.over_batch(&each))
    }
}

impl Method for UnMixMatch {
    fn views(&self) -> ViewRequest {
        let mut student = vec![View::Strong, View::Strong];
        let turns = self.0.turn_weight > 0.0;
        student.extend(turns.then_some(View::Turned));
        let mix = Some(Mixing { alpha: self.0.alpha, dominant: true, views: 2, among: Among::Labelled });
        let heads = if turns { HEADS } else { &HEADS[..1] };
        ViewRequest { student, mix, heads, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let alignment = Alignment::new(self.0.aligned_steps);
        Box::new(Labeller { temperature: self.0.temperature, alignment })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let turns = self.turns(&forward).map(|turns| turns * self.0.turn_weight);
        let unlike = self.unlike(&forward).map(|unlike| unlike * self.0.contrast_weight);
        let classless = unlike.into_iter().chain(turns).reduce(|one, other| one + other);
        Loss::sum(forward.labelled_loss(), classless, 1.0)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        if scores.alarm {
            self.alignment.means = None;
        }
        let target = sharpened(&self.alignment.aligned(&scores.unlabelled[0]), self.temperature);
        let (confidence, class) = target.max_dim(1, false); // [B], [B]
        let every = confidence.ones_like();
        PseudoLabels::soft(target, confidence, class, every)
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.alignment.means])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.alignment.means])
    }
}

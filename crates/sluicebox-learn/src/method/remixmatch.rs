//! ReMixMatch (Berthelot et al. 2020, §3): MixMatch with distribution alignment and augmentation anchoring: the weak view's
//! probabilities, aligned with the classes of labelled samples and sharpened, are the target of strong views. Besides, a strong
//! view that is not mixed has the same target, and a head tells by how many quarters an image was turned.
//!
//! One strong and one weak view are mixed with the labelled samples (K = 1, the default of the authors' code; 8 in the paper).
//! What is to be turned must be a square image.
//!
//! Departures: strong views are the job's, not learned ones (CTAugment); the teacher makes the targets.

use crate::augmentation::turn::quarters;
use crate::loss::{cross_entropy, sharpened};
use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Among, Forward, Loss, Method, Mixing, PseudoLabeller, View, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::frequencies::Frequencies;
use crate::method::ramp::progress;
use crate::model::heads::{Head, TURN};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the authors', but for the ramp: 16,000 steps, for far longer training.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// T: targets are probabilities to the power of 1/T.
    pub temperature: f64,
    /// α of the Beta(α, α) from which the shares of mixed samples are drawn.
    pub alpha: f64,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// Final weight of the mixed views' cross-entropy.
    pub unlabelled_weight: f64,
    /// Final weight of the cross-entropy of the view that is not mixed.
    pub plain_weight: f64,
    /// Weight of the cross-entropy of turns.
    pub turn_weight: f64,
    /// Steps over which the weights of unlabelled samples ramp up, but for that of turns. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            temperature: 0.5,
            alpha: 0.75,
            aligned_steps: 128,
            unlabelled_weight: 1.5,
            plain_weight: 0.5,
            turn_weight: 0.5,
            ramp_steps: 400,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("temperature", self.temperature, 0.01..=100.0),
            ("alpha", self.alpha, 1e-3..=1e3),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("plain_weight", self.plain_weight, 0.0..=1e6),
            ("turn_weight", self.turn_weight, 0.0..=1e6),
        ])
    }
}

const HEADS: &[Head] = &[TURN];
/// `[B, C]` f32: the target before mixing.
const PLAIN: &str = "plain";
/// `[B]` f32: weight in the loss of turns, 1 for every sample.
const EVERY: &str = "every";

struct ReMixMatch(Settings);

/// Mean probabilities of the last steps, and the classes of labelled samples.
struct Labeller {
    settings: Settings,
    alignment: Alignment,
    frequencies: Frequencies,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(ReMixMatch(settings(spec)?)))
}

/// Returns the cross-entropy of the mixed views, a mean over views; `None` where no sample was selected.
fn mixed(forward: &Forward<'_>) -> Option<Tensor> {
    let of_view =
        |(rows, logits): (Tensor, &Tensor)| forward.over_batch(&cross_entropy(logits, &Target::Soft(rows)));
    let views = forward.mixed_views().map(of_view).collect::<Vec<_>>();
    (!views.is_empty()).then(|| Tensor::stack(&views, 0).mean(Kind::Float))
}

/// Returns the cross-entropies of the view that is not mixed and of turns: scalars; `None` where no sample was selected.
fn beside(forward: &Forward<'_>) -> Option<(Tensor, Tensor)> {
    let [_, _, plain, turned] = forward.strong.as_slice() else { return None };
    let rows = forward.rows.get(PLAIN)?.shallow_clone();
    let of_plain = forward.over_batch(&cross_entropy(&plain.logits, &Target::Soft(rows)));
    let turns = quarters(turned.logits.size()[0], turned.logits.device());
    let each = cross_entropy(turned.heads.first()?, &Target::Hard(turns));
    Some((of_plain, each.dot(forward.rows.get(EVERY)?) / forward.batch))
}

impl Method for ReMixMatch {
    fn views(&self) -> ViewRequest {
        let mix = Some(Mixing { alpha: self.0.alpha, dominant: true, views: 2, among: Among::All });
        let student = vec![View::Strong, View::Weak, View::Strong, View::Turned];
        ViewRequest { student, labelled_scores: true, mix, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let alignment = Alignment::new(self.0.aligned_steps);
        Box::new(Labeller { settings: self.0.clone(), alignment, frequencies: Frequencies::default() })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), mixed(&forward), self.0.unlabelled_weight)?;
        let Some((plain, turns)) = beside(&forward) else { return Some(loss) };
        Some(loss.plus(&(plain * self.0.plain_weight + turns * self.0.turn_weight)))
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let rows = &scores.unlabelled[0]; // [B, C]
        let (classes, device) = (rows.size()[1], rows.device());
        if scores.alarm {
            self.alignment.means = None;
        }
        let counts = self.frequencies.learn(scores.labelled.as_ref(), classes, device);
        let target = sharpened(&self.alignment.toward(rows, counts), self.settings.temperature);
        let (confidence, class) = target.max_dim(1, false); // [B], [B]
        let weight = confidence.full_like(progress(scores.step, self.settings.ramp_steps));
        let every = confidence.ones_like();
        PseudoLabels {
            rows: [(PLAIN, target.shallow_clone()), (EVERY, every)].into(),
            further: Some(EVERY),
            ..PseudoLabels::soft(target, confidence, class, weight)
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.alignment.means, &self.frequencies.counts])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.alignment.means, &mut self.frequencies.counts])
    }
}

//! Rotation, decoupled from consistency (RDCR: Tsai, Li and Zhu 2019, arXiv 1905.13305), against wrong labels: by how many
//! quarters an image was turned is a label that is always right.
//!
//! **Reconstructed from the abstract**, as neither the paper's text nor code of it was at hand. What it says: consistency-based
//! methods are joined with the self-supervised task of rotation, whose targets are auxiliary clean labels, and the gain grows with
//! the noise. The rest is our reading: consistency is Mean Teacher's; "decoupled" is that turns are told by a head of their own, and
//! that probabilities of the turned image need not be those of the upright one, as a 6 that is turned is a 9. `turned_weight` above 0
//! asks for that too, where classes stay what they are.

use crate::augmentation::turn::quarters;
use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::method::ramp::soft;
use crate::model::api::Output;
use crate::model::heads::{Head, TURN};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. Weight and ramp of consistency are those of `mean-teacher`. With a weight of 10 after 400 steps, as this had
/// before, it was as good with 4 labels a class, but with one (digits) it made much of a teacher that knew little: 49 %. The weight
/// of turns is from digits with 40 labels, seed 0.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Final weight of the consistency cost, which is a mean over classes.
    pub unlabelled_weight: f64,
    /// Weight of the same cost of turned images, as a fraction of that weight. 0 where a turn changes the class.
    pub turned_weight: f64,
    /// Weight of the cross-entropy of turns, a mean over labelled and unlabelled samples.
    pub turn_weight: f64,
    /// Steps over which the weight of consistency ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unlabelled_weight: 100.0, turned_weight: 0.0, turn_weight: 0.1, ramp_steps: 4_000 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("turned_weight", self.turned_weight, 0.0..=1e6),
            ("turn_weight", self.turn_weight, 0.0..=1e6),
        ])
    }
}

const HEADS: &[Head] = &[TURN];
/// `[B]` f32: weight in the loss of turns, 1 for every sample.
const EVERY: &str = "every";

struct Rdcr(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Rdcr(settings(spec)?)))
}

/// Returns the cross-entropy `[N]` of turns in the outputs for a turned view.
fn of_turns(turned: &Output) -> Option<Tensor> {
    let turns = quarters(turned.logits.size()[0], turned.logits.device());
    Some(cross_entropy(turned.heads.first()?, &Target::Hard(turns)))
}

/// Returns the mean cross-entropy of turns of all samples, a scalar; `None` without any.
fn turns(forward: &Forward<'_>) -> Option<Tensor> {
    let of_labelled = forward
        .labelled
        .as_ref()
        .and_then(|labelled| Some((of_turns(labelled.further.first()?)?.sum(Kind::Float), labelled.batch)));
    let of_unlabelled = forward.strong.get(1).zip(forward.rows.get(EVERY));
    let of_unlabelled =
        of_unlabelled.and_then(|(view, every)| Some((of_turns(view)?.dot(every), forward.batch)));
    let parts = [of_labelled, of_unlabelled].into_iter().flatten();
    let (sum, count) = parts.reduce(|(sum, count), (more, samples)| (sum + more, count + samples))?;
    Some(sum / count)
}

impl Rdcr {
    /// Returns the consistency cost, a scalar; `None` where no sample was selected.
    fn consistency(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let Target::Soft(rows) = &forward.target else { return None };
        let cost = |view: &Output| forward.squared_error(&view.logits, rows);
        let upright = cost(forward.strong.first()?);
        match forward.strong.get(1).filter(|_| self.0.turned_weight > 0.0) {
            Some(turned) => Some(upright + cost(turned) * self.0.turned_weight),
            None => Some(upright),
        }
    }
}

impl Method for Rdcr {
    fn views(&self) -> ViewRequest {
        ViewRequest {
            student: vec![View::Labelled, View::Turned],
            labelled: vec![View::Turned],
            heads: HEADS,
            ..ViewRequest::default()
        }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let ramp_steps = self.0.ramp_steps;
        stateless(move |scores: &Scores| {
            let soft = soft(scores, ramp_steps);
            PseudoLabels { rows: [(EVERY, soft.weight.ones_like())].into(), further: Some(EVERY), ..soft }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let consistency = self.consistency(&forward);
        let loss = Loss::sum(forward.labelled_loss(), consistency, self.0.unlabelled_weight)?;
        Some(match turns(&forward) {
            Some(turns) => loss.plus(&(turns * self.0.turn_weight)),
            None => loss,
        })
    }
}

//! Contrast over present classes, as energy-based models have it for continual learning (Li et al. 2020, "Energy-Based Models
//! for Continual Learning", contrastive training): a labelled sample's class is told from classes of which the step has labelled
//! samples too. Cross-entropy over all classes lowers the logits of absent ones in every step, such as those of earlier phases
//! that replay happens to miss, which is how they are forgotten.
//!
//! In the loss of labelled samples the other classes are as if they did not exist. What smoothing gives them in a target is left
//! out. It is the network's own last layer that is changed, not a further head or a second network.

use crate::generator::seeded;
use crate::method::api::Forward;
use crate::model::api::Output;
use crate::pseudo_labels::Target;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Logit of a class that is left out.
const NEVER: f64 = -1e4;

/// Classes that a labelled sample's class is told from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    /// All classes.
    #[default]
    All,
    /// Those of the step's labelled samples.
    Present,
    /// One of these, drawn for each sample, as in the paper.
    Pair,
}

impl Contrast {
    /// Leaves the other classes out of the loss of labelled samples.
    pub fn narrow(self, forward: &mut Forward<'_>) {
        let Some(labelled) = forward.labelled.as_mut().filter(|_| self != Contrast::All) else { return };
        let count = labelled.output.logits.size()[1];
        let classes = Target::Hard(labelled.classes.shallow_clone()).rows(count); // [L, C]
        let present = classes.amax([0i64].as_slice(), true).gt(0.0); // [1, C]
        let rows = labelled.target.rows(count);
        let kept = match self {
            Contrast::Pair => {
                let own = classes.gt(0.0);
                let others = present.logical_and(&own.logical_not()); // [L, C]
                let lots = seeded(forward.draws.random(), || rows.rand_like())
                    .masked_fill(&others.logical_not(), -1.0);
                let (most, _) = lots.max_dim(1, true);
                own.logical_or(&lots.eq_tensor(&most).logical_and(&others))
            }
            _ => present.expand_as(&classes),
        };
        let narrowed = |output: &mut Output| {
            output.logits = output.logits.masked_fill(&kept.logical_not(), NEVER);
        };
        narrowed(&mut labelled.output);
        labelled.further.iter_mut().for_each(narrowed);
        labelled.target = Target::Soft(rows.masked_fill(&kept.logical_not(), 0.0));
    }
}

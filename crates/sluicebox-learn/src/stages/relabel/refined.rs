//! Progressive refinement of labels (PS-KD, Kim et al. 2021, §3.2, equation 6): the target of a labelled sample is its label and,
//! for a share that grows, what the network said of the sample itself. There the network of the epoch before says it, here the
//! teacher.

use crate::messages::LabelledScores;
use crate::method::ramp::progress;
use crate::pseudo_labels::{JudgedLabels, Target};

/// How large the share of the teacher's probabilities is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refined {
    /// Final share.
    pub share: f64,
    /// Steps over which it grows from 0. 0: it is there from the start.
    pub steps: u64,
}

impl Refined {
    /// Gives the teacher's probabilities their share in `judged`, or in the labels where nobody judged them.
    pub fn apply(&self, judged: Option<JudgedLabels>, scores: &LabelledScores, step: u64) -> JudgedLabels {
        let judged = judged.unwrap_or_else(|| JudgedLabels::as_given(&scores.classes));
        let rows = judged.target.rows(scores.probabilities.size()[1]);
        let target = Target::Soft(rows.lerp(&scores.probabilities, self.share * progress(step, self.steps)));
        JudgedLabels { target, ..judged }
    }
}

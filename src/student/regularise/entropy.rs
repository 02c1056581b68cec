//! Entropy minimisation (Grandvalet and Bengio 2004, equation 8): mean entropy of what the student
//! says of unlabelled samples. A sample that the filter rejects has no part in it, since in filter
//! mode the student never sees it; a filter that rejects nothing gives the paper's term.

use super::OutputTerm;
use crate::method::Forward;
use crate::model::Output;
use crate::student::loss::entropy;
use tch::{Kind, Tensor};

pub struct Entropy;

impl OutputTerm for Entropy {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let accepted = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
        let of_view = |output: &Output| entropy(&output.logits).dot(&accepted);
        let views: Vec<Tensor> = forward.strong.iter().map(of_view).collect();
        let count = views.len() as i64 * forward.batch;
        (!views.is_empty()).then(|| Tensor::stack(&views, 0).sum(Kind::Float) / count as f64)
    }
}

//! Entropy minimisation (Grandvalet and Bengio 2004, equation 8): mean entropy of what the student
//! says of unlabelled samples. A sample that the filter rejects has no part in it, since in filter
//! mode the student never sees it; a filter that rejects nothing gives the paper's term.

use super::OutputTerm;
use crate::method::Forward;
use tch::{Kind, Tensor};

pub struct Entropy;

impl OutputTerm for Entropy {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let accepted = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
        let of_view = |logits: &Tensor| {
            let (rows, logs) = (logits.softmax(1, Kind::Float), logits.log_softmax(1, Kind::Float));
            -(rows * logs).sum_dim_intlist([1i64].as_slice(), false, Kind::Float).dot(&accepted)
        };
        let views: Vec<Tensor> = forward.strong.iter().map(|output| of_view(&output.logits)).collect();
        let count = views.len() as i64 * forward.batch;
        (!views.is_empty()).then(|| Tensor::stack(&views, 0).sum(Kind::Float) / count as f64)
    }
}

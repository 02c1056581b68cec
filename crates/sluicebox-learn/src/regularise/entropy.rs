//! Entropy minimisation (Grandvalet and Bengio 2004, equation 8): mean entropy of the student's
//! outputs on unlabelled samples. Rejected samples are excluded, since in filter mode the student
//! never sees them; with a filter that rejects nothing this is the paper's term.

use crate::loss::entropy;
use crate::method::api::Forward;
use crate::model::api::Output;
use crate::regularise::api::OutputTerm;
use tch::{Kind, Tensor};

pub struct Entropy;

impl OutputTerm for Entropy {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let accepted = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
        let of_view = |output: &Output| entropy(&output.logits).dot(&accepted);
        let views: Vec<Tensor> = forward.strong.iter().map(of_view).collect();
        let count = views.len() as f64 * forward.batch;
        (!views.is_empty()).then(|| Tensor::stack(&views, 0).sum(Kind::Float) / count)
    }
}

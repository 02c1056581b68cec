//! The loss that methods are made of.

use crate::data::Target;
use tch::{Kind, Reduction, Tensor};

/// Cross-entropy of each row of `logits` `[N, C]` against `target`, of N: `[N]`.
pub fn cross_entropy(logits: &Tensor, target: &Target) -> Tensor {
    match target {
        Target::Hard(classes) => {
            logits.cross_entropy_loss::<&Tensor>(classes, None, Reduction::None, -100, 0.0)
        }
        Target::Soft(rows) => -(rows * logits.log_softmax(1, Kind::Float)).sum_dim_intlist(
            [1i64].as_slice(),
            false,
            Kind::Float,
        ),
    }
}

//! The losses that methods are made of.

use crate::data::Target;
use tch::{Kind, Reduction, Tensor};

/// Mean cross-entropy of `logits` `[N, C]` against `classes` `[N]` i64: a scalar.
pub fn cross_entropy(logits: &Tensor, classes: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<&Tensor>(classes, None, Reduction::Mean, -100, 0.0)
}

/// Sum over N of `weight` `[N]` times the cross-entropy of `logits` `[N, C]` against `target`:
/// a scalar.
pub fn weighted_cross_entropy(logits: &Tensor, target: &Target, weight: &Tensor) -> Tensor {
    let each = match target {
        Target::Hard(classes) => {
            logits.cross_entropy_loss::<&Tensor>(classes, None, Reduction::None, -100, 0.0) // [N]
        }
        Target::Soft(rows) => -(rows * logits.log_softmax(1, Kind::Float)).sum_dim_intlist(
            [1i64].as_slice(),
            false,
            Kind::Float,
        ),
    };
    each.dot(weight)
}

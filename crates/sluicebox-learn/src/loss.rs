//! Building blocks of losses.

use crate::pseudo_labels::Target;
use tch::{Kind, Reduction, Tensor};

/// Returns the cross-entropy `[N]` of each row of `logits` `[N, C]` against `target`, of N samples.
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

/// Returns the entropy `[N]` of each row of `logits` `[N, C]`, in nats.
pub fn entropy(logits: &Tensor) -> Tensor {
    cross_entropy(logits, &Target::Soft(logits.softmax(1, Kind::Float)))
}

/// Scales rows `[N, F]` to length 1, f32. Zero rows stay zero and have a finite gradient.
pub fn unit(rows: &Tensor) -> Tensor {
    let rows = rows.to_kind(Kind::Float);
    let length = rows.square().sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    rows / (length + 1e-12).sqrt()
}

/// Returns rows of probabilities `[N, C]` to the power of 1/`temperature`, scaled to sum 1.
pub fn sharpened(rows: &Tensor, temperature: f64) -> Tensor {
    (rows.clamp_min(1e-12).log() / temperature).softmax(1, Kind::Float)
}

/// Returns the divergence KL(`rows` ‖ softmax(`logits`)) of each sample: `[N]`, of probabilities `[N, C]` and logits
/// `[N, C]`.
pub fn divergence(rows: &Tensor, logits: &Tensor) -> Tensor {
    let gaps = rows.clamp_min(1e-12).log() - logits.log_softmax(1, Kind::Float);
    (rows * gaps).sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
}

/// Returns NT-Xent (Chen et al. 2020, §2.1) of pairs of rows of length 1, `first` and `second` `[N, D]`: how hard it is to tell
/// each row's partner among all others by their cosines over `temperature`. `[2 N]`, those of `first` before those of `second`.
pub fn contrast(first: &Tensor, second: &Tensor, temperature: f64) -> Tensor {
    let (rows, count) = (Tensor::cat(&[first, second], 0), first.size()[0]);
    let own = Tensor::eye(2 * count, (Kind::Bool, rows.device()));
    let logits = (rows.matmul(&rows.tr()) / temperature).masked_fill(&own, f64::NEG_INFINITY);
    let partners = Tensor::arange(2 * count, (Kind::Int64, rows.device())).roll([count], [0]);
    cross_entropy(&logits, &Target::Hard(partners))
}

//! Adversarial views (Miyato et al. 2018, §3.3, algorithm 1): a view is moved, by a given length, into the direction in which
//! the student's probabilities change most. One power iteration finds it: the gradient of the divergence between the
//! probabilities of the view and of one a short way off in a random direction.

use crate::augmentation::api::normal_like;
use crate::device::{Compute, Precision};
use crate::loss::{divergence, unit};
use crate::method::api::Adversary;
use crate::model::api::Model;
use crate::torch::copied;
use crate::weights::Replica;
use sluicebox_core::rng::Draws;
use tch::{Kind, Tensor};

/// Length of the short way, as a fraction of the move.
const PROBE: f64 = 0.01;
/// Views that pass the network to find a move, for each view that is moved.
pub const PASSES: u64 = 2;

/// The network as it is moved against: the student's.
pub struct Opponent<'a> {
    /// The network.
    pub model: &'a dyn Model,
    /// Device of its weights.
    pub compute: Compute,
    /// Its weights.
    pub replica: &'a Replica,
    /// Updates so far.
    pub updates: u64,
}

impl Opponent<'_> {
    /// Returns `view` `[A, …]` f32, moved. Batch norm's running statistics stay as they are, and everything is f32: the
    /// difference that a short way makes is below the precision of bf16.
    pub fn moved(&self, view: &Tensor, adversary: Adversary, draws: &mut Draws) -> Tensor {
        let compute = self.model.compute(Compute { precision: Precision::F32, ..self.compute });
        let (parameters, buffers) = (self.replica.parameters.shallow_clone(), copied(&self.replica.buffers));
        let still = Replica::with(self.model.layout(), compute, parameters, buffers);
        let leaves = self.model.leaves(still.leaves(), draws);
        let logits = |input: &Tensor| {
            let input = self.model.input(compute, input);
            self.model.train(&leaves, still.buffers(), &input, self.updates).logits
        };
        let (rows, length) = tch::no_grad(|| {
            let values = view.numel() as f64 / view.size()[0] as f64;
            let deviation = view.std(false) * (adversary.deviations * values.sqrt());
            (logits(view).softmax(1, Kind::Float), deviation)
        });
        let probe = tch::no_grad(|| view + direction(&normal_like(view, draws)) * (&length * PROBE));
        let probe = probe.set_requires_grad(true);
        let gap = divergence(&rows, &logits(&probe)).sum(Kind::Float);
        let gradients = Tensor::run_backward(&[gap], &[&probe], false, false);
        tch::no_grad(|| view + direction(&gradients[0]) * length)
    }
}

/// Scales each sample of `[A, …]` to length 1, f32; zeros stay zeros.
fn direction(samples: &Tensor) -> Tensor {
    let rows = samples.flatten(1, -1);
    // A gradient can be as short as its square is no number of f32.
    let largest = rows.abs().amax([1i64].as_slice(), true).clamp_min(f64::from(f32::MIN_POSITIVE));
    unit(&(rows / largest)).view_as(samples)
}

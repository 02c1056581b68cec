//! Trial of a module before a job begins: does it answer for each sample alone, and do its modes differ where its code
//! says so? A traced module has one mode for ever: that in which it was traced.

use crate::model::layout::{Init, Layout};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use std::sync::Once;
use tch::Tensor;

/// Samples of the trial.
const SAMPLES: usize = 4;
/// Differences up to this, relative to the largest number, are rounding: kernels depend on the size of the batch.
const ROUNDING: f64 = 1e-3;
/// What to do about a traced module.
const SCRIPT: &str =
    "save it with torch.jit.save(torch.jit.script(module), …): a trace keeps the mode in which it was made";

/// Returns samples for a trial, from 0 to 1, no two alike.
pub fn batch(shape: Shape) -> Tensor {
    let values = (0..SAMPLES * shape.len()).map(|at| (0.7391 * at as f32).sin().abs());
    Tensor::from_slice(&values.collect::<Vec<_>>()).view(shape.batch(SAMPLES).as_slice())
}

/// Returns the logits of `batch` in evaluation mode. Refuses a module whose answers are random, or depend on the other
/// samples of the batch. `logits` runs the module.
pub fn answers_each_sample_alone(
    batch: &Tensor,
    logits: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (first, again) = (logits(batch)?, logits(batch)?);
    if !is_same(&first, &again) {
        let reason = "in evaluation mode it gives two answers for the same samples: dropout, or another draw, is \
                      always on";
        return Err(Error::Request(format!("{reason}; {SCRIPT}")));
    }
    let halves: Vec<Tensor> = batch.chunk(2, 0).iter().map(logits).collect::<Result<_>>()?;
    if !is_same(&first, &Tensor::cat(&halves, 0)) {
        let reason = "in evaluation mode its answer for a sample depends on the others of the batch: batch norm is always \
                      in training mode";
        return Err(Error::Request(format!("{reason}; {SCRIPT}")));
    }
    Ok(first)
}

/// Returns whether two outputs are the same but for rounding.
pub fn is_same(one: &Tensor, other: &Tensor) -> bool {
    let most = one.abs().max().double_value(&[]);
    one.allclose(other, 0.0, ROUNDING * most, true)
}

/// Judges a module whose training pass is its evaluation, although its code has `frozen` layers, if it has. Refuses
/// batch norm that has never seen a sample: it would stay so. Else it may be meant, and is said once.
pub fn check_modes(frozen: Option<&Vec<&'static str>>, layout: &Layout) -> Result<()> {
    let Some(layers) = frozen else { return Ok(()) };
    let layers = layers.join(" and ");
    let fresh =
        |values: &Init| matches!(values, Init::Given(values) if values.iter().all(|value| *value == 1.0));
    let mut statistics = layout.buffers.iter().filter(|slot| slot.name.ends_with("running_var"));
    if statistics.any(|slot| fresh(&slot.init)) {
        let reason =
            format!("its {layers} never train, and the running statistics are still those of a new network");
        return Err(Error::Request(format!("{reason}; {SCRIPT}")));
    }
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "model.path: training and evaluation compute the same, although the module has {layers}: these stay frozen, \
             as in a module traced in evaluation mode; if that is not meant, {SCRIPT}"
        );
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_a_trial_differ() {
        let batch = batch(Shape::Vector { features: 3 });
        assert_eq!(batch.size(), [SAMPLES as i64, 3]);
        assert!(!is_same(&batch.narrow(0, 0, 1), &batch.narrow(0, 1, 1)));
        assert!(batch.min().double_value(&[]) >= 0.0 && batch.max().double_value(&[]) <= 1.0);
    }
}

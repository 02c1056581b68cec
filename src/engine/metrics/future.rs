//! Near-future accuracy: tests the teacher of an epoch's end on samples so far ahead in the stream that
//! repeated labels are of no help (Prabhu et al. 2023); the source stage determines the distance. At most one
//! test per epoch, on the samples of one step: an estimate of the sum over all steps. It tests the network
//! without prior correction, which is fitted to the present.

use crate::engine::metrics::counts::share;
use serde::{Deserialize, Serialize};
use sluicebox_core::step_notes::Probe;
use sluicebox_learn::messages::Weights;
use sluicebox_learn::torch::TorchResult;
use tch::{Device, Tensor};

/// The teacher that awaits its test, and the sums over past tests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NearFuture {
    /// Steps it has seen, parameters and running statistics.
    waiting: Option<(u64, Vec<f32>, Vec<f32>)>,
    right: u64,
    tested: u64,
    shift: Option<u64>,
}

impl NearFuture {
    /// Keeps the teacher of an epoch's end for a test, unless another one awaits its test.
    pub fn keep(&mut self, weights: &Weights) -> sluicebox_core::error::Result<()> {
        if self.waiting.is_none() {
            let plain = |tensor: &Tensor| Vec::<f32>::try_from(tensor.to_device(Device::Cpu));
            self.waiting =
                Some((weights.step, plain(&weights.parameters).torch()?, plain(&weights.buffers).torch()?));
        }
        Ok(())
    }

    /// Returns the teacher that a probe tests, on `device`.
    pub fn take(&mut self, probe: &Probe, device: Device) -> Option<Weights> {
        let (step, parameters, buffers) = self.waiting.take()?;
        (step == probe.of_step).then(|| Weights {
            step,
            parameters: Tensor::from_slice(&parameters).to_device(device),
            buffers: Tensor::from_slice(&buffers).to_device(device),
        })
    }

    /// Adds the result of a test.
    pub fn add(&mut self, right: u64, tested: u64) {
        self.right += right;
        self.tested += tested;
    }

    /// Sets the distance of tests in samples; none if no distance is far enough. A change discards the
    /// results at the former distance.
    pub fn set_shift(&mut self, shift: Option<u64>) {
        if shift != self.shift {
            *self = Self { shift, ..Self::default() };
        }
    }

    /// Fraction of all tested samples that were right.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.tested)
    }

    /// Distance of tests in samples.
    pub fn shift(&self) -> Option<u64> {
        self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Truth, Values};

    #[test]
    fn one_teacher_waits_at_a_time_and_comes_back_as_it_was() {
        let weights = |step: u64| Weights {
            step,
            parameters: Tensor::from_slice(&[step as f32, 2.0]),
            buffers: Tensor::from_slice(&[3f32]),
        };
        let nothing = || (Values::F32(Vec::new()), Truth::default());
        let probe = |of_step| Probe { of_step, values: nothing().0, truth: nothing().1 };
        let mut future = NearFuture::default();
        future.keep(&weights(8)).unwrap();
        future.keep(&weights(16)).unwrap();
        let found = future.take(&probe(8), Device::Cpu).unwrap();
        assert_eq!(Vec::<f32>::try_from(found.parameters).unwrap(), [8.0, 2.0]);
        assert!(future.take(&probe(8), Device::Cpu).is_none());
        future.keep(&weights(24)).unwrap();
        assert!(future.take(&probe(16), Device::Cpu).is_none(), "it was not kept");
        future.add(3, 4);
        future.add(1, 4);
        assert_eq!(future.accuracy(), Some(0.5));
        future.keep(&weights(32)).unwrap();
        future.set_shift(Some(4));
        assert_eq!((future.accuracy(), future.shift()), (None, Some(4)), "those were not 4 ahead");
        assert!(future.take(&probe(32), Device::Cpu).is_none());
        future.add(1, 2);
        future.set_shift(Some(4));
        assert_eq!(future.accuracy(), Some(0.5));
        future.set_shift(None);
        assert_eq!((future.accuracy(), future.shift()), (None, None));
    }
}

//! A bounded ring of the newest samples' projections, each with class probabilities.

use crate::window::keep_newest_rows;
use tch::Tensor;

/// The newest samples, at most `most` of them.
pub struct Ring {
    most: usize,
    /// `[K, D]`: projections, of length 1, newest last.
    pub projections: Option<Tensor>,
    /// `[K, C]`: their probabilities.
    pub probabilities: Option<Tensor>,
}

impl Ring {
    /// Creates an empty ring of `most` samples.
    pub fn new(most: usize) -> Self {
        Self { most, projections: None, probabilities: None }
    }

    /// Returns projections `[K, D]` and probabilities `[K, C]` on the device of `like`; `None` while it has fewer than `least`
    /// samples.
    pub fn held(&self, least: usize, like: &Tensor) -> Option<(Tensor, Tensor)> {
        let (held, rows) = (self.projections.as_ref()?, self.probabilities.as_ref()?);
        let is_enough = held.size()[0] as usize >= least;
        is_enough.then(|| (held.to_device(like.device()), rows.to_device(like.device())))
    }

    /// Adds samples with projections `[N, D]` of length 1 and probabilities `[N, C]`; the oldest make room.
    pub fn add(&mut self, projections: &Tensor, probabilities: &Tensor) {
        let most = self.most as i64;
        for (held, new) in [(&mut self.projections, projections), (&mut self.probabilities, probabilities)] {
            let before = held.take().unwrap_or_else(|| new.narrow(0, 0, 0)).to_device(new.device());
            *held = Some(keep_newest_rows(&before, new, most));
        }
    }
}

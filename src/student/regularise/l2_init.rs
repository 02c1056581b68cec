//! Regenerative regularisation (Kumar et al. 2023, L2 Init): the squared distance of all weights to
//! where they began, which draws those that are of no use now back to where they can learn again.

use super::WeightTerm;
use tch::Tensor;

pub struct L2Init {
    /// `[P]` f32: the model's first weights. The job's seed gives them back.
    pub first: Tensor,
}

impl WeightTerm for L2Init {
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64) {
        let _ = gradients.shallow_clone().g_add_(&((parameters - &self.first) * (2.0 * weight)));
    }
}

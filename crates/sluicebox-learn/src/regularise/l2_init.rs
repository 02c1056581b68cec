//! Regenerative regularisation (Kumar et al. 2023, L2 Init): the squared distance of all weights to
//! their initial values. It pulls weights that are currently of no use back to where they can learn again.

use crate::regularise::api::WeightTerm;
use tch::Tensor;

pub struct L2Init {
    /// `[P]` f32: the model's first weights, reproducible from the job's seed.
    pub first: Tensor,
}

impl WeightTerm for L2Init {
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64) {
        let _ = gradients.shallow_clone().g_add_(&((parameters - &self.first) * (2.0 * weight)));
    }
}

//! Center loss (Wen et al. 2016, equation 2): half the squared distance of each labelled sample's
//! features to its class's centre, as a mean over the samples. Centres begin at 0 and move by the
//! paper's rule (equation 4): by α Σ (c - x) / (1 + count) over the class's samples of the step.

use crate::method::api::Forward;
use crate::pseudo_labels::Target;
use crate::regularise::api::OutputTerm;
use tch::{Kind, Tensor};

pub struct Center {
    /// `[C, F]` f32.
    pub centers: Tensor,
    /// α: learning rate of the centres.
    pub rate: f64,
}

impl OutputTerm for Center {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let labelled = forward.labelled.as_ref()?;
        let features = labelled.output.features.to_kind(Kind::Float); // [L, F]
        let gaps = &features - self.centers.index_select(0, labelled.classes);
        let loss = (&gaps * &gaps).sum(Kind::Float) / (2 * labelled.classes.size()[0]) as f64;
        tch::no_grad(|| {
            let classes = Target::Hard(labelled.classes.shallow_clone()).rows(self.centers.size()[0]); // [L, C]
            let counts = classes.sum_dim_intlist([0i64].as_slice(), false, Kind::Float).unsqueeze(1);
            let sums = classes.tr().matmul(&features.detach()); // [C, F]
            let moves = (&self.centers * &counts - sums) / (counts + 1.0);
            self.centers = &self.centers - moves * self.rate;
        });
        Some(loss)
    }

    fn state(&mut self) -> Option<&mut Tensor> {
        Some(&mut self.centers)
    }
}

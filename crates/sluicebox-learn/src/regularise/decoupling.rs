//! Spectral decoupling (Pezeshki et al. 2021, equation 17): half the mean squared length of the logits of labelled samples.
//! Where one feature explains the labels, cross-entropy learns it ever more and starves the others; this bounds how much
//! there is to gain from it.

use crate::method::api::Forward;
use crate::regularise::api::OutputTerm;
use tch::{Kind, Tensor};

pub struct Decoupling;

impl OutputTerm for Decoupling {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let logits = &forward.labelled.as_ref()?.output.logits; // [L, C]
        let squared = logits.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        Some(squared.mean(Kind::Float) * 0.5)
    }
}

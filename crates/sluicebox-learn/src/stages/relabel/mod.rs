//! What becomes of the labels of a step's labelled samples, with any method: those that look wrong are corrected
//! (`labels.correct`), and the teacher's probabilities get a share in them (`regularise.refine`).

pub mod corrector;
mod curve;
pub mod refined;

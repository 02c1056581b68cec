//! Adaptation to drift: forgetting rates, discriminants, the present class prior and the correction of
//! probabilities (docs/drift.md).

pub mod correction;
pub mod correction_fit;
pub mod discriminant;
pub mod features;
pub mod forgetting;
pub mod prior;
pub mod state;

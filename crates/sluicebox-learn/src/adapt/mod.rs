//! Adaptation to drift: experts beside the network, their shares, the class prior of the stream and answers
//! (docs/drift.md).

pub mod awaiting_rows;
pub mod correction;
pub mod correction_fit;
pub mod discriminant;
pub mod experts;
pub mod features;
pub mod forest;
pub mod frozen;
pub mod labelled_rows;
pub mod learned;
pub mod neighbours;
pub mod prior;
pub mod prototypes;
pub mod random_features;
pub mod scaling;
pub mod shares;
pub mod state;
#[cfg(test)]
mod tests;
pub mod thread;

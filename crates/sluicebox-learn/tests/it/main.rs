//! What is learned, against PyTorch and the formulas of the papers.

#![allow(missing_docs)]

mod golden;
mod labelled;
mod methods;
mod randaugment;
mod start;
mod values;
mod values_of_pairs;

/// Folder of the golden numbers and of the scripts that computed them.
fn golden_folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

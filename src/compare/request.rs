//! Arguments of a comparison.

use crate::compare::outcome::Measure;
use std::path::PathBuf;

/// Quantities at which variants are matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Equal {
    /// Run each variant to the job's own end.
    Samples,
    /// Also run again, longer, to as many passes as the variant with the most.
    #[default]
    Passes,
}

/// Arguments of a comparison.
#[derive(Debug, Clone)]
pub struct Request {
    /// The job file.
    pub job: PathBuf,
    /// `KEY=VALUE`, overriding the job file.
    pub set: Vec<String>,
    /// `KEY=A,B,…`: varied keys and their values, overriding `set`.
    pub vary: Vec<String>,
    /// Number of seeds, or a list of them.
    pub seeds: String,
    /// Quantities at which variants are matched.
    pub equal: Equal,
    /// Measure of quality; none: held-out accuracy where there is one, otherwise prequential accuracy.
    pub measure: Option<Measure>,
    /// Output folder; none: `compare-NAME`.
    pub out: Option<PathBuf>,
    /// Additional file for the content of `compare.json`.
    pub json: Option<PathBuf>,
}

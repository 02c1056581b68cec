//! Sinks: outputs besides the console. One file and one row in [`SINKS`] per sink. Reports go to
//! observers, for which the job never waits. Predictions for each sample go to [`Sink`]s, which are
//! saved with the checkpoints, so that none is lost (and, in files, none is duplicated).

pub mod kafka;
pub mod predictions;

use sluicebox_core::error::Result;
use sluicebox_core::step::Prediction;

/// An output of predictions.
pub trait Sink {
    /// Returns the sink's identity within the job, the same after a restart: its kind and place.
    fn name(&self) -> String;

    /// Writes the teacher's predictions for the samples of a step, in stream order. `classes` are
    /// the class names.
    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()>;

    /// Returns the extent of the output, once it is durable, as bytes for [`Sink::restore`].
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Restores a snapshot: predictions made after it will be delivered again.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

//! Sinks: outputs besides the console. One file and one row in [`SINKS`] per sink. Reports go to
//! observers, for which the job never waits. Predictions for each sample go to [`Sink`]s, which are
//! saved with the checkpoints, so that none is lost (and, in files, none is duplicated).

pub mod kafka;
pub mod predictions;

use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use sluicebox_core::step::Prediction;

/// An output of predictions. Its [state](Stateful) is its extent: [`Stateful::save`] returns once everything written
/// is durable, and predictions made after a state that is loaded will be delivered again.
pub trait Sink: Stateful {
    /// Returns the sink's identity within the job, the same after a restart: its kind and place.
    fn name(&self) -> String;

    /// Writes the teacher's predictions for the samples of a step, in stream order. `classes` are
    /// the class names.
    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()>;
}

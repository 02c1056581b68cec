//! Prediction sinks: outputs for the prediction of each sample. One file per sink; their rows are in the job's
//! table of sinks. They keep step with the checkpoints, so that no prediction is lost, and none is duplicated in
//! files.

pub mod kafka;
pub mod predictions;
mod rolled_files;

use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use sluicebox_core::step::Prediction;

/// An output of predictions. Its [state](Stateful) is its extent: [`Stateful::save`] returns once everything written
/// is durable, and predictions made after a state that is loaded will be delivered again.
///
/// ```
/// use sluicebox_core::error::Result;
/// use sluicebox_core::state::{Stateful, decode, encode};
/// use sluicebox_core::step::Prediction;
/// use sluicebox_stream::sink::Sink;
///
/// /// Counts the predictions for each class.
/// struct Histogram(Vec<u64>);
///
/// impl Stateful for Histogram {
///     fn save(&self) -> Result<Vec<u8>> {
///         encode("the histogram", &self.0)
///     }
///     fn load(&mut self, state: &[u8]) -> Result<()> {
///         self.0 = decode("the histogram", state)?;
///         Ok(())
///     }
/// }
///
/// impl Sink for Histogram {
///     fn name(&self) -> String {
///         "histogram".into()
///     }
///     fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()> {
///         self.0.resize(classes.len(), 0);
///         rows.iter().for_each(|row| self.0[row.class as usize] += 1);
///         Ok(())
///     }
/// }
///
/// let mut sink = Histogram(vec![3, 4]);
/// let saved = sink.save()?;
/// sink.predictions(&[], &["cat".into(), "dog".into()])?;
/// let mut resumed = Histogram(Vec::new());
/// resumed.load(&saved)?;
/// assert_eq!(resumed.0, [3, 4]);
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Sink: Stateful {
    /// Returns the sink's identity within the job, the same after a restart: its kind and place.
    fn name(&self) -> String;

    /// Begins the sink where there is no state to load, before anything is written. If `is_own`, what is there was
    /// written by this job since it began, and all of it will come again: it may go. Otherwise it must be kept. By
    /// default nothing is done.
    fn begin(&mut self, _is_own: bool) -> Result<()> {
        Ok(())
    }

    /// Writes the teacher's predictions for the samples of a step, in stream order. `classes` are
    /// the class names.
    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()>;
}

//! The contract of a file of columns: batches of rows.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// Forward reader of batches. Whoever implements it says what bounds a batch's memory.
pub trait Batches: Send {
    /// Returns the columns of the file.
    fn schema(&self) -> SchemaRef;

    /// Reads these columns only, by their places in order. Called before the first batch is read.
    fn project(&mut self, columns: &[usize]) -> Result<(), String>;

    /// Returns the next batch, of the columns that were chosen; None at the end. After an error nothing more can be read.
    fn next(&mut self) -> Result<Option<RecordBatch>, String>;

    /// Passes over rows that need not be read for that, at most `most`; returns how many.
    fn skip(&mut self, most: u64) -> Result<u64, String>;
}

//! Batches of columns as records.

use crate::decode::api::{DecodeError, Record, Records, fewer};
use crate::decode::columns::batches::Batches;
use crate::decode::columns::guard::guarded;
use crate::decode::columns::layout::{Layout, Wanted};
use crate::decode::columns::rows::Rows;
use crate::decode::options::Options;
use sluicebox_core::sample::Format;

struct Columns<B> {
    batches: B,
    rows: Rows,
}

/// Returns the rows of a file of columns as samples of `format`, or only their classes. `tell` is told which column is
/// what.
pub fn records<B: Batches + 'static>(
    mut batches: B,
    format: &Format,
    options: &Options,
    wanted: Wanted,
    tell: fn(&str),
) -> Result<impl Records + 'static, DecodeError> {
    let layout = Layout::of(&batches.schema(), options, wanted).map_err(DecodeError::Broken)?;
    tell(&layout.told());
    batches.project(&layout.read()).map_err(DecodeError::Broken)?;
    Ok(Columns { batches, rows: Rows::new(layout.projected(), format, options) })
}

impl<B: Batches> Columns<B> {
    /// Reads the next batch; returns false at the end.
    fn advance(&mut self) -> Result<bool, DecodeError> {
        let batch = self.batches.next().map_err(DecodeError::Broken)?;
        let taken = batch.map(|batch| guarded(|| self.rows.take(&batch))).transpose();
        Ok(taken.map_err(DecodeError::Broken)?.is_some())
    }
}

impl<B: Batches> Records for Columns<B> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        loop {
            if let Some(record) = self.rows.next() {
                return record.map(Some);
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    fn skip(&mut self, records: u64) -> Result<(), DecodeError> {
        let mut left = records - self.rows.skip(records);
        while left > 0 {
            let whole = self.batches.skip(left).map_err(DecodeError::Broken)?;
            self.rows.pass_over(whole);
            left -= whole;
            if left > 0 && !self.advance()? {
                return Err(fewer(records - left, records));
            }
            left -= self.rows.skip(left);
        }
        Ok(())
    }
}

//! Batches of columns as records.

use crate::decode::api::{DecodeError, Record, Records, fewer};
use crate::decode::columns::ahead::Ahead;
use crate::decode::columns::batches::Batches;
use crate::decode::columns::layout::{Layout, Wanted};
use crate::decode::columns::rows::{Recipe, Rows};
use crate::decode::options::Options;
use crate::decode::run::Run;
use sluicebox_core::sample::Format;

struct Columns<B> {
    reading: Reading<B>,
    rows: Rows,
}

/// How far the reading of a file is.
enum Reading<B> {
    /// Nothing was read: rows can be passed over.
    NotBegun(B),
    Begun(Ahead),
    Over,
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
    let recipe = Recipe { layout: layout.projected(), format: format.clone(), options: options.clone() };
    Ok(Columns { reading: Reading::NotBegun(batches), rows: Rows::new(recipe) })
}

impl<B: Batches + 'static> Columns<B> {
    /// Takes the next batch; returns false at the end.
    fn advance(&mut self) -> Result<bool, DecodeError> {
        let mut ahead = match std::mem::replace(&mut self.reading, Reading::Over) {
            Reading::NotBegun(batches) => {
                Ahead::start(batches, self.rows.recipe().clone()).map_err(DecodeError::Broken)?
            }
            Reading::Begun(ahead) => ahead,
            Reading::Over => return Ok(false),
        };
        let Some(batch) = ahead.next(self.rows.finish()).map_err(DecodeError::Broken)? else {
            return Ok(false);
        };
        self.reading = Reading::Begun(ahead);
        self.rows.take(batch);
        Ok(true)
    }
}

impl<B: Batches + 'static> Records for Columns<B> {
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

    fn next_run(&mut self, most: usize, run: &mut Run) -> usize {
        self.rows.next_run(most, run)
    }

    fn skip(&mut self, records: u64) -> Result<(), DecodeError> {
        let mut left = records - self.rows.skip(records);
        while left > 0 {
            if let Reading::NotBegun(batches) = &mut self.reading {
                let whole = batches.skip(left).map_err(DecodeError::Broken)?;
                self.rows.pass_over(whole);
                left -= whole;
            }
            if left > 0 && !self.advance()? {
                return Err(fewer(records - left, records));
            }
            left -= self.rows.skip(left);
        }
        Ok(())
    }
}

//! Position of the stream, as checkpoints hold it.

use crate::source::dead_letter::State as Letters;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::state::{decode, encode};
use sluicebox_core::statistics::{Feature, Statistics};
use std::collections::VecDeque;

/// First number of a position in the present form; earlier ones began with a byte of the file.
const FORM_2: u64 = u64::MAX;
/// The same of a table with categories, which are saved with it.
const FORM_3: u64 = u64::MAX - 1;

/// Columns with categories.
type Categories = Vec<(String, Vec<String>)>;

/// Position of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Position {
    /// Offset of the next row in the unpacked file, in bytes.
    pub byte: u64,
    /// Line number of that row, from 1.
    pub line: u64,
    /// Rows read, good and bad, over all passes.
    pub rows: u64,
    /// Good rows read; also the id of the next one.
    pub next_id: u64,
    /// Statistics of the rows so far, which fill in what is missing.
    pub statistics: Statistics,
    /// Extent of the dead-letter file.
    pub letters: Letters,
    /// Rows among the first that have no class, and are streamed before all others.
    pub waiting: VecDeque<Waiting>,
}

/// A row that is yet to be streamed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waiting {
    /// Its id.
    pub id: u64,
    /// Its line.
    pub line: u64,
    /// Its features.
    pub values: Vec<f64>,
}

/// The form that positions had before rows could be without a class or a feature.
#[derive(Deserialize)]
struct Form1 {
    byte: u64,
    line: u64,
    rows: u64,
    next_id: u64,
    count: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
    letters: Letters,
}

impl Position {
    /// Returns the position before the first row.
    pub fn new(features: usize) -> Self {
        let (statistics, letters) = (Statistics::new(features), Letters::default());
        Self { byte: 0, line: 1, rows: 0, next_id: 0, statistics, letters, waiting: VecDeque::new() }
    }

    /// Returns it as bytes, with the categories of the table's columns.
    pub fn save(&self, categories: &Categories) -> Result<Vec<u8>> {
        match categories.is_empty() {
            true => encode("the source", &(FORM_2, self)),
            false => encode("the source", &(FORM_3, self, categories)),
        }
    }

    /// Reads it and the categories, also in the earlier form.
    pub fn load(state: &[u8]) -> Result<(Self, Categories)> {
        match decode::<u64>("the source", state)? {
            FORM_2 => {
                let (_, position) = decode::<(u64, Self)>("the source", state)?;
                return Ok((position, Categories::new()));
            }
            FORM_3 => {
                let (_, position, categories) = decode::<(u64, Self, Categories)>("the source", state)?;
                return Ok((position, categories));
            }
            _ => {}
        }
        let Form1 { byte, line, rows, next_id, count, mean, squares, letters } = decode("the source", state)?;
        let features = mean.iter().zip(squares);
        let features =
            features.map(|(mean, squares)| Feature { count, mean: *mean, squares, last: *mean, outliers: 0 });
        let statistics = Statistics::from(features.collect::<Vec<_>>());
        let position = Self { byte, line, rows, next_id, statistics, letters, waiting: VecDeque::new() };
        Ok((position, Categories::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_form_is_read() {
        let letters = Letters { count: 1, bytes: 70, reasons: [("short".to_string(), 1)].into() };
        let earlier = (500u64, 11u64, 10u64, 9u64, (9u64, vec![1.5, 2.0], vec![8.0, 32.0]), letters);
        let (read, none) = Position::load(&encode("it", &earlier).unwrap()).unwrap();
        assert_eq!((read.byte, read.line, read.next_id, read.letters.count), (500, 11, 9, 1));
        assert_eq!((read.statistics.mean(1), read.statistics.deviation(1, 0)), (2.0, 2.0));
        let (again, _) = Position::load(&read.save(&none).unwrap()).unwrap();
        assert_eq!(again.save(&none).unwrap(), read.save(&none).unwrap());
        let categories = vec![("0 `proto`".to_string(), vec!["tcp".to_string(), "udp".to_string()])];
        let (same, found) = Position::load(&read.save(&categories).unwrap()).unwrap();
        assert_eq!((same.line, found), (read.line, categories));
    }
}

//! The newest labelled rows, scaled: what nearest neighbours look at, and what discriminants learn again from when a label
//! is corrected or withdrawn.

use crate::adapt::neighbours::WINDOWS;
use crate::adapt::scaling;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Maximum rows kept. A correction of an older label changes nothing.
const CAPACITY: usize = 4096;
/// Maximum drift alarms kept; what lies before more alarms hardly counts.
const ALARMS: usize = 16;

/// Scaled rows with their classes, and the factor of the drift alarm that follows them.
type Between<'a> = (Vec<([&'a [u8]; 2], usize)>, f64);

/// Labelled rows, oldest first. F features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabelledRows {
    bytes: usize,
    /// `[N]` ids (none: delivered labelled) and classes, and `[2 F]` bytes of each row as it was scaled when it streamed by and
    /// as it was when its label came.
    rows: VecDeque<(Option<u64>, u32, [Vec<u8>; 2])>,
    /// Number of rows that came before the oldest.
    gone: u64,
    /// Drift alarms: number of rows that came before each, and its factor on their weight.
    alarms: VecDeque<(u64, f64)>,
    /// `[WINDOWS][2 F]` values of the newest rows and `[WINDOWS]` classes, each at its number modulo the window.
    #[serde(skip)]
    values: Vec<f32>,
    #[serde(skip)]
    classes: Vec<u32>,
}

impl LabelledRows {
    /// Creates an empty set for rows of `features` features.
    pub fn new(features: usize) -> Self {
        let bytes = scaling::bytes(features);
        let (values, classes) = (Vec::new(), Vec::new());
        Self { bytes, rows: VecDeque::new(), gone: 0, alarms: VecDeque::new(), values, classes }
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row as it was scaled when it streamed by and when its label came.
    pub fn push(&mut self, id: Option<u64>, class: u32, scaled: [&[u8]; 2]) {
        self.set(self.gone as usize + self.rows.len(), &scaling::values(scaled[0]), class);
        self.rows.push_back((id, class, scaled.map(<[u8]>::to_vec)));
        if self.rows.len() > CAPACITY {
            self.rows.pop_front();
            self.gone += 1;
        }
    }

    fn set(&mut self, number: usize, values: &[f32], class: u32) {
        let window = WINDOWS[WINDOWS.len() - 1];
        self.values.resize(window * self.bytes, 0.0);
        self.classes.resize(window, 0);
        let place = number % window;
        self.values[place * self.bytes..(place + 1) * self.bytes].copy_from_slice(values);
        self.classes[place] = class;
    }

    /// Restores what is not saved.
    pub fn restore(&mut self) {
        let first = self.rows.len().saturating_sub(WINDOWS[WINDOWS.len() - 1]);
        for at in first..self.rows.len() {
            let (_, class, [then, _]) = &self.rows[at];
            self.set(self.gone as usize + at, &scaling::values(then), *class);
        }
    }

    /// Returns the newest rows of the longest window, newest first: values `[2 F]` and class.
    pub fn newest(&self) -> impl ExactSizeIterator<Item = (&[f32], usize)> {
        let (window, count) = (WINDOWS[WINDOWS.len() - 1], self.rows.len());
        let last = (self.gone as usize + count).saturating_sub(1) % window;
        // A row's place is its number modulo the window; a division for each would cost more than its distance.
        (0..count.min(window)).map(move |back| {
            let place = if back <= last { last - back } else { last + window - back };
            let first = place * self.bytes;
            (&self.values[first..first + self.bytes], self.classes[place] as usize)
        })
    }

    /// Returns the same rows, of each only the standardised values (`half` 0) or the ranks (1): `[F]`.
    pub fn newest_half(&self, half: usize) -> impl ExactSizeIterator<Item = (&[f32], usize)> {
        let features = self.bytes / 2;
        self.newest().map(move |(row, class)| (&row[half * features..(half + 1) * features], class))
    }

    /// Changes the class of the row `id`, or removes it; returns whether it was here.
    pub fn correct(&mut self, id: u64, class: Option<u32>) -> bool {
        let Some(at) = self.rows.iter().rposition(|(other, ..)| *other == Some(id)) else { return false };
        match class {
            Some(class) => {
                self.rows[at].1 = class;
                self.restore();
            }
            None => {
                self.rows.remove(at);
                self.alarms
                    .iter_mut()
                    .filter(|(before, _)| *before > self.gone + at as u64)
                    .for_each(|alarm| alarm.0 -= 1);
                self.restore();
            }
        }
        true
    }

    /// Notes a drift alarm: all rows so far weigh `keeps` as much.
    pub fn note_alarm(&mut self, keeps: f64) {
        self.alarms.push_back((self.gone + self.rows.len() as u64, keeps));
        if self.alarms.len() > ALARMS {
            self.alarms.pop_front();
        }
    }

    /// Returns the rows before the first alarm, between the first and the second, and so on, each group with the factor of
    /// the alarm that follows it.
    pub fn between_alarms(&self) -> Vec<Between<'_>> {
        let (mut from, mut groups) = (0, Vec::new());
        for (before, keeps) in self.alarms.iter().copied().chain([(u64::MAX, 1.0)]) {
            let to = (before.saturating_sub(self.gone) as usize).clamp(from, self.rows.len());
            groups.push((
                self.rows
                    .range(from..to)
                    .map(|(_, class, [then, now])| ([&then[..], now], *class as usize))
                    .collect(),
                keeps,
            ));
            from = to;
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(rows: &mut LabelledRows, id: u64) {
        let scaled = [(id % 251) as u8, 7];
        rows.push(Some(id), (id % 3) as u32, [&scaled, &scaled]);
    }

    fn newest(rows: &LabelledRows) -> Vec<(Vec<f32>, usize)> {
        rows.newest().map(|(row, class)| (row.to_vec(), class)).collect()
    }

    #[test]
    fn the_newest_rows_are_kept_and_restored() {
        let mut rows = LabelledRows::new(1);
        (0..CAPACITY as u64 + 500).for_each(|id| push(&mut rows, id));
        assert_eq!((rows.rows.len(), rows.newest().count()), (CAPACITY, WINDOWS[1]));
        assert_eq!(newest(&rows)[0].1, (CAPACITY + 499) % 3);
        assert!(!rows.correct(3, Some(0)) && rows.correct(600, Some(1)) && rows.correct(4000, None));
        assert_eq!(rows.rows.len(), CAPACITY - 1);
        let mut again: LabelledRows = bincode::deserialize(&bincode::serialize(&rows).unwrap()).unwrap();
        again.restore();
        assert_eq!(newest(&rows), newest(&again));
        (5000..6500).for_each(|id| [&mut rows, &mut again].into_iter().for_each(|rows| push(rows, id)));
        assert_eq!(newest(&rows), newest(&again));
    }

    #[test]
    fn alarms_part_the_rows() {
        let mut rows = LabelledRows::new(1);
        (0..10).for_each(|id| push(&mut rows, id));
        rows.note_alarm(0.5);
        (10..14).for_each(|id| push(&mut rows, id));
        rows.correct(2, None);
        let parts: Vec<(usize, f64)> =
            rows.between_alarms().iter().map(|(rows, keeps)| (rows.len(), *keeps)).collect();
        assert_eq!(parts, [(9, 0.5), (4, 1.0)]);
        (100..100 + CAPACITY as u64).for_each(|id| push(&mut rows, id));
        assert_eq!(rows.between_alarms()[0].0.len(), 0);
    }
}

//! A confusion matrix that holds only the cells that occur: with 10,000 classes a whole one has 10^8.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Number of samples by true and by given class. As JSON it is the whole matrix, one row per true class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    cells: BTreeMap<(u32, u32), u64>,
}

impl ConfusionMatrix {
    /// Creates a matrix without samples.
    pub fn new(classes: usize) -> Self {
        Self { classes, cells: BTreeMap::new() }
    }

    /// Adds a sample.
    pub fn add(&mut self, truth: u32, given: u32) {
        *self.cells.entry((truth, given)).or_default() += 1;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the cells with samples as (truth, given, samples), sorted by true and given class.
    pub fn cells(&self) -> impl Iterator<Item = (u32, u32, u64)> {
        self.cells.iter().map(|((truth, given), samples)| (*truth, *given, *samples))
    }

    /// Returns the cells of one true class as (given, samples), sorted by given class.
    pub fn row(&self, truth: u32) -> impl Iterator<Item = (u32, u64)> {
        let row = self.cells.range((truth, 0)..=(truth, u32::MAX));
        row.map(|((_, given), samples)| (*given, *samples))
    }

    /// Returns the number of samples of each class, and of those that are given it.
    pub fn by_class(&self) -> Vec<(u64, u64)> {
        let mut counts = vec![(0, 0); self.classes];
        for (truth, given, samples) in self.cells() {
            if let Some((all, right)) = counts.get_mut(truth as usize) {
                *all += samples;
                *right += if truth == given { samples } else { 0 };
            }
        }
        counts
    }

    /// Returns the number of samples that are given their class.
    pub fn right(&self) -> u64 {
        self.cells().filter(|(truth, given, _)| truth == given).map(|(.., samples)| samples).sum()
    }
}

impl Serialize for ConfusionMatrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.classes))?;
        for truth in 0..self.classes {
            let mut row = vec![0; self.classes];
            for (given, samples) in self.row(truth as u32) {
                if let Some(cell) = row.get_mut(given as usize) {
                    *cell = samples;
                }
            }
            rows.serialize_element(&row)?;
        }
        rows.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_by_hand() {
        let mut matrix = ConfusionMatrix::new(3);
        [(0, 0), (0, 1), (0, 0), (2, 1)].into_iter().for_each(|(truth, given)| matrix.add(truth, given));
        assert_eq!(serde_json::to_string(&matrix).unwrap(), "[[2,1,0],[0,0,0],[0,1,0]]");
        assert_eq!(matrix.by_class(), [(3, 2), (0, 0), (1, 0)]);
        assert_eq!((matrix.right(), matrix.row(0).collect::<Vec<_>>()), (2, vec![(0, 2), (1, 1)]));
    }
}

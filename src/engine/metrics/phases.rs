//! Accuracy on earlier phases while later ones are learned. R[i, j] is the accuracy on phase j's held-out
//! samples right after the step in which phase i ended. A phase that ended without an evaluation has no row,
//! and what needs that row is not known.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most rows of R that are kept: those of the newest phases.
const ROWS: usize = 1000;

/// Accuracies on one phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Phase {
    /// At the end of the phase itself: R[j, j].
    own: Option<f64>,
    /// Best at the end of its own or a later phase: the maximum over i of R[i, j].
    best: Option<f64>,
    /// At the newest evaluation.
    last: Option<f64>,
    /// Least at any evaluation after the phase ended.
    least: Option<f64>,
}

/// When an evaluation takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct During {
    /// Phases that ended before the present one, counting each recurrence.
    pub visit: u64,
    /// Index of the present phase.
    pub phase: usize,
    /// Whether the present phase ends here.
    pub ends: bool,
}

/// A row of R: the accuracies where a phase ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRow {
    /// Phases that ended before this one, counting each recurrence.
    pub visit: u64,
    /// Index of the phase that ended.
    pub phase: usize,
    /// Accuracy on each phase begun, 0 to 1; none without held-out samples of that phase.
    pub accuracy: Vec<Option<f64>>,
}

/// The evaluations of a job, by phase. A job without phases is one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ByPhase {
    phases: Vec<Phase>,
    /// The visit and the phase at the newest evaluation.
    present: Option<(u64, usize)>,
    /// Sum over evaluations of the mean accuracy over phases, and how many there were.
    anytime: (f64, u64),
    /// R, oldest row first: saved in a section of its own.
    #[serde(skip)]
    pub rows: VecDeque<PhaseRow>,
}

impl ByPhase {
    /// Takes in the accuracy of each phase that has begun, at one evaluation.
    pub fn add(&mut self, during: During, accuracy: &[Option<f64>]) {
        let During { visit, phase, ends } = during;
        self.present = Some((visit, phase));
        self.phases.resize(self.phases.len().max(accuracy.len()), Phase::default());
        for (at, (known, accuracy)) in self.phases.iter_mut().zip(accuracy).enumerate() {
            known.last = accuracy.or(known.last);
            if known.own.is_some() && at != phase {
                known.least = smaller(known.least, *accuracy);
            }
        }
        if let Some(mean) = mean(accuracy.iter().copied().flatten()) {
            self.anytime = (self.anytime.0 + mean, self.anytime.1 + 1);
        }
        if ends {
            self.end(PhaseRow { visit, phase, accuracy: accuracy.to_vec() });
        }
    }

    /// Adds a row to R.
    fn end(&mut self, row: PhaseRow) {
        if let Some(phase) = self.phases.get_mut(row.phase) {
            phase.own = phase.own.or(phase.last);
        }
        for phase in self.phases.iter_mut().filter(|phase| phase.own.is_some()) {
            phase.best = larger(phase.best, phase.last);
        }
        self.rows.push_back(row);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
        }
    }

    /// Phases that have ended, without the present one.
    fn earlier(&self) -> impl Iterator<Item = &Phase> {
        let present = self.present.map(|(_, phase)| phase);
        let phases = self.phases.iter().enumerate().filter(move |(at, _)| Some(*at) != present);
        phases.map(|(_, phase)| phase).filter(|phase| phase.own.is_some())
    }

    /// Mean over earlier phases of max over i < T of R[i, j] minus R[T, j] (Chaudhry et al. 2018, "Riemannian
    /// walk", §3: max minus last), i from j on. Negative if all improved.
    pub fn forgetting(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|phase| Some(phase.best? - phase.last?)))
    }

    /// Mean over earlier phases of R[T, j] - R[j, j] (Lopez-Paz and Ranzato 2017, "Gradient episodic memory",
    /// §2).
    pub fn backward_transfer(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|phase| Some(phase.last? - phase.own?)))
    }

    /// Mean over earlier phases of the least accuracy since they ended: min-ACC (De Lange et al.
    /// 2023, "Continual evaluation for lifelong learning: identifying the stability gap", §3).
    pub fn min_accuracy(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|phase| phase.least))
    }

    /// The present phase's accuracy and min-ACC, weighted by the number of phases begun: WC-ACC (De Lange et
    /// al. 2023, §3).
    pub fn worst_case_accuracy(&self) -> Option<f64> {
        let (_, present) = self.present?;
        let now = self.phases.get(present)?.last?;
        mean(std::iter::once(now).chain(self.earlier().filter_map(|phase| phase.least)))
    }

    /// Mean over evaluations of the mean accuracy over the phases begun: average anytime accuracy
    /// (Caccia et al. 2022, "New insights on reducing abrupt representation change", §5).
    pub fn average_anytime_accuracy(&self) -> Option<f64> {
        (self.anytime.1 > 0).then(|| self.anytime.0 / self.anytime.1 as f64)
    }

    /// Returns the forgetting of a phase that is not the present one: best accuracy minus last.
    pub fn forgotten(&self, phase: usize) -> Option<f64> {
        let known = self.phases.get(phase).filter(|_| self.present.is_some_and(|(_, now)| now != phase))?;
        Some(known.best? - known.last?)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn smaller(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().reduce(f64::min)
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    [one, other].into_iter().flatten().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-12), "{found:?}, not {expected}");
    }

    /// Three phases with two evaluations each; the second of each is a row of
    /// R = [[0.9], [0.6, 0.8], [0.7, 0.5, 0.95]].
    #[test]
    fn a_matrix_by_hand() {
        let mut found = ByPhase::default();
        let rows: [&[f64]; 6] =
            [&[0.7], &[0.9], &[0.4, 0.6], &[0.6, 0.8], &[0.5, 0.3, 0.9], &[0.7, 0.5, 0.95]];
        for (at, row) in rows.iter().enumerate() {
            let row: Vec<Option<f64>> = row.iter().copied().map(Some).collect();
            found.add(During { visit: at as u64 / 2, phase: at / 2, ends: at % 2 == 1 }, &row);
            if at == 1 {
                assert_eq!((found.forgetting(), found.min_accuracy()), (None, None));
                near(found.worst_case_accuracy(), 0.9);
            }
        }
        // Phase 0: max(0.9, 0.6) - 0.7; phase 1: 0.8 - 0.5.
        near(found.forgetting(), (0.2 + 0.3) / 2.0);
        near(found.backward_transfer(), ((0.7 - 0.9) + (0.5 - 0.8)) / 2.0);
        // Since they ended: phase 0 had 0.4, 0.6, 0.5, 0.7; phase 1 had 0.3, 0.5.
        near(found.min_accuracy(), (0.4 + 0.3) / 2.0);
        near(found.worst_case_accuracy(), 0.95 / 3.0 + 2.0 / 3.0 * 0.35);
        let means = [0.7, 0.9, 0.5, 0.7, 1.7 / 3.0, 2.15 / 3.0];
        near(found.average_anytime_accuracy(), means.iter().sum::<f64>() / 6.0);
        near(found.forgotten(1), 0.3);
        assert_eq!(found.forgotten(2), None);
        assert_eq!(found.rows.len(), 3);
        assert_eq!(found.rows[1], PhaseRow { visit: 1, phase: 1, accuracy: vec![Some(0.6), Some(0.8)] });
    }

    #[test]
    fn a_phase_that_comes_again_is_not_among_the_earlier_ones() {
        let mut found = ByPhase::default();
        for (visit, row) in
            [[Some(0.9), None], [Some(0.5), Some(0.8)], [Some(0.85), Some(0.4)]].iter().enumerate()
        {
            found.add(During { visit: visit as u64, phase: visit % 2, ends: true }, row);
        }
        near(found.forgetting(), 0.8 - 0.4);
        near(found.min_accuracy(), 0.4);
        found.add(During { visit: 3, phase: 1, ends: true }, &[Some(0.7), Some(0.9)]);
        near(found.forgetting(), 0.9 - 0.7); // the best row of phase 0 is its first
        near(found.backward_transfer(), 0.7 - 0.9);
    }

    #[test]
    fn a_phase_that_was_not_evaluated_at_its_end_has_no_row() {
        let during = |visit: u64, ends| During { visit, phase: visit as usize, ends };
        let mut found = ByPhase::default();
        found.add(during(0, false), &[Some(0.2)]); // early in phase 0: this is not R[0, 0]
        found.add(during(1, true), &[Some(0.6), Some(0.8)]);
        found.add(during(2, false), &[Some(0.5), Some(0.7), Some(0.1)]);
        near(found.forgetting(), 0.8 - 0.7); // phase 1 alone
        near(found.backward_transfer(), 0.7 - 0.8);
        near(found.min_accuracy(), 0.7);
        assert_eq!(found.rows.iter().map(|row| row.visit).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_newest_rows_are_kept() {
        let mut found = ByPhase::default();
        for visit in 0..ROWS as u64 + 5 {
            found.add(During { visit, phase: visit as usize % 2, ends: true }, &[Some(0.5), Some(0.5)]);
        }
        assert_eq!((found.rows.len(), found.rows[0].visit), (ROWS, 5));
    }

    #[test]
    fn without_phases_only_the_anytime_accuracy_is_known() {
        let mut found = ByPhase::default();
        let during = During { visit: 0, phase: 0, ends: false };
        found.add(during, &[Some(0.5)]);
        found.add(during, &[Some(0.7)]);
        near(found.average_anytime_accuracy(), 0.6);
        assert_eq!((found.forgetting(), found.backward_transfer()), (None, None));
    }
}

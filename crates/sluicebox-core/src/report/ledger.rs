//! Statistics of the ledger as plain data. [`LedgerStats`] is the state of pseudo-labels and labels after a step;
//! [`LedgerSection`] is the ledger's part of an epoch's report. The dataflow keeps them up to date.

use crate::report::confusion::CellCounts;
use crate::sample_id::SampleId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of delay buckets: bucket 0 is no delay, bucket k is 2^(k-1) samples or more, below 2^k.
const DELAYS: usize = 65;

/// Labels by fate, over the whole job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// First labels of a sample.
    pub given: u64,
    /// Labels that came after their sample had streamed by.
    pub late: u64,
    /// Labels that replaced an earlier one of the same sample.
    pub corrected: u64,
    /// Labels that were withdrawn.
    pub withdrawn: u64,
    /// Labels that expired while awaiting their sample: it had left the ledger, or never came.
    pub too_late: u64,
}

/// Ledger statistics after a step. Everything but `labels` counts only the retention window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerStats {
    /// The step.
    pub step: u64,
    /// `[C]` samples by class of their pseudo-label: the teacher's prior.
    pub judged: Vec<u64>,
    /// `[C]` accepted pseudo-labels whose sample has no label yet.
    pub pseudo: Vec<u64>,
    /// `[C]` confident pseudo-labels whose sample has no label yet.
    pub confident: Vec<u64>,
    /// `[C]` labels by class: the labels' prior.
    pub given: Vec<u64>,
    /// Samples with a pseudo-label and a label.
    pub met: u64,
    /// Samples whose pseudo-label is their label.
    pub right: u64,
    /// Accepted samples with a label.
    pub accepted_met: u64,
    /// Accepted samples whose pseudo-label is their label.
    pub accepted_right: u64,
    /// Samples with a label by its delay in samples: bucket 0 is no delay, bucket k is 2^(k-1) or more, below
    /// 2^k.
    pub delays: Vec<u64>,
    /// Pseudo-labels matched with a label in this step, for the first time or with a new outcome.
    pub newly_met: Vec<Verdict>,
    /// Label counts of the whole job.
    pub labels: LabelCounts,
}

/// A pseudo-label matched with the label of its sample.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Verdict {
    /// Class of the pseudo-label.
    pub class: u32,
    /// Confidence of the pseudo-label, 0 to 1.
    pub confidence: f32,
    /// Whether that class is the label.
    pub right: bool,
    /// 1, or -1 where a corrected label revokes this match.
    pub by: i8,
}

impl LedgerStats {
    /// Returns the statistics of an empty ledger for `classes` classes.
    pub fn new(classes: usize) -> Self {
        let none = || vec![0; classes];
        Self {
            step: 0,
            judged: none(),
            pseudo: none(),
            confident: none(),
            given: none(),
            met: 0,
            right: 0,
            accepted_met: 0,
            accepted_right: 0,
            delays: vec![0; DELAYS],
            newly_met: Vec::new(),
            labels: LabelCounts::default(),
        }
    }

    /// Number of samples in the window without a label.
    pub fn unlabelled(&self) -> u64 {
        self.judged.iter().sum::<u64>() - self.met
    }

    /// Returns the bucket of a delay in samples.
    pub fn bucket(delay: u64) -> usize {
        (u64::BITS - delay.leading_zeros()) as usize
    }
}

/// A sample whose pseudo-label is not its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The sample's id.
    pub id: SampleId,
    /// Class of the pseudo-label.
    pub judged: u32,
    /// Confidence of the pseudo-label, 0 to 1.
    pub confidence: f32,
    /// Class of the label.
    pub given: u32,
    /// Whether the pseudo-label had passed the filter.
    pub accepted: bool,
}

/// The ledger's full account, made where an epoch ends or a checkpoint is due.
#[derive(Debug, Clone)]
pub struct LedgerReport {
    /// Ledger statistics.
    pub ledger_stats: LedgerStats,
    /// Samples with a label, by (label, class of the pseudo-label), without empty cells.
    pub confusion: BTreeMap<(u32, u32), CellCounts>,
    /// Number of samples whose pseudo-label is not their label.
    pub disagreements: u64,
    /// The newest of these samples, the newest first.
    pub newest: Vec<Disagreement>,
    /// The ledger's state, where a checkpoint is due.
    pub state: Option<Vec<u8>>,
}

/// The ledger's section of an epoch's report, as of the epoch's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerSection {
    /// Samples in the retention window.
    pub samples: u64,
    /// Samples that have a label.
    pub labelled: u64,
    /// Fraction of the samples without a label that have an accepted pseudo-label.
    pub coverage: Option<f64>,
    /// Accepted pseudo-labels of each class whose sample has no label yet.
    pub pseudo_labels: Vec<u64>,
    /// Fraction of the accepted pseudo-labels that are right, where a label has come.
    pub precision: Option<f64>,
    /// Number of accepted pseudo-labels that `precision` is based on.
    pub precision_of: u64,
    /// Fraction of all pseudo-labels that are right, where a label has come.
    pub accuracy: Option<f64>,
    /// Median delay of a label in samples, rounded down to a power of two.
    pub label_delay: Option<u64>,
    /// Kullback-Leibler divergence of the teacher's class prior from the labels', in nats, with one added to
    /// each count.
    pub prior_divergence: Option<f64>,
    /// Labels by fate, over the job.
    pub labels: LabelCounts,
    /// Rows of (label, class of the pseudo-label, samples, accepted samples).
    pub confusion: Vec<(u32, u32, u64, u64)>,
    /// Number of samples whose pseudo-label is not their label.
    pub disagreements: u64,
    /// The newest of these samples.
    pub newest_disagreements: Vec<Disagreement>,
}

impl LedgerSection {
    /// Returns the section for an account.
    pub fn new(account: LedgerReport) -> Self {
        let LedgerReport { ledger_stats, confusion, disagreements, newest, .. } = account;
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Self {
            samples: ledger_stats.judged.iter().sum(),
            labelled: ledger_stats.met,
            coverage: share(ledger_stats.pseudo.iter().sum(), ledger_stats.unlabelled()),
            precision: share(ledger_stats.accepted_right, ledger_stats.accepted_met),
            precision_of: ledger_stats.accepted_met,
            accuracy: share(ledger_stats.right, ledger_stats.met),
            label_delay: median(&ledger_stats.delays),
            prior_divergence: divergence(&ledger_stats.judged, &ledger_stats.given),
            labels: ledger_stats.labels,
            confusion: confusion
                .into_iter()
                .map(|((given, judged), cell)| (given, judged, cell.samples, cell.accepted))
                .collect(),
            pseudo_labels: ledger_stats.pseudo,
            disagreements,
            newest_disagreements: newest,
        }
    }
}

/// Returns the lower end of the bucket that contains the median.
fn median(delays: &[u64]) -> Option<u64> {
    let half = delays.iter().sum::<u64>().div_ceil(2);
    let mut before = 0;
    let bucket = delays.iter().position(|count| {
        before += count;
        half > 0 && before >= half
    })?;
    Some(if bucket == 0 { 0 } else { 1 << (bucket - 1) })
}

/// Returns Σ p log(p / q), with one added to each count so that it is finite.
fn divergence(judged: &[u64], given: &[u64]) -> Option<f64> {
    let sum = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    if sum(judged) == 0.0 || sum(given) == 0.0 {
        return None;
    }
    let classes = judged.len() as f64;
    let part = |count: u64, of: f64| (count as f64 + 1.0) / (of + classes);
    let (judged_sum, given_sum) = (sum(judged), sum(given));
    let terms = judged.iter().zip(given).map(|(judged, given)| {
        let (p, q) = (part(*judged, judged_sum), part(*given, given_sum));
        p * (p / q).ln()
    });
    Some(terms.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_fall_into_powers_of_two_and_have_a_median() {
        assert_eq!(
            [0, 1, 2, 3, 4, 1023, 1024, u64::MAX].map(LedgerStats::bucket),
            [0, 1, 2, 2, 3, 10, 11, 64]
        );
        let mut delays = vec![0; DELAYS];
        assert_eq!(median(&delays), None);
        [0, 5, 600, 700, 100_000].iter().for_each(|delay| delays[LedgerStats::bucket(*delay)] += 1);
        assert_eq!(median(&delays), Some(512));
        delays[0] += 5;
        assert_eq!(median(&delays), Some(0));
    }

    #[test]
    fn priors_that_agree_do_not_diverge() {
        assert_eq!(divergence(&[5, 5], &[0, 0]), None);
        assert_eq!(divergence(&[9, 9], &[1, 1]), Some(0.0));
        // (9+1)/(10+2) and (1+1)/(10+2) against one half each.
        let (p, q): (f64, f64) = (10.0 / 12.0, 2.0 / 12.0);
        let by_hand = p * (2.0 * p).ln() + q * (2.0 * q).ln();
        assert!((divergence(&[9, 1], &[4, 4]).unwrap() - by_hand).abs() < 1e-12);
    }
}

//! What the ledger says, as plain data: how judgements and labels stand after a step, and the
//! part of an epoch's report that is made of it. How it is kept up to date is `flow/ledger.rs`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Buckets of delays: bucket 0 is no delay, bucket k is 2^(k-1) samples or more, below 2^k.
const DELAYS: usize = 65;

/// Labels by what became of them, over the whole job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// First labels of a sample.
    pub given: u64,
    /// Those that came after their sample had streamed by.
    pub late: u64,
    /// Labels that replaced an earlier one of the same sample.
    pub corrected: u64,
    /// Labels that were taken back.
    pub withdrawn: u64,
    /// Labels that waited in vain: their sample had left the ledger, or never came.
    pub too_late: u64,
}

/// How things stand after a step. Everything but `labels` counts what is in the window only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The step.
    pub step: u64,
    /// `[C]` samples by the class they were judged to be: the teacher's prior.
    pub judged: Vec<u64>,
    /// `[C]` live pseudo-labels: accepted, and no label has come.
    pub pseudo: Vec<u64>,
    /// `[C]` confident judgements where no label has come.
    pub confident: Vec<u64>,
    /// `[C]` labels by class: the labels' prior.
    pub given: Vec<u64>,
    /// Judged samples that have a label.
    pub met: u64,
    /// Those whose judgement is that label.
    pub right: u64,
    /// Accepted samples that have a label.
    pub accepted_met: u64,
    /// Those whose pseudo-label is that label.
    pub accepted_right: u64,
    /// Judged samples that have a label by how many samples it came after them: bucket 0 is
    /// none, bucket k is 2^(k-1) or more, below 2^k.
    pub delays: Vec<u64>,
    /// Judgements that met their label in this step, or another one than before.
    pub newly_met: Vec<Met>,
    /// Of the whole job.
    pub labels: LabelCounts,
}

/// A judgement that met the label of its sample.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Met {
    /// The class it was judged to be.
    pub class: u32,
    /// With what probability.
    pub confidence: f32,
    /// That is its label.
    pub right: bool,
    /// 1, or -1 where a label was corrected and this no longer holds.
    pub by: i8,
}

impl Standing {
    /// Nothing is known yet of `classes` classes.
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

    /// Samples in the window without a label.
    pub fn unlabelled(&self) -> u64 {
        self.judged.iter().sum::<u64>() - self.met
    }

    /// The bucket of a delay in samples.
    pub fn bucket(delay: u64) -> usize {
        (u64::BITS - delay.leading_zeros()) as usize
    }
}

/// A sample whose judgement is not its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The sample's id.
    pub id: u64,
    /// The class it was judged to be.
    pub judged: u32,
    /// With what probability.
    pub confidence: f32,
    /// The class it was given.
    pub given: u32,
    /// It had passed the filter.
    pub accepted: bool,
}

/// A cell of the confusion of judgements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Samples.
    pub all: u64,
    /// Those of them that were accepted.
    pub accepted: u64,
}

/// The whole account, where an epoch ends or a checkpoint is due.
#[derive(Debug, Clone)]
pub struct Account {
    /// How things stand.
    pub standing: Standing,
    /// Judged samples that have a label, by label and judgement; cells without any are left out.
    pub confusion: BTreeMap<(u32, u32), Cell>,
    /// Samples whose judgement is not their label.
    pub disagreements: u64,
    /// The newest of them, the newest first.
    pub newest: Vec<Disagreement>,
    /// The ledger's state, where a checkpoint is due.
    pub state: Option<Vec<u8>>,
}

/// What an epoch's report tells of the ledger, as of the epoch's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Judged samples in the window.
    pub samples: u64,
    /// Those that have a label.
    pub labelled: u64,
    /// Part of those without a label that have a pseudo-label.
    pub coverage: Option<f64>,
    /// Live pseudo-labels of each class.
    pub pseudo_labels: Vec<u64>,
    /// Part of the pseudo-labels that were right, where a label has come.
    pub precision: Option<f64>,
    /// How many that is a part of.
    pub precision_of: u64,
    /// Part of all judgements that were right, where a label has come.
    pub accuracy: Option<f64>,
    /// Median of how many samples a label came after its own, rounded down to a power of two.
    pub label_delay: Option<u64>,
    /// Kullback-Leibler divergence of the teacher's class prior from the labels', in nats, each
    /// count raised by one.
    pub prior_divergence: Option<f64>,
    /// Labels by what became of them, over the job.
    pub labels: LabelCounts,
    /// Label, judgement, samples and how many of them were accepted.
    pub confusion: Vec<(u32, u32, u64, u64)>,
    /// Samples whose judgement is not their label.
    pub disagreements: u64,
    /// The newest of them.
    pub newest_disagreements: Vec<Disagreement>,
}

impl Report {
    /// The report of an account.
    pub fn new(account: Account) -> Self {
        let Account { standing, confusion, disagreements, newest, .. } = account;
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Self {
            samples: standing.judged.iter().sum(),
            labelled: standing.met,
            coverage: share(standing.pseudo.iter().sum(), standing.unlabelled()),
            precision: share(standing.accepted_right, standing.accepted_met),
            precision_of: standing.accepted_met,
            accuracy: share(standing.right, standing.met),
            label_delay: median(&standing.delays),
            prior_divergence: divergence(&standing.judged, &standing.given),
            labels: standing.labels,
            confusion: confusion
                .into_iter()
                .map(|((given, judged), cell)| (given, judged, cell.all, cell.accepted))
                .collect(),
            pseudo_labels: standing.pseudo,
            disagreements,
            newest_disagreements: newest,
        }
    }
}

/// The least delay of the bucket in which the median lies.
fn median(delays: &[u64]) -> Option<u64> {
    let half = delays.iter().sum::<u64>().div_ceil(2);
    let mut before = 0;
    let bucket = delays.iter().position(|count| {
        before += count;
        half > 0 && before >= half
    })?;
    Some(if bucket == 0 { 0 } else { 1 << (bucket - 1) })
}

/// Σ p log(p / q), each count raised by one so that it is finite.
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
        assert_eq!([0, 1, 2, 3, 4, 1023, 1024, u64::MAX].map(Standing::bucket), [0, 1, 2, 2, 3, 10, 11, 64]);
        let mut delays = vec![0; DELAYS];
        assert_eq!(median(&delays), None);
        [0, 5, 600, 700, 100_000].iter().for_each(|delay| delays[Standing::bucket(*delay)] += 1);
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

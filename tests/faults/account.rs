//! What feeders know about their samples, and whether the predictions agree.

use std::collections::{BTreeMap, BTreeSet};

/// Ids from here on are assigned by the job.
pub const ASSIGNED: u64 = 1 << 52;

/// What is known of the samples that were sent.
#[derive(Default, Clone)]
pub struct Account {
    /// Acknowledged samples, and whether a loss since then is allowed: they were not on disk.
    acknowledged: BTreeMap<u64, bool>,
    /// Samples whose predictions were taken away: the job cannot know of each.
    unseen: BTreeSet<u64>,
    /// Samples that were sent without an answer.
    unsure: BTreeSet<u64>,
    /// Number of samples without ids that were sent without an answer.
    unnamed: usize,
    /// Ids that the job assigned twice.
    twice: Vec<u64>,
}

/// How predictions differ from an account.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Difference {
    /// Acknowledged samples without a prediction.
    pub lost: Vec<u64>,
    /// The same, where that is allowed.
    pub gone: Vec<u64>,
    /// Samples with several predictions, and ids that name two samples.
    pub doubled: Vec<u64>,
    /// Predictions of samples that were not sent.
    pub unknown: Vec<u64>,
}

impl Account {
    /// Samples with these ids are being sent.
    pub fn sends(&mut self, ids: impl IntoIterator<Item = u64>) {
        let new = ids.into_iter().filter(|id| !self.acknowledged.contains_key(id));
        self.unsure.extend(new.collect::<Vec<u64>>());
    }

    /// The job has acknowledged samples with these ids.
    pub fn acknowledges(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.unsure.remove(&id);
            self.acknowledged.insert(id, false);
        }
    }

    /// Samples without ids are being sent.
    pub fn sends_unnamed(&mut self, count: usize) {
        self.unnamed += count;
    }

    /// The job has acknowledged samples without ids, and assigned these.
    pub fn assigns(&mut self, ids: &[u64]) {
        self.unnamed -= ids.len();
        for id in ids {
            if self.acknowledged.insert(*id, false).is_some() {
                self.twice.push(*id);
            }
        }
    }

    /// The samples that were sent without ids were refused.
    pub fn refuses_unnamed(&mut self, count: usize) {
        self.unnamed -= count;
    }

    /// What was acknowledged and is not in `kept` may be gone from now on.
    pub fn may_lose_all_but(&mut self, kept: &BTreeSet<u64>) {
        self.acknowledged.iter_mut().for_each(|(id, may_be_gone)| *may_be_gone |= !kept.contains(id));
    }

    /// The predictions of what was acknowledged so far were taken away.
    pub fn loses_sight(&mut self) {
        self.unseen.extend(self.acknowledged.keys());
    }

    /// Returns the acknowledged ids that may not be gone, and whether the feeder chose them.
    pub fn sure(&self) -> impl Iterator<Item = u64> {
        self.acknowledged.iter().filter(|(_, may_be_gone)| !**may_be_gone).map(|(id, _)| *id)
    }

    /// Returns whether this sample may be gone.
    pub fn may_be_gone(&self, id: u64) -> bool {
        self.acknowledged.get(&id).copied().unwrap_or(true)
    }

    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn difference(&self, predicted: &[u64]) -> Difference {
        let mut counts = BTreeMap::<u64, usize>::new();
        predicted.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
        let missing = self.acknowledged.iter().filter(|(id, _)| !counts.contains_key(id));
        let (gone, lost): (Vec<_>, Vec<_>) =
            missing.partition(|(id, may_be_gone)| **may_be_gone || self.unseen.contains(id));
        let ids = |found: Vec<(&u64, &bool)>| found.into_iter().map(|(id, _)| *id).collect::<Vec<u64>>();
        let doubled = counts.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id);
        let known = |id: &&u64| self.acknowledged.contains_key(id) || self.unsure.contains(id);
        let unknown: Vec<u64> = counts.keys().filter(|id| !known(id)).copied().collect();
        let (assigned, foreign): (Vec<u64>, Vec<u64>) = unknown.into_iter().partition(|id| *id >= ASSIGNED);
        let too_many = assigned.into_iter().skip(self.unnamed);
        Difference {
            lost: ids(lost),
            gone: ids(gone),
            doubled: doubled.chain(self.twice.iter().copied()).collect(),
            unknown: foreign.into_iter().chain(too_many).collect(),
        }
    }
}

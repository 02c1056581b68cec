//! Retention window of the ledger over the stream, in samples and in time. Stores only ids and arrival
//! stamps; pseudo-labels and labels themselves are in `ledger`.

use crate::engine::flow::ledger::{Given, Judged};
use sluicebox_core::report::ledger::LabelCounts;
use sluicebox_core::step::LedgerInput;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Arrival of a sample or a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Samples of the stream before it.
    pub position: u64,
    /// Wall time in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
}

/// New values by sample id; `None` retracts the present value.
#[derive(Default)]
pub struct Changes {
    /// New or retracted pseudo-labels.
    pub judgements: BTreeMap<u64, Option<Judged>>,
    /// New or retracted labels.
    pub labels: BTreeMap<u64, Option<Given>>,
}

/// A sample in the window: with a pseudo-label, a label, or both.
#[derive(Default, Clone, Copy)]
struct Life {
    judged: Option<Stamp>,
    labelled: Option<Stamp>,
}

/// Keeps the newest `retain` samples, but none older than `retain_ms`. A label leaves with its sample; a
/// label awaiting its sample is kept as long as a sample would be.
pub struct LedgerWindow {
    retain: u64,
    retain_ms: Option<u64>,
    lives: HashMap<u64, Life>,
    /// Position and id of samples in arrival order. A sample that streamed by twice has two entries.
    judged: VecDeque<(u64, u64)>,
    /// Labels awaiting their sample, by arrival and id: at most `retain`.
    waiting: BTreeSet<(Stamp, u64)>,
    counts: LabelCounts,
}

impl LedgerWindow {
    /// Returns an empty window.
    pub fn new(retain: u64, retain_ms: Option<u64>, counts: LabelCounts) -> Self {
        let (lives, judged, waiting) = (HashMap::new(), VecDeque::new(), BTreeSet::new());
        Self { retain, retain_ms, lives, judged, waiting, counts }
    }

    /// Restores the window from a saved state.
    pub fn restore(&mut self, judgements: &[(u64, Judged)], labels: &[(u64, Given)]) {
        for (id, judged) in judgements {
            self.lives.entry(*id).or_default().judged = Some(judged.stamp);
            self.judged.push_back((judged.stamp.position, *id));
        }
        self.judged.make_contiguous().sort_unstable();
        for (id, given) in labels {
            let life = self.lives.entry(*id).or_default();
            life.labelled = Some(given.stamp);
            if life.judged.is_none() {
                self.waiting.insert((given.stamp, *id));
            }
        }
    }

    /// Label counts by fate, so far.
    pub fn counts(&self) -> LabelCounts {
        self.counts
    }

    /// Advances the window by one step.
    pub fn turn(&mut self, facts: &LedgerInput) -> Changes {
        let mut changes = Changes::default();
        let came = Stamp { position: facts.position, cut_ms: facts.cut_ms };
        for label in &facts.labels {
            match label.class {
                Some(class) => self.give(label.id, Given { stamp: came, class }, &mut changes),
                None => self.withdraw(label.id, &mut changes),
            }
        }
        for (row, position) in facts.rows.iter().zip(facts.position..) {
            let stamp = Stamp { position, ..came };
            let life = self.lives.entry(row.id).or_default();
            life.judged = Some(stamp);
            if let Some(labelled) = life.labelled {
                self.waiting.remove(&(labelled, row.id));
            }
            self.judged.push_back((position, row.id));
            changes.judgements.insert(row.id, Some(Judged::new(row, stamp)));
        }
        let now = Stamp { position: facts.position + facts.rows.len() as u64, ..came };
        self.forget_samples(now, &mut changes);
        self.forget_labels(now, &mut changes);
        changes
    }

    fn give(&mut self, id: u64, given: Given, changes: &mut Changes) {
        let life = self.lives.entry(id).or_default();
        match life.labelled.replace(given.stamp) {
            Some(before) => {
                self.counts.corrected += 1;
                self.waiting.remove(&(before, id));
            }
            None => {
                self.counts.given += 1;
                self.counts.late += u64::from(life.judged.is_some());
            }
        }
        if life.judged.is_none() {
            self.waiting.insert((given.stamp, id));
        }
        changes.labels.insert(id, Some(given));
    }

    fn withdraw(&mut self, id: u64, changes: &mut Changes) {
        let Some(life) = self.lives.get_mut(&id) else { return };
        let Some(labelled) = life.labelled.take() else { return };
        if life.judged.is_none() {
            self.waiting.remove(&(labelled, id));
            self.lives.remove(&id);
        }
        self.counts.withdrawn += 1;
        changes.labels.insert(id, None);
    }

    /// Returns whether an arrival at `stamp` has left the window.
    fn is_over(&self, stamp: Stamp, now: Stamp) -> bool {
        let by_time = self.retain_ms.is_some_and(|ms| stamp.cut_ms.saturating_add(ms) < now.cut_ms);
        stamp.position.saturating_add(self.retain) < now.position || by_time
    }

    fn forget_samples(&mut self, now: Stamp, changes: &mut Changes) {
        while let Some(&(position, id)) = self.judged.front() {
            let life = self.lives.get(&id).copied().unwrap_or_default();
            // If the sample streamed by again, its later entry counts.
            if let Some(judged) = life.judged.filter(|judged| judged.position == position) {
                if !self.is_over(judged, now) {
                    break;
                }
                self.lives.remove(&id);
                changes.judgements.insert(id, None);
                if life.labelled.is_some() {
                    changes.labels.insert(id, None);
                }
            }
            self.judged.pop_front();
        }
    }

    fn forget_labels(&mut self, now: Stamp, changes: &mut Changes) {
        while let Some(&(came, id)) = self.waiting.first() {
            if !self.is_over(came, now) && self.waiting.len() as u64 <= self.retain {
                break;
            }
            self.waiting.remove(&(came, id));
            self.lives.remove(&id);
            self.counts.too_late += 1;
            changes.labels.insert(id, None);
        }
    }
}

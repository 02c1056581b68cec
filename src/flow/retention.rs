//! Who is in the ledger, and for how long: a window over the stream, by samples and by time.
//! Owns nothing but ids and when they came; what is known of them is in `ledger`.

use super::ledger::{Given, Judged};
use crate::data::Facts;
use crate::ledger::LabelCounts;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// When something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Samples of the stream before it.
    pub position: u64,
    /// Wall time in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
}

/// What is to be put in place of what is known; none where it is to be forgotten.
#[derive(Default)]
pub struct Changes {
    /// By sample.
    pub judgements: BTreeMap<u64, Option<Judged>>,
    /// By sample.
    pub labels: BTreeMap<u64, Option<Given>>,
}

/// A sample in the window: judged, labelled, or both.
#[derive(Default, Clone, Copy)]
struct Life {
    judged: Option<Stamp>,
    labelled: Option<Stamp>,
}

/// Keeps the newest `retain` samples, and none that is older than `retain_ms`. A label leaves
/// with its sample; without one it waits as long as a sample stays.
pub struct Retention {
    retain: u64,
    retain_ms: Option<u64>,
    lives: HashMap<u64, Life>,
    /// Judged samples as they came, by position and id. Those judged again are in it twice.
    judged: VecDeque<(u64, u64)>,
    /// Labels without a sample, by when they came and id: at most `retain`.
    waiting: BTreeSet<(Stamp, u64)>,
    counts: LabelCounts,
}

impl Retention {
    /// A window with nothing in it.
    pub fn new(retain: u64, retain_ms: Option<u64>, counts: LabelCounts) -> Self {
        let (lives, judged, waiting) = (HashMap::new(), VecDeque::new(), BTreeSet::new());
        Self { retain, retain_ms, lives, judged, waiting, counts }
    }

    /// Puts back what was in the window when the state was saved.
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

    /// Labels by what became of them so far.
    pub fn counts(&self) -> LabelCounts {
        self.counts
    }

    /// Moves the window over a step.
    pub fn turn(&mut self, facts: &Facts) -> Changes {
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

    /// Whether what came at `stamp` has left the window.
    fn is_over(&self, stamp: Stamp, now: Stamp) -> bool {
        let by_time = self.retain_ms.is_some_and(|ms| stamp.cut_ms.saturating_add(ms) < now.cut_ms);
        stamp.position.saturating_add(self.retain) < now.position || by_time
    }

    fn forget_samples(&mut self, now: Stamp, changes: &mut Changes) {
        while let Some(&(position, id)) = self.judged.front() {
            let life = self.lives.get(&id).copied().unwrap_or_default();
            // One that was judged again lives by its later place in the queue.
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

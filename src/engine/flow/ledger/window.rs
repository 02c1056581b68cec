//! Retention window of the ledger over the stream, in samples and in time. Stores only ids and arrival
//! stamps; pseudo-labels and labels themselves are in the differential traces.

use crate::engine::flow::ledger::rows::{LabelRow, PseudoLabelRow, Stamp};
use sluicebox_core::report::ledger::LabelCounts;
use sluicebox_core::step::LedgerInput;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// New values by sample id; `None` retracts the present value.
#[derive(Default)]
pub struct Changes {
    /// New or retracted pseudo-labels.
    pub pseudo_labels: BTreeMap<u64, Option<PseudoLabelRow>>,
    /// New or retracted labels.
    pub labels: BTreeMap<u64, Option<LabelRow>>,
}

/// A sample in the window: with a pseudo-label, a label, or both.
#[derive(Default, Clone, Copy)]
struct Member {
    streamed: Option<Stamp>,
    labelled: Option<Stamp>,
}

/// Keeps the newest `retain` samples, but none older than `retain_ms`. A label leaves with its sample; a
/// label awaiting its sample is kept as long as a sample would be.
pub struct LedgerWindow {
    retain: u64,
    retain_ms: Option<u64>,
    members: HashMap<u64, Member>,
    /// Position and id of samples in arrival order. A sample that streamed by twice has two entries.
    streamed: VecDeque<(u64, u64)>,
    /// Labels awaiting their sample, by arrival and id: at most `retain`.
    waiting: BTreeSet<(Stamp, u64)>,
    counts: LabelCounts,
}

impl LedgerWindow {
    /// Returns an empty window.
    pub fn new(retain: u64, retain_ms: Option<u64>, counts: LabelCounts) -> Self {
        let (members, streamed, waiting) = (HashMap::new(), VecDeque::new(), BTreeSet::new());
        Self { retain, retain_ms, members, streamed, waiting, counts }
    }

    /// Restores the window from a saved state.
    pub fn restore(&mut self, pseudo_labels: &[(u64, PseudoLabelRow)], labels: &[(u64, LabelRow)]) {
        for (id, row) in pseudo_labels {
            self.members.entry(*id).or_default().streamed = Some(row.stamp);
            self.streamed.push_back((row.stamp.position, *id));
        }
        self.streamed.make_contiguous().sort_unstable();
        for (id, row) in labels {
            let member = self.members.entry(*id).or_default();
            member.labelled = Some(row.stamp);
            if member.streamed.is_none() {
                self.waiting.insert((row.stamp, *id));
            }
        }
    }

    /// Label counts by fate, so far.
    pub fn counts(&self) -> LabelCounts {
        self.counts
    }

    /// Advances the window by one step and returns what changes in the collections.
    pub fn advance(&mut self, input: &LedgerInput) -> Changes {
        let mut changes = Changes::default();
        let came = Stamp { position: input.position, cut_ms: input.cut_ms };
        for label in &input.labels {
            match label.class {
                Some(class) => self.label(label.id, LabelRow { stamp: came, class }, &mut changes),
                None => self.withdraw(label.id, &mut changes),
            }
        }
        for (row, position) in input.rows.iter().zip(input.position..) {
            let stamp = Stamp { position, ..came };
            let id = row.id.key;
            let member = self.members.entry(id).or_default();
            member.streamed = Some(stamp);
            if let Some(labelled) = member.labelled {
                self.waiting.remove(&(labelled, id));
            }
            self.streamed.push_back((position, id));
            changes.pseudo_labels.insert(id, Some(PseudoLabelRow::new(row, stamp)));
        }
        let now = Stamp { position: input.position + input.rows.len() as u64, ..came };
        self.forget_samples(now, &mut changes);
        self.forget_labels(now, &mut changes);
        changes
    }

    fn label(&mut self, id: u64, row: LabelRow, changes: &mut Changes) {
        let member = self.members.entry(id).or_default();
        match member.labelled.replace(row.stamp) {
            Some(before) => {
                self.counts.corrected += 1;
                self.waiting.remove(&(before, id));
            }
            None => {
                self.counts.given += 1;
                self.counts.late += u64::from(member.streamed.is_some());
            }
        }
        if member.streamed.is_none() {
            self.waiting.insert((row.stamp, id));
        }
        changes.labels.insert(id, Some(row));
    }

    fn withdraw(&mut self, id: u64, changes: &mut Changes) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(labelled) = member.labelled.take() else { return };
        if member.streamed.is_none() {
            self.waiting.remove(&(labelled, id));
            self.members.remove(&id);
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
        while let Some(&(position, id)) = self.streamed.front() {
            let member = self.members.get(&id).copied().unwrap_or_default();
            // If the sample streamed by again, its later entry counts.
            if let Some(stamp) = member.streamed.filter(|stamp| stamp.position == position) {
                if !self.is_over(stamp, now) {
                    break;
                }
                self.members.remove(&id);
                changes.pseudo_labels.insert(id, None);
                if member.labelled.is_some() {
                    changes.labels.insert(id, None);
                }
            }
            self.streamed.pop_front();
        }
    }

    fn forget_labels(&mut self, now: Stamp, changes: &mut Changes) {
        while let Some(&(came, id)) = self.waiting.first() {
            if !self.is_over(came, now) && self.waiting.len() as u64 <= self.retain {
                break;
            }
            self.waiting.remove(&(came, id));
            self.members.remove(&id);
            self.counts.too_late += 1;
            changes.labels.insert(id, None);
        }
    }
}

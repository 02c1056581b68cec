//! Sums over the contents of the ledger's collections, changed step by step. What is known of each sample is
//! in the differential traces.

use crate::engine::flow::ledger::rows::{LabelRow, PseudoLabelRow, Stamp, State, StepEnd, Tally};
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::{Cursor, cursor_list};
use differential_dataflow::trace::implementations::ValSpine;
use differential_dataflow::trace::{BatchCursor, TraceReader};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::CellCounts;
use sluicebox_core::report::ledger::{Disagreement, LedgerReport, LedgerStats, Verdict};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::encode;
use std::collections::{BTreeMap, VecDeque};
use timely::progress::Antichain;

/// Disagreements listed in a report.
const NAMED: usize = 16;

/// Trace (index) of a differential collection keyed by sample id.
pub type Trace<V> = TraceAgent<ValSpine<u64, V, u64, isize>>;
/// Sums over the contents of the collections.
pub struct LedgerTotals {
    ledger_stats: LedgerStats,
    confusion: BTreeMap<(u32, u32), CellCounts>,
    /// Matches of a pseudo-label with its sample's label added in this step, less those removed: by sample
    /// id, then by (class, confidence, pseudo-label is right).
    met: BTreeMap<u64, BTreeMap<(u32, u16, bool), isize>>,
    /// Keyed by (arrival of the label, sample id).
    disagreements: BTreeMap<(Stamp, u64), Disagreement>,
    lag: u64,
    /// The last `lag` ledger statistics.
    last: VecDeque<LedgerStats>,
}

/// Adds a change to a count. A sum may pass below zero within a step.
fn change(count: &mut u64, by: isize) {
    *count = count.wrapping_add_signed(by as i64);
}

impl LedgerTotals {
    /// Returns empty sums. The dataflow replays `state` as new changes; `met` starts at -1 per restored
    /// match, so that restored matches are not reported as newly met.
    pub fn new(classes: usize, lag: u64, state: &State) -> Self {
        let labels: BTreeMap<u64, u32> = state.labels.iter().map(|(id, label)| (*id, label.class)).collect();
        let restored = state.pseudo_labels.iter().filter_map(|(id, pseudo_label)| {
            let right = labels.get(id)? == &pseudo_label.class;
            Some((*id, BTreeMap::from([((pseudo_label.class, pseudo_label.confidence, right), -1)])))
        });
        Self {
            ledger_stats: LedgerStats::new(classes),
            confusion: BTreeMap::new(),
            met: restored.collect(), // cancels the replay
            disagreements: BTreeMap::new(),
            lag,
            last: state.ledger_stats.iter().cloned().collect(),
        }
    }

    /// The ledger statistics after the newest step.
    pub fn ledger_stats(&self) -> &LedgerStats {
        &self.ledger_stats
    }

    /// Adds (`by` 1) or removes (-1) an element of the collections.
    pub fn add(&mut self, tally: Tally, by: isize) {
        let ledger_stats = &mut self.ledger_stats;
        match tally {
            Tally::PseudoLabel { class, accepted, confident } => {
                let class = class as usize;
                change(&mut ledger_stats.judged[class], by);
                change(&mut ledger_stats.pseudo[class], if accepted { by } else { 0 });
                change(&mut ledger_stats.confident[class], if confident { by } else { 0 });
            }
            Tally::Label { class } => change(&mut ledger_stats.given[class as usize], by),
            Tally::Both { id, pseudo_label, label } => {
                let right = pseudo_label.class == label.class;
                let accepted = if pseudo_label.accepted { by } else { 0 };
                change(&mut ledger_stats.met, by);
                change(&mut ledger_stats.right, if right { by } else { 0 });
                change(&mut ledger_stats.accepted_met, accepted);
                change(&mut ledger_stats.accepted_right, if right { accepted } else { 0 });
                // Once a sample has a label, its pseudo-label no longer counts.
                let class = pseudo_label.class as usize;
                change(&mut ledger_stats.pseudo[class], -accepted);
                change(&mut ledger_stats.confident[class], if pseudo_label.confident { -by } else { 0 });
                let delay = label.stamp.position.saturating_sub(pseudo_label.stamp.position);
                change(&mut ledger_stats.delays[LedgerStats::bucket(delay)], by);
                let cell = self.confusion.entry((label.class, pseudo_label.class)).or_default();
                change(&mut cell.samples, by);
                change(&mut cell.accepted, accepted);
                let changes = self.met.entry(id).or_default();
                *changes.entry((pseudo_label.class, pseudo_label.confidence, right)).or_insert(0) += by;
                if !right {
                    self.disagree(id, &pseudo_label, &label, by);
                }
            }
        }
    }

    fn disagree(&mut self, id: u64, pseudo_label: &PseudoLabelRow, label: &LabelRow, by: isize) {
        let confidence = f32::from(pseudo_label.confidence) / f32::from(u16::MAX);
        let PseudoLabelRow { class, accepted, .. } = *pseudo_label;
        let found = Disagreement {
            id: SampleId::of_key(id),
            judged: class,
            confidence,
            given: label.class,
            accepted,
        };
        let place = (label.stamp, id);
        if by > 0 {
            self.disagreements.insert(place, found);
        } else if self.disagreements.get(&place) == Some(&found) {
            self.disagreements.remove(&place); // otherwise its successor was inserted first
        }
    }

    /// Ends a step whose changes have all been added.
    pub fn end_step(&mut self, end: &StepEnd) {
        self.ledger_stats.labels = end.counts;
        if end.barrier {
            return;
        }
        let met = std::mem::take(&mut self.met);
        self.ledger_stats.newly_met = met.into_values().flat_map(newly_met).collect();
        self.ledger_stats.step = end.step;
        self.last.push_back(self.ledger_stats.clone());
        while self.last.len() as u64 > self.lag {
            self.last.pop_front();
        }
    }

    /// Returns the ledger's report after a step, with the ledger's state if it is to be saved.
    pub fn report(
        &self,
        end: &StepEnd,
        traces: &mut (Trace<PseudoLabelRow>, Trace<LabelRow>),
    ) -> Result<LedgerReport> {
        let state = end.snapshot.then(|| {
            let state = State {
                pseudo_labels: contents(&mut traces.0, end.step)?,
                labels: contents(&mut traces.1, end.step)?,
                counts: end.counts,
                ledger_stats: self.last.iter().cloned().collect(),
            };
            encode("the ledger", &state)
        });
        let seen = self.confusion.iter().filter(|(_, cell)| cell.samples > 0);
        Ok(LedgerReport {
            ledger_stats: self.ledger_stats.clone(),
            confusion: seen.map(|(place, cell)| (*place, *cell)).collect(),
            disagreements: self.disagreements.len() as u64,
            newest: self.disagreements.values().rev().take(NAMED).cloned().collect(),
            state: state.transpose()?,
        })
    }
}

/// Returns the matches that this step added or changed. If all changes are negative, the sample only left the
/// retention window: its match remains valid and nothing is returned.
fn newly_met(changes: BTreeMap<(u32, u16, bool), isize>) -> Vec<Verdict> {
    if changes.values().all(|by| *by <= 0) {
        return Vec::new();
    }
    let changed = changes.into_iter().filter(|(_, by)| *by != 0);
    let met = |((class, confidence, right), by): ((u32, u16, bool), isize)| {
        let confidence = f32::from(confidence) / f32::from(u16::MAX);
        Verdict { class, confidence, right, by: by.signum() as i8 }
    };
    changed.map(met).collect()
}

/// Returns the contents of a collection after `step`, by sample id, read from its trace.
fn contents<V>(trace: &mut Trace<V>, step: u64) -> Result<Vec<(u64, V)>>
where
    V: Ord + Clone + 'static,
{
    let everything = trace.batches_through(Antichain::new().borrow());
    let Some(batches) = everything else { return Err(Error::Engine("the ledger cannot be read".into())) };
    let (mut cursor, batches) = cursor_list(batches);
    let mut found = Vec::new();
    while let Some(id) = cursor.get_key(&batches) {
        while let Some(value) = cursor.get_val(&batches) {
            let mut count = 0;
            cursor.map_times(&batches, |time, by| {
                let time = BatchCursor::<ValSpine<u64, V, u64, isize>>::owned_time(time);
                count += if time <= step {
                    BatchCursor::<ValSpine<u64, V, u64, isize>>::owned_diff(by)
                } else {
                    0
                };
            });
            if count > 0 {
                found.push((*id, value.clone()));
            }
            cursor.step_val(&batches);
        }
        cursor.step_key(&batches);
    }
    Ok(found)
}

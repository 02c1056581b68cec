//! books: adds up the changes of the ledger's collections per step and emits the ledger statistics. Holds
//! sums only; the facts about each sample are in the differential traces.

use crate::engine::flow::Failure;
use crate::engine::flow::ledger::{Given, Judged, State, Tally};
use crate::engine::flow::ledger_window::Stamp;
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::{Cursor, cursor_list};
use differential_dataflow::trace::implementations::ValSpine;
use differential_dataflow::trace::{BatchCursor, TraceReader};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::CellCounts;
use sluicebox_core::report::ledger::{Disagreement, LabelCounts, LedgerReport, LedgerStats, Verdict};
use std::collections::{BTreeMap, VecDeque};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;
use timely::progress::operate::FrontierInterest;

/// Disagreements listed in a report.
const NAMED: usize = 16;

/// Trace (index) of a differential collection keyed by sample id.
pub type Trace<V> = TraceAgent<ValSpine<u64, V, u64, isize>>;
type Builder<T> = CapacityContainerBuilder<Vec<T>>;

/// The facts of a step that differential does not count; one per step.
pub struct StepEnd {
    pub step: u64,
    pub barrier: bool,
    pub ends_epoch: bool,
    pub snapshot: bool,
    pub counts: LabelCounts,
}

/// close: once no more changes of a step can arrive, adds them up and emits the statistics, and the account
/// where one is due.
pub fn close<'scope>(
    tallies: StreamVec<'scope, u64, (Tally, u64, isize)>,
    turns: StreamVec<'scope, u64, StepEnd>,
    mut books: LedgerTotals,
    mut traces: (Trace<Judged>, Trace<Given>),
    failure: &Failure,
) -> (StreamVec<'scope, u64, LedgerStats>, StreamVec<'scope, u64, LedgerReport>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("close".to_string(), turns.scope());
    let mut tallies = builder.new_input_connection(tallies, Pipeline, []);
    builder.set_notify_for(0, FrontierInterest::Always);
    let mut turns = builder.new_input(turns, Pipeline);
    builder.set_notify_for(1, FrontierInterest::Never);
    let (standing_output, ledger_stats) = builder.new_output::<Vec<LedgerStats>>();
    let (account_output, accounts) = builder.new_output::<Vec<LedgerReport>>();
    let mut standing_output = OutputBuilder::<u64, Builder<LedgerStats>>::from(standing_output);
    let mut account_output = OutputBuilder::<u64, Builder<LedgerReport>>::from(account_output);
    let mut changes: BTreeMap<u64, Vec<(Tally, isize)>> = BTreeMap::new();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Capability<u64>, StepEnd)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            tallies.for_each_stamp(|_, containers| {
                for (tally, step, count) in containers.flat_map(|container| container.drain(..)) {
                    changes.entry(step).or_default().push((tally, count));
                }
            });
            turns.for_each_stamp(|capability, containers| {
                for turn in containers.flat_map(|container| container.drain(..)) {
                    let (Some(first), Some(second)) =
                        (capability.retain_least(0), capability.retain_least(1))
                    else {
                        return;
                    };
                    waiting.insert(turn.step, (first, second, turn));
                }
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers[0].frontier().less_equal(&step) {
                    break; // more of this step may still come
                }
                let (first, second, turn) = entry.remove();
                let later = changes.split_off(&(step + 1));
                let now = std::mem::replace(&mut changes, later);
                let shown = failure.guard("ledger", step, || {
                    now.into_values().flatten().for_each(|(tally, count)| books.add(tally, count));
                    books.turn(&turn);
                    let due = turn.ends_epoch || turn.snapshot;
                    due.then(|| books.account(&turn, &mut traces)).transpose()
                });
                if let Some(account) = shown {
                    if !turn.barrier {
                        standing_output.activate().session(&first).give(books.ledger_stats.clone());
                    }
                    account_output.activate().session(&second).give_iterator(account.into_iter());
                }
                let next = [step + 1];
                let next = AntichainRef::new(&next);
                traces.0.set_logical_compaction(next);
                traces.0.set_physical_compaction(next);
                traces.1.set_logical_compaction(next);
                traces.1.set_physical_compaction(next);
            }
        }
    });
    (ledger_stats, accounts)
}

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
    /// Returns empty books. The dataflow replays `state` as new changes; `met` starts at -1 per restored
    /// match, so that restored matches are not reported as newly met.
    pub fn new(classes: usize, lag: u64, state: &State) -> Self {
        let labels: BTreeMap<u64, u32> = state.labels.iter().map(|(id, given)| (*id, given.class)).collect();
        let told = state.judgements.iter().filter_map(|(id, judged)| {
            let right = labels.get(id)? == &judged.class;
            Some((*id, BTreeMap::from([((judged.class, judged.confidence, right), -1)])))
        });
        Self {
            ledger_stats: LedgerStats::new(classes),
            confusion: BTreeMap::new(),
            met: told.collect(), // cancels the replay
            disagreements: BTreeMap::new(),
            lag,
            last: state.ledger_stats.iter().cloned().collect(),
        }
    }

    fn add(&mut self, tally: Tally, by: isize) {
        let ledger_stats = &mut self.ledger_stats;
        match tally {
            Tally::Judged { class, accepted, confident } => {
                let class = class as usize;
                change(&mut ledger_stats.judged[class], by);
                change(&mut ledger_stats.pseudo[class], if accepted { by } else { 0 });
                change(&mut ledger_stats.confident[class], if confident { by } else { 0 });
            }
            Tally::Given { class } => change(&mut ledger_stats.given[class as usize], by),
            Tally::Verdict { id, judged, given } => {
                let right = judged.class == given.class;
                let accepted = if judged.accepted { by } else { 0 };
                change(&mut ledger_stats.met, by);
                change(&mut ledger_stats.right, if right { by } else { 0 });
                change(&mut ledger_stats.accepted_met, accepted);
                change(&mut ledger_stats.accepted_right, if right { accepted } else { 0 });
                // Once a sample has a label, its pseudo-label no longer counts.
                let class = judged.class as usize;
                change(&mut ledger_stats.pseudo[class], -accepted);
                change(&mut ledger_stats.confident[class], if judged.confident { -by } else { 0 });
                let delay = given.stamp.position.saturating_sub(judged.stamp.position);
                change(&mut ledger_stats.delays[LedgerStats::bucket(delay)], by);
                let cell = self.confusion.entry((given.class, judged.class)).or_default();
                change(&mut cell.samples, by);
                change(&mut cell.accepted, accepted);
                let changes = self.met.entry(id).or_default();
                *changes.entry((judged.class, judged.confidence, right)).or_insert(0) += by;
                if !right {
                    self.disagree(id, &judged, &given, by);
                }
            }
        }
    }

    fn disagree(&mut self, id: u64, judged: &Judged, given: &Given, by: isize) {
        let confidence = f32::from(judged.confidence) / f32::from(u16::MAX);
        let Judged { class, accepted, .. } = *judged;
        let found = Disagreement { id, judged: class, confidence, given: given.class, accepted };
        let place = (given.stamp, id);
        if by > 0 {
            self.disagreements.insert(place, found);
        } else if self.disagreements.get(&place) == Some(&found) {
            self.disagreements.remove(&place); // otherwise its successor was inserted first
        }
    }

    fn turn(&mut self, turn: &StepEnd) {
        self.ledger_stats.labels = turn.counts;
        if turn.barrier {
            return;
        }
        let met = std::mem::take(&mut self.met);
        self.ledger_stats.newly_met = met.into_values().flat_map(newly_met).collect();
        self.ledger_stats.step = turn.step;
        self.last.push_back(self.ledger_stats.clone());
        while self.last.len() as u64 > self.lag {
            self.last.pop_front();
        }
    }

    fn account(&self, turn: &StepEnd, traces: &mut (Trace<Judged>, Trace<Given>)) -> Result<LedgerReport> {
        let state = turn.snapshot.then(|| {
            let state = State {
                judgements: contents(&mut traces.0, turn.step)?,
                labels: contents(&mut traces.1, turn.step)?,
                counts: turn.counts,
                ledger_stats: self.last.iter().cloned().collect(),
            };
            bincode::serialize(&state).map_err(|error| Error::Engine(error.to_string()))
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

//! ledger: what is known of samples, as differential collections over steps. Judgements and
//! labels are kept by sample, joined where both have come, and counted by retraction: nothing
//! is ever counted again. How long they are kept is `retention`; what comes out is plain data.

use super::Failure;
use super::retention::{Changes, Retention, Stamp};
use crate::data::{Facts, Prediction};
use crate::error::{Error, Result};
use crate::ledger::{Account, Cell, Disagreement, LabelCounts, Standing};
use differential_dataflow::collection::concatenate;
use differential_dataflow::operators::arrange::upsert::arrange_from_upsert;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::{Cursor, cursor_list};
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::trace::{BatchCursor, TraceReader};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::empty;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;
use timely::progress::operate::FrontierInterest;

/// Disagreements that a report names.
const NAMED: usize = 16;

/// How a ledger is kept, and where it begins.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Samples whose judgement is remembered; a label without a sample waits as long.
    pub retain: u64,
    /// The same by time.
    pub retain_for: Option<Duration>,
    /// Classes of the job.
    pub classes: usize,
    /// Steps from a standing to the filter.
    pub lag: u64,
    state: State,
}

/// The ledger's section of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    judgements: Vec<(u64, Judged)>,
    labels: Vec<(u64, Given)>,
    counts: LabelCounts,
    /// The last `lag` standings: those that are on the loop.
    standings: Vec<Standing>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(retain: u64, retain_for: Option<Duration>, classes: usize, lag: u64) -> Self {
        Self { retain, retain_for, classes, lag, state: State::default() }
    }

    /// Goes back to a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the ledger's state is damaged: {error}"));
        self.state = bincode::deserialize(state).map_err(damaged)?;
        Ok(())
    }

    /// The standings on the loop, each with the step at which the filter is to have it.
    pub fn in_flight(&self) -> Vec<(u64, Standing)> {
        let arrival = |standing: &Standing| (standing.step + self.lag, standing.clone());
        self.state.standings.iter().map(arrival).collect()
    }
}

/// What the teacher made of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Judged {
    /// When it streamed by.
    pub stamp: Stamp,
    class: u32,
    /// In parts of 65535: collections hold no floats.
    confidence: u16,
    accepted: bool,
    confident: bool,
}

impl Judged {
    /// The judgement of a sample that streamed by at `stamp`.
    pub fn new(row: &Prediction, stamp: Stamp) -> Self {
        let confidence = (row.confidence * f32::from(u16::MAX)).round() as u16;
        let Prediction { class, accepted, confident, .. } = *row;
        Self { stamp, class, confidence, accepted, confident }
    }
}

/// What somebody said of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Given {
    /// When it took effect.
    pub stamp: Stamp,
    /// The class.
    pub class: u32,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tally {
    /// A sample was judged.
    Judged { class: u32, accepted: bool, confident: bool },
    /// A label was given.
    Given { class: u32 },
    /// A judged sample has a label.
    Met { id: u64, judged: Judged, given: Given },
}

/// What is not counted by differential: one a step, on its way to the standing.
struct Turn {
    step: u64,
    barrier: bool,
    ends_epoch: bool,
    snapshot: bool,
    counts: LabelCounts,
}

type Trace<V> = TraceAgent<ValSpine<u64, V, u64, isize>>;
type Upsert<V> = (u64, Option<V>, u64);
type Builder<T> = CapacityContainerBuilder<Vec<T>>;

/// The standing after each step, and the whole account where it is due. Without a ledger:
/// streams that are over.
pub fn ledger<'scope>(
    facts: StreamVec<'scope, u64, Facts>,
    ledger: Option<Ledger>,
    failure: &Failure,
) -> (StreamVec<'scope, u64, Standing>, StreamVec<'scope, u64, Account>) {
    let Some(ledger) = ledger else { return (empty(facts.scope()), empty(facts.scope())) };
    let Ledger { retain, retain_for, classes, lag, state } = ledger;
    let retain_ms = retain_for.map(|time| time.as_millis() as u64);
    let retention = Retention::new(retain, retain_ms, state.counts);
    let books = Books::new(classes, lag, state.standings);

    let (judgements, labels, turns) = retain_in(facts, retention, (state.judgements, state.labels), failure);
    let judgements: Arranged<'_, Trace<Judged>> =
        arrange_from_upsert::<ValBuilder<_, _, _, _>, _, _, _>(judgements, "judgements");
    let labels: Arranged<'_, Trace<Given>> =
        arrange_from_upsert::<ValBuilder<_, _, _, _>, _, _, _>(labels, "labels");
    let traces = (judgements.trace.clone(), labels.trace.clone());

    let judged = judgements.clone().as_collection(|_, judged| Tally::Judged {
        class: judged.class,
        accepted: judged.accepted,
        confident: judged.confident,
    });
    let given = labels.clone().as_collection(|_, given| Tally::Given { class: given.class });
    let met = judgements.join_core(labels, |id, judged, given| {
        Some(Tally::Met { id: *id, judged: judged.clone(), given: given.clone() })
    });
    let tallies = concatenate(judged.scope(), [judged, given, met]);
    close(tallies.inner, turns, books, traces, failure)
}

/// retain: facts become judgements and labels by sample, each with its step; what leaves the
/// window is retracted. `saved` comes first.
#[allow(clippy::type_complexity)] // three streams
fn retain_in<'scope>(
    facts: StreamVec<'scope, u64, Facts>,
    mut retention: Retention,
    saved: (Vec<(u64, Judged)>, Vec<(u64, Given)>),
    failure: &Failure,
) -> (
    StreamVec<'scope, u64, Upsert<Judged>>,
    StreamVec<'scope, u64, Upsert<Given>>,
    StreamVec<'scope, u64, Turn>,
) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("retain".to_string(), facts.scope());
    let mut facts = builder.new_input(facts, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (judgement_output, judgements) = builder.new_output::<Vec<Upsert<Judged>>>();
    let (label_output, labels) = builder.new_output::<Vec<Upsert<Given>>>();
    let (turn_output, turns) = builder.new_output::<Vec<Turn>>();
    let mut judgement_output = OutputBuilder::<u64, Builder<Upsert<Judged>>>::from(judgement_output);
    let mut label_output = OutputBuilder::<u64, Builder<Upsert<Given>>>::from(label_output);
    let mut turn_output = OutputBuilder::<u64, Builder<Turn>>::from(turn_output);
    retention.restore(&saved.0, &saved.1);
    let mut saved = Some(saved);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        move |_frontiers| {
            let mut judgement_output = judgement_output.activate();
            let mut label_output = label_output.activate();
            let mut turn_output = turn_output.activate();
            if let (Some((judgements, labels)), Some(first)) = (saved.take(), capabilities.take()) {
                let put = |(id, judged)| (id, Some(judged), 0);
                judgement_output.session(&first[0]).give_iterator(judgements.into_iter().map(put));
                let put = |(id, given)| (id, Some(given), 0);
                label_output.session(&first[1]).give_iterator(labels.into_iter().map(put));
            }
            facts.for_each_stamp(|capability, containers| {
                for facts in containers.flat_map(|container| container.drain(..)) {
                    let Facts { step, barrier, ends_epoch, snapshot, .. } = facts;
                    if !barrier {
                        let turned = failure.guard("ledger", step, || Ok(retention.turn(&facts)));
                        let Some(Changes { judgements, labels }) = turned else { return };
                        let put = |(id, judged)| (id, judged, step);
                        judgement_output.session(&capability).give_iterator(judgements.into_iter().map(put));
                        let put = |(id, given)| (id, given, step);
                        label_output.session(&capability).give_iterator(labels.into_iter().map(put));
                    }
                    let counts = retention.counts();
                    turn_output.session(&capability).give(Turn {
                        step,
                        barrier,
                        ends_epoch,
                        snapshot,
                        counts,
                    });
                }
            });
        }
    });
    (judgements, labels, turns)
}

/// close: what changed in a step is added up once no more of it can come, and the books are
/// shown.
fn close<'scope>(
    tallies: StreamVec<'scope, u64, (Tally, u64, isize)>,
    turns: StreamVec<'scope, u64, Turn>,
    mut books: Books,
    mut traces: (Trace<Judged>, Trace<Given>),
    failure: &Failure,
) -> (StreamVec<'scope, u64, Standing>, StreamVec<'scope, u64, Account>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("close".to_string(), turns.scope());
    let mut tallies = builder.new_input_connection(tallies, Pipeline, []);
    builder.set_notify_for(0, FrontierInterest::Always);
    let mut turns = builder.new_input(turns, Pipeline);
    builder.set_notify_for(1, FrontierInterest::Never);
    let (standing_output, standings) = builder.new_output::<Vec<Standing>>();
    let (account_output, accounts) = builder.new_output::<Vec<Account>>();
    let mut standing_output = OutputBuilder::<u64, Builder<Standing>>::from(standing_output);
    let mut account_output = OutputBuilder::<u64, Builder<Account>>::from(account_output);
    let mut changes: BTreeMap<u64, Vec<(Tally, isize)>> = BTreeMap::new();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Capability<u64>, Turn)> = BTreeMap::new();
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
                        standing_output.activate().session(&first).give(books.standing.clone());
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
    (standings, accounts)
}

/// The sums of what the collections hold.
struct Books {
    standing: Standing,
    confusion: BTreeMap<(u32, u32), Cell>,
    /// By when the label came and id.
    disagreements: BTreeMap<(Stamp, u64), Disagreement>,
    lag: u64,
    /// The last `lag` standings.
    last: VecDeque<Standing>,
}

/// Adds a change to a count. A sum may pass below zero within a step.
fn change(count: &mut u64, by: isize) {
    *count = count.wrapping_add_signed(by as i64);
}

impl Books {
    fn new(classes: usize, lag: u64, last: Vec<Standing>) -> Self {
        let (confusion, disagreements) = (BTreeMap::new(), BTreeMap::new());
        Self { standing: Standing::new(classes), confusion, disagreements, lag, last: last.into() }
    }

    fn add(&mut self, tally: Tally, by: isize) {
        let standing = &mut self.standing;
        match tally {
            Tally::Judged { class, accepted, confident } => {
                let class = class as usize;
                change(&mut standing.judged[class], by);
                change(&mut standing.pseudo[class], if accepted { by } else { 0 });
                change(&mut standing.confident[class], if confident { by } else { 0 });
            }
            Tally::Given { class } => change(&mut standing.given[class as usize], by),
            Tally::Met { id, judged, given } => {
                let right = judged.class == given.class;
                let accepted = if judged.accepted { by } else { 0 };
                change(&mut standing.met, by);
                change(&mut standing.right, if right { by } else { 0 });
                change(&mut standing.accepted_met, accepted);
                change(&mut standing.accepted_right, if right { accepted } else { 0 });
                // A pseudo-label stops counting when a label has come.
                let class = judged.class as usize;
                change(&mut standing.pseudo[class], -accepted);
                change(&mut standing.confident[class], if judged.confident { -by } else { 0 });
                let delay = given.stamp.position.saturating_sub(judged.stamp.position);
                change(&mut standing.delays[Standing::bucket(delay)], by);
                let cell = self.confusion.entry((given.class, judged.class)).or_default();
                change(&mut cell.all, by);
                change(&mut cell.accepted, accepted);
                if !right {
                    self.disagree(id, &judged, &given, by);
                }
            }
        }
    }

    fn disagree(&mut self, id: u64, judged: &Judged, given: &Given, by: isize) {
        let confidence = f32::from(judged.confidence) / f32::from(u16::MAX);
        let found = Disagreement { id, judged: judged.class, confidence, given: given.class };
        let place = (given.stamp, id);
        match by > 0 {
            true => drop(self.disagreements.insert(place, found)),
            // Its successor may have come first.
            false if self.disagreements.get(&place) == Some(&found) => {
                drop(self.disagreements.remove(&place))
            }
            false => {}
        }
    }

    fn turn(&mut self, turn: &Turn) {
        self.standing.labels = turn.counts;
        if turn.barrier {
            return;
        }
        self.standing.step = turn.step;
        self.last.push_back(self.standing.clone());
        while self.last.len() as u64 > self.lag {
            self.last.pop_front();
        }
    }

    fn account(&self, turn: &Turn, traces: &mut (Trace<Judged>, Trace<Given>)) -> Result<Account> {
        let state = turn.snapshot.then(|| {
            let state = State {
                judgements: contents(&mut traces.0, turn.step)?,
                labels: contents(&mut traces.1, turn.step)?,
                counts: turn.counts,
                standings: self.last.iter().cloned().collect(),
            };
            bincode::serialize(&state).map_err(|error| Error::Engine(error.to_string()))
        });
        let seen = self.confusion.iter().filter(|(_, cell)| cell.all > 0);
        Ok(Account {
            standing: self.standing.clone(),
            confusion: seen.map(|(place, cell)| (*place, *cell)).collect(),
            disagreements: self.disagreements.len() as u64,
            newest: self.disagreements.values().rev().take(NAMED).cloned().collect(),
            state: state.transpose()?,
        })
    }
}

/// What a collection holds after `step`, by sample, read from its own trace.
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

//! ledger: pseudo-labels and labels of samples as differential collections over steps. Both are keyed by
//! sample, joined where a sample has both, and counted incrementally by retraction, never recounted.
//! `retention` decides how long they are kept; the output is plain data.

use crate::engine::flow::Failure;
use crate::engine::flow::ledger_totals as books;
use crate::engine::flow::ledger_totals::{LedgerTotals, StepEnd, Trace};
use crate::engine::flow::ledger_window::{Changes, LedgerWindow, Stamp};
use differential_dataflow::collection::concatenate;
use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::operators::arrange::upsert::arrange_from_upsert;
use differential_dataflow::trace::implementations::ValBuilder;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::ledger::{LabelCounts, LedgerReport, LedgerStats};
use sluicebox_core::step::{LedgerInput, Prediction};
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::empty;
use timely::progress::operate::FrontierInterest;

/// Settings of the ledger and the state it starts from.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Samples whose pseudo-label is kept; also how many samples long a label awaits its sample.
    pub retain: u64,
    /// Time limit on both.
    pub retain_for: Option<Duration>,
    /// Number of classes of the job.
    pub classes: usize,
    /// Steps between ledger statistics and their use by the filter.
    pub lag: u64,
    state: State,
}

/// The ledger's section of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub judgements: Vec<(u64, Judged)>,
    pub labels: Vec<(u64, Given)>,
    pub counts: LabelCounts,
    /// Statistics of the last `lag` steps: those on the feedback edge.
    pub ledger_stats: Vec<LedgerStats>,
}

impl Ledger {
    /// Returns an empty ledger.
    pub fn new(retain: u64, retain_for: Option<Duration>, classes: usize, lag: u64) -> Self {
        Self { retain, retain_for, classes, lag, state: State::default() }
    }

    /// Restores the state of a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the ledger's state is damaged: {error}"));
        self.state = bincode::deserialize(state).map_err(damaged)?;
        Ok(())
    }

    /// Returns the statistics on the feedback edge, each with the step at which the filter receives it.
    pub fn in_flight(&self) -> Vec<(u64, LedgerStats)> {
        let arrival = |ledger_stats: &LedgerStats| (ledger_stats.step + self.lag, ledger_stats.clone());
        self.state.ledger_stats.iter().map(arrival).collect()
    }
}

/// The teacher's pseudo-label of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Judged {
    /// When the sample streamed by.
    pub(super) stamp: Stamp,
    pub(super) class: u32,
    /// In units of 1/65535: differential collections cannot hold floats.
    pub(super) confidence: u16,
    pub(super) accepted: bool,
    pub(super) confident: bool,
}

impl Judged {
    /// Returns the pseudo-label of a sample that streamed by at `stamp`.
    pub fn new(row: &Prediction, stamp: Stamp) -> Self {
        let confidence = (row.pseudo_label_confidence * f32::from(u16::MAX)).round() as u16;
        let Prediction { pseudo_label: class, accepted, confident, .. } = *row;
        Self { stamp, class, confidence, accepted, confident }
    }
}

/// A label of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Given {
    /// When the label took effect.
    pub(super) stamp: Stamp,
    pub(super) class: u32,
}

/// Countable elements of the collections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tally {
    /// A sample with a pseudo-label.
    Judged { class: u32, accepted: bool, confident: bool },
    /// A label.
    Given { class: u32 },
    /// A sample with both a pseudo-label and a label.
    Verdict { id: u64, judged: Judged, given: Given },
}

type Upsert<V> = (u64, Option<V>, u64);
type Builder<T> = CapacityContainerBuilder<Vec<T>>;

/// Returns the ledger statistics after each step, and the full account where one is due. Without a ledger,
/// both streams are empty and closed.
pub fn ledger<'scope>(
    facts: StreamVec<'scope, u64, LedgerInput>,
    ledger: Option<Ledger>,
    failure: &Failure,
) -> (StreamVec<'scope, u64, LedgerStats>, StreamVec<'scope, u64, LedgerReport>) {
    let Some(ledger) = ledger else { return (empty(facts.scope()), empty(facts.scope())) };
    let Ledger { retain, retain_for, classes, lag, state } = ledger;
    let retain_ms = retain_for.map(|time| time.as_millis() as u64);
    let retention = LedgerWindow::new(retain, retain_ms, state.counts);
    let books = LedgerTotals::new(classes, lag, &state);

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
        Some(Tally::Verdict { id: *id, judged: judged.clone(), given: given.clone() })
    });
    let tallies = concatenate(judged.scope(), [judged, given, met]);
    books::close(tallies.inner, turns, books, traces, failure)
}

/// retain: turns facts into updates of pseudo-labels and labels, keyed by sample and step; retracts those
/// that leave the retention window. Emits `saved` first.
#[allow(clippy::type_complexity)] // three streams
fn retain_in<'scope>(
    facts: StreamVec<'scope, u64, LedgerInput>,
    mut retention: LedgerWindow,
    saved: (Vec<(u64, Judged)>, Vec<(u64, Given)>),
    failure: &Failure,
) -> (
    StreamVec<'scope, u64, Upsert<Judged>>,
    StreamVec<'scope, u64, Upsert<Given>>,
    StreamVec<'scope, u64, StepEnd>,
) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("retain".to_string(), facts.scope());
    let mut facts = builder.new_input(facts, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (judgement_output, judgements) = builder.new_output::<Vec<Upsert<Judged>>>();
    let (label_output, labels) = builder.new_output::<Vec<Upsert<Given>>>();
    let (turn_output, turns) = builder.new_output::<Vec<StepEnd>>();
    let mut judgement_output = OutputBuilder::<u64, Builder<Upsert<Judged>>>::from(judgement_output);
    let mut label_output = OutputBuilder::<u64, Builder<Upsert<Given>>>::from(label_output);
    let mut turn_output = OutputBuilder::<u64, Builder<StepEnd>>::from(turn_output);
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
                    let LedgerInput { step, barrier, ends_epoch, snapshot, .. } = facts;
                    if !barrier {
                        let turned = failure.guard("ledger", step, || Ok(retention.turn(&facts)));
                        let Some(Changes { judgements, labels }) = turned else { return };
                        let put = |(id, judged)| (id, judged, step);
                        judgement_output.session(&capability).give_iterator(judgements.into_iter().map(put));
                        let put = |(id, given)| (id, given, step);
                        label_output.session(&capability).give_iterator(labels.into_iter().map(put));
                    }
                    let counts = retention.counts();
                    turn_output.session(&capability).give(StepEnd {
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

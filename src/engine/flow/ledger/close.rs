//! close: once no more changes of a step can arrive, adds them up and emits the ledger statistics, and the
//! ledger's report where one is due.

use crate::engine::flow::failure::Failure;
use crate::engine::flow::ledger::rows::{LabelRow, PseudoLabelRow, StepEnd, Tally};
use crate::engine::flow::ledger::totals::{LedgerTotals, Trace};
use crate::engine::flow::operator::Builder;
use differential_dataflow::trace::TraceReader;
use sluicebox_core::report::ledger::{LedgerReport, LedgerStats};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::AntichainRef;
use timely::progress::operate::FrontierInterest;

/// Returns the ledger statistics after each step, and the ledger's report where one is due.
pub fn close<'scope>(
    tallies: StreamVec<'scope, u64, (Tally, u64, isize)>,
    step_ends: StreamVec<'scope, u64, StepEnd>,
    mut totals: LedgerTotals,
    mut traces: (Trace<PseudoLabelRow>, Trace<LabelRow>),
    failure: &Failure,
) -> (StreamVec<'scope, u64, LedgerStats>, StreamVec<'scope, u64, LedgerReport>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("close".to_string(), step_ends.scope());
    let mut tallies = builder.new_input_connection(tallies, Pipeline, []);
    builder.set_notify_for(0, FrontierInterest::Always);
    let mut step_ends = builder.new_input(step_ends, Pipeline);
    builder.set_notify_for(1, FrontierInterest::Never);
    let (stats_output, ledger_stats) = builder.new_output::<Vec<LedgerStats>>();
    let (report_output, ledger_reports) = builder.new_output::<Vec<LedgerReport>>();
    let mut stats_output = OutputBuilder::<u64, Builder<LedgerStats>>::from(stats_output);
    let mut report_output = OutputBuilder::<u64, Builder<LedgerReport>>::from(report_output);
    let mut changes: BTreeMap<u64, Vec<(Tally, isize)>> = BTreeMap::new();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Capability<u64>, StepEnd)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            tallies.for_each_stamp(|_, containers| {
                for (tally, step, count) in containers.flat_map(|container| container.drain(..)) {
                    changes.entry(step).or_default().push((tally, count));
                }
            });
            step_ends.for_each_stamp(|capability, containers| {
                for end in containers.flat_map(|container| container.drain(..)) {
                    let (Some(first), Some(second)) =
                        (capability.retain_least(0), capability.retain_least(1))
                    else {
                        return;
                    };
                    waiting.insert(end.step, (first, second, end));
                }
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers[0].frontier().less_equal(&step) {
                    break; // more changes of this step may still arrive
                }
                let (first, second, end) = entry.remove();
                let later = changes.split_off(&(step + 1));
                let now = std::mem::replace(&mut changes, later);
                let closed = failure.guard("ledger", step, || {
                    now.into_values().flatten().for_each(|(tally, count)| totals.add(tally, count));
                    totals.end_step(&end);
                    let due = end.ends_epoch || end.snapshot;
                    due.then(|| totals.report(&end, &mut traces)).transpose()
                });
                if let Some(report) = closed {
                    if !end.barrier {
                        stats_output.activate().session(&first).give(totals.ledger_stats().clone());
                    }
                    report_output.activate().session(&second).give_iterator(report.into_iter());
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
    (ledger_stats, ledger_reports)
}

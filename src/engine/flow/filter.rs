//! filter: the method turns scores into pseudo-labels; only accepted samples go on. For a method that uses
//! ledger statistics, step t waits for those of step t - lag, which arrive over a feedback edge as the
//! weights do in `teach`.

use crate::engine::flow::{Failure, column};
use sluicebox_core::report::ledger::LedgerStats;
use sluicebox_learn::messages::{Scored, Selected};
use sluicebox_learn::stages::filter::Filter;
use std::collections::BTreeMap;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Returns each step with its pseudo-labels and accepted samples. `in_flight`: statistics that were on the
/// feedback edge when the state was saved, by the step at which they arrive.
pub fn filter<'scope>(
    scored: StreamVec<'scope, u64, Scored>,
    ledger_stats: StreamVec<'scope, u64, LedgerStats>,
    mut filter: Filter,
    in_flight: Vec<(u64, LedgerStats)>,
    failure: &Failure,
) -> StreamVec<'scope, u64, Selected> {
    let failure = failure.clone();
    let waits = filter.waits();
    let mut builder = OperatorBuilder::new("filter".to_string(), scored.scope());
    let mut scored = builder.new_input(scored, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let mut ledger_stats = builder.new_input(ledger_stats, Pipeline);
    let interest = if waits { FrontierInterest::IfCapability } else { FrontierInterest::Never };
    builder.set_notify_for(1, interest);
    let (output, judged) = builder.new_output::<Vec<Selected>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<Selected>>>::from(output);
    let mut known: BTreeMap<u64, LedgerStats> = in_flight.into_iter().collect();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Scored)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            scored.for_each_stamp(|capability, containers| {
                for scored in containers.flat_map(|container| container.drain(..)) {
                    let Some(capability) = capability.retain_least(0) else { return };
                    waiting.insert(scored.info.step, (capability, scored));
                }
            });
            ledger_stats.for_each_stamp(|capability, containers| {
                let newest = containers.flat_map(|container| container.drain(..)).last();
                if let (true, Some(step)) = (waits, capability.least()) {
                    known.extend(newest.map(|ledger_stats| (*step, ledger_stats)));
                }
            });
            let mut output = output.activate();
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if waits && frontiers[1].frontier().less_equal(&step) {
                    break; // the statistics for this step may still come
                }
                let (capability, mut scored) = entry.remove();
                let later = known.split_off(&(step + 1));
                scored.scores.ledger_stats = std::mem::replace(&mut known, later).remove(&step);
                let start = Instant::now();
                if let Some(mut judged) = failure.guard("filter", step, || filter.judge(scored)) {
                    judged.info.stage_s[column("filter")] += start.elapsed().as_secs_f64();
                    output.session(&capability).give(judged);
                }
            }
        }
    });
    judged
}

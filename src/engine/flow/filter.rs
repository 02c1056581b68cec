//! filter: the method turns scores into pseudo-labels; only accepted samples go on. For a method that uses
//! ledger statistics, step t waits for those of step t - lag, which arrive over a feedback edge as the
//! weights do in `teach`.

use crate::engine::flow::{Failure, column};
use sluicebox_core::report::ledger::Standing;
use sluicebox_learn::messages::{Judged, Scored};
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
    standings: StreamVec<'scope, u64, Standing>,
    mut filter: Filter,
    in_flight: Vec<(u64, Standing)>,
    failure: &Failure,
) -> StreamVec<'scope, u64, Judged> {
    let failure = failure.clone();
    let waits = filter.waits();
    let mut builder = OperatorBuilder::new("filter".to_string(), scored.scope());
    let mut scored = builder.new_input(scored, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let mut standings = builder.new_input(standings, Pipeline);
    let interest = if waits { FrontierInterest::IfCapability } else { FrontierInterest::Never };
    builder.set_notify_for(1, interest);
    let (output, judged) = builder.new_output::<Vec<Judged>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<Judged>>>::from(output);
    let mut known: BTreeMap<u64, Standing> = in_flight.into_iter().collect();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Scored)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            scored.for_each_stamp(|capability, containers| {
                for scored in containers.flat_map(|container| container.drain(..)) {
                    let Some(capability) = capability.retain_least(0) else { return };
                    waiting.insert(scored.ticket.step, (capability, scored));
                }
            });
            standings.for_each_stamp(|capability, containers| {
                let newest = containers.flat_map(|container| container.drain(..)).last();
                if let (true, Some(step)) = (waits, capability.least()) {
                    known.extend(newest.map(|standing| (*step, standing)));
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
                scored.scores.standing = std::mem::replace(&mut known, later).remove(&step);
                let start = Instant::now();
                if let Some(mut judged) = failure.guard("filter", step, || filter.judge(scored)) {
                    judged.ticket.stage_s[column("filter")] += start.elapsed().as_secs_f64();
                    output.session(&capability).give(judged);
                }
            }
        }
    });
    judged
}

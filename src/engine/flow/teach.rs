//! teach: scores a step once its weights have arrived. Weights of step t - lag reach step t over a feedback
//! edge; timely's progress tracking says when no others can arrive.

use crate::engine::flow::{Failure, column};
use sluicebox_learn::messages::{Scored, Views, Weights};
use sluicebox_learn::stages::teacher::Teacher;
use std::collections::BTreeMap;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Returns each step with the teacher's scores. `in_flight`: weights that were on the feedback edge when the
/// state was saved, by the step at which they arrive.
pub fn teach<'scope>(
    views: StreamVec<'scope, u64, Views>,
    weights: StreamVec<'scope, u64, Weights>,
    mut teacher: Teacher,
    in_flight: Vec<(u64, Weights)>,
    failure: &Failure,
) -> StreamVec<'scope, u64, Scored> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("teach".to_string(), views.scope());
    let mut views = builder.new_input(views, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let mut weights = builder.new_input(weights, Pipeline);
    builder.set_notify_for(1, FrontierInterest::IfCapability);
    let (output, scored) = builder.new_output::<Vec<Scored>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<Scored>>>::from(output);
    let mut versions: BTreeMap<u64, Weights> = in_flight.into_iter().collect();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<Views>)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            views.for_each_stamp(|capability, containers| {
                let Some(capability) = capability.retain_least(0) else { return };
                let step = *capability.time();
                let (_, at_step) = waiting.entry(step).or_insert((capability, Vec::new()));
                at_step.extend(containers.flat_map(|container| container.drain(..)));
            });
            weights.for_each_stamp(|capability, containers| {
                let Some(step) = capability.least().copied() else { return };
                let newest = containers.flat_map(|container| container.drain(..)).last();
                versions.extend(newest.map(|weights| (step, weights)));
            });
            let mut output = output.activate();
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers[1].frontier().less_equal(&step) {
                    break; // weights for this step may still come
                }
                let (capability, at_step) = entry.remove();
                let later = versions.split_off(&(step + 1));
                let newest = std::mem::replace(&mut versions, later).pop_last();
                for views in at_step {
                    let start = Instant::now();
                    let scored = failure.guard("teach", step, || {
                        newest.iter().for_each(|(_, weights)| teacher.receive(weights));
                        teacher.score(views)
                    });
                    if let Some(mut scored) = scored {
                        scored.info.stage_s[column("teach")] += start.elapsed().as_secs_f64();
                        output.session(&capability).give(scored);
                    }
                }
            }
        }
    });
    scored
}

//! source: emits steps while they have credit. Timely has no back-pressure of its own, so the end of the
//! pipeline is fed back to the start: step t is emitted once step t - window is done.

use crate::engine::flow::failure::Failure;
use crate::engine::flow::operator::Builder;
use sluicebox_core::step::MicroBatch;
use sluicebox_stream::microbatch::batcher::{MicroBatcher, Next};
use std::collections::BTreeSet;
use std::time::Instant;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

/// Returns the stream of micro-batches that `feed` cuts, one per step. The frontier of `credit` is the first
/// step that may not be emitted yet: `window` steps after the first that is not done. Its records, like
/// `decay_replay_at`, are steps at whose start replay weights decay.
pub fn source<'scope>(
    scope: Scope<'scope, u64>,
    credit: StreamVec<'scope, u64, u64>,
    window: u64,
    decay_replay_at: Vec<u64>,
    mut feed: MicroBatcher,
    failure: &Failure,
) -> StreamVec<'scope, u64, MicroBatch> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("source".to_string(), scope);
    let mut credit = builder.new_input_connection(credit, Pipeline, []);
    let (output, micro_batches) = builder.new_output_connection::<Vec<MicroBatch>, _>([]);
    let mut output = OutputBuilder::<u64, Builder<MicroBatch>>::from(output);
    let again = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut held_back = None;
        let mut decay_replay_at: BTreeSet<u64> = decay_replay_at.into_iter().collect();
        let mut capability = capabilities.pop();
        if let Some(capability) = &mut capability {
            capability.downgrade(&feed.step());
        }
        move |frontiers| {
            credit.for_each_stamp(|_, containers| {
                decay_replay_at.extend(containers.flat_map(|steps| steps.drain(..)))
            });
            let Some(now) = &mut capability else { return };
            let step = *now.time();
            if frontiers[0].frontier().less_equal(&step) {
                held_back.get_or_insert_with(Instant::now);
                return; // the window is full; a change of its frontier schedules this operator again
            }
            let start = Instant::now();
            let credit_s: f64 = held_back.take().map_or(0.0, |since: Instant| since.elapsed().as_secs_f64());
            feed.held_back(credit_s);
            let may_not = frontiers[0].frontier().first().copied();
            match failure.guard("source", step, || feed.cut_next()) {
                Some(Next::MicroBatch(mut micro_batch)) => {
                    let info = &mut micro_batch.info;
                    info.decay_replay = !info.barrier && decay_replay_at.remove(&step);
                    info.notes.waits.in_flight = may_not.map_or(1, |end| step + window + 1 - end);
                    info.notes.stage_s.add("source", start.elapsed().as_secs_f64());
                    output.activate().session(&*now).give(*micro_batch);
                    now.downgrade(&(step + 1));
                    again.activate();
                    if !frontiers[0].frontier().less_equal(now.time()) {
                        failure.guard("source", step + 1, || feed.look_ahead());
                    }
                }
                Some(Next::Wait(wait)) => again.activate_after(wait),
                Some(Next::Over) | None => capability = None,
            }
        }
    });
    micro_batches
}

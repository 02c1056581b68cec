//! Generic operators: each calls a stage once per step, in step order, and adds the time it took to the step.

use crate::engine::flow::failure::Failure;
use sluicebox_core::error::Result;
use sluicebox_core::step::Message;
use std::collections::BTreeMap;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::progress::operate::FrontierInterest;

/// Buffers the messages of an output in vectors.
pub type Builder<T> = CapacityContainerBuilder<Vec<T>>;

/// Calls `stage` on each step as it arrives.
pub fn each_step<'scope, A: Message, B: Message>(
    steps: StreamVec<'scope, u64, A>,
    name: &'static str,
    failure: &Failure,
    mut stage: impl FnMut(A) -> Result<B> + 'static,
) -> StreamVec<'scope, u64, B> {
    let failure = failure.clone();
    steps.unary(Pipeline, name, move |_capability, _info| {
        move |input, output| {
            input.for_each_stamp(|capability, containers| {
                let mut session = output.session(&capability);
                for mut message in containers.flat_map(|container| container.drain(..)) {
                    let step = message.info().step;
                    let start = Instant::now();
                    if let Some(mut done) = failure.guard(name, step, || stage(message)) {
                        done.info().notes.stage_s.add(name, start.elapsed().as_secs_f64());
                        session.give(done);
                    }
                }
            });
        }
    })
}

/// Calls `stage` on each step as it arrives. If `second`, the stage has one second output for each step. It
/// may return it with a later step: until then this operator holds the step's capability.
pub fn each_step_with_two_outputs<'scope, A: Message, B: Message, C: 'static>(
    steps: StreamVec<'scope, u64, A>,
    name: &'static str,
    second: bool,
    failure: &Failure,
    mut stage: impl FnMut(A) -> Result<(B, Vec<(u64, C)>)> + 'static,
) -> (StreamVec<'scope, u64, B>, StreamVec<'scope, u64, C>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new(name.to_string(), steps.scope());
    let mut steps = builder.new_input(steps, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, first_stream) = builder.new_output::<Vec<B>>();
    let (second_output, second_stream) = builder.new_output::<Vec<C>>();
    let mut output = OutputBuilder::<u64, Builder<B>>::from(output);
    let mut second_output = OutputBuilder::<u64, Builder<C>>::from(second_output);
    let mut held: BTreeMap<u64, Capability<u64>> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut output = output.activate();
            let mut second_output = second_output.activate();
            steps.for_each_stamp(|capability, containers| {
                for mut message in containers.flat_map(|container| container.drain(..)) {
                    let step = message.info().step;
                    if second && let Some(capability) = capability.retain_least(1) {
                        held.insert(step, capability);
                    }
                    let start = Instant::now();
                    let done = failure.guard(name, step, || stage(message));
                    let Some((mut first, seconds)) = done else { return };
                    first.info().notes.stage_s.add(name, start.elapsed().as_secs_f64());
                    output.session(&capability).give(first);
                    for (step, second) in seconds {
                        let Some(capability) = held.remove(&step) else { continue };
                        second_output.session(&capability).give(second);
                    }
                }
            });
        }
    });
    (first_stream, second_stream)
}

/// A feedback edge into an operator.
pub struct Feedback<'scope, F> {
    /// The edge's messages, each at the step that it is for.
    pub stream: StreamVec<'scope, u64, F>,
    /// Messages that were on the edge when the state was saved, by the step that they are for.
    pub in_flight: Vec<(u64, F)>,
    /// Whether a step waits until no more messages can arrive for it; if not, messages are dropped.
    pub waits: bool,
}

/// Calls `stage` on each step with the newest message that the feedback edge has brought for it or for a step
/// since the one before. Timely's progress tracking says when no other message can arrive.
pub fn with_feedback<'scope, A: Message, F: 'static, B: Message>(
    steps: StreamVec<'scope, u64, A>,
    feedback: Feedback<'scope, F>,
    name: &'static str,
    failure: &Failure,
    mut stage: impl FnMut(A, Option<F>) -> Result<B> + 'static,
) -> StreamVec<'scope, u64, B> {
    let failure = failure.clone();
    let Feedback { stream: feedback, in_flight, waits } = feedback;
    let mut builder = OperatorBuilder::new(name.to_string(), steps.scope());
    let mut steps = builder.new_input(steps, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let mut feedback = builder.new_input(feedback, Pipeline);
    let interest = if waits { FrontierInterest::IfCapability } else { FrontierInterest::Never };
    builder.set_notify_for(1, interest);
    let (output, stream) = builder.new_output::<Vec<B>>();
    let mut output = OutputBuilder::<u64, Builder<B>>::from(output);
    let mut arrived: BTreeMap<u64, F> = in_flight.into_iter().collect();
    let mut waiting: BTreeMap<u64, (Capability<u64>, A)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            steps.for_each_stamp(|capability, containers| {
                for mut message in containers.flat_map(|container| container.drain(..)) {
                    let Some(capability) = capability.retain_least(0) else { return };
                    waiting.insert(message.info().step, (capability, message));
                }
            });
            feedback.for_each_stamp(|capability, containers| {
                let newest = containers.flat_map(|container| container.drain(..)).last();
                if let (true, Some(step)) = (waits, capability.least()) {
                    arrived.extend(newest.map(|message| (*step, message)));
                }
            });
            let mut output = output.activate();
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if waits && frontiers[1].frontier().less_equal(&step) {
                    break; // messages for this step may still arrive
                }
                let (capability, message) = entry.remove();
                let later = arrived.split_off(&(step + 1));
                let newest = std::mem::replace(&mut arrived, later).pop_last();
                let newest = newest.map(|(_, message)| message);
                let start = Instant::now();
                let done = failure.guard(name, step, || stage(message, newest));
                if let Some(mut done) = done {
                    done.info().notes.stage_s.add(name, start.elapsed().as_secs_f64());
                    output.session(&capability).give(done);
                }
            }
        }
    });
    stream
}

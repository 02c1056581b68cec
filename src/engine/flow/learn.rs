//! learn: the student's step. Two outputs: step results, and weights for the feedback edge to `teach`.

use crate::engine::flow::{Failure, column};
use sluicebox_learn::messages::{StepResult, TrainingBatch, Weights};
use sluicebox_learn::stages::student::Student;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Returns the result of each step and the teacher's weights after it.
pub fn learn<'scope>(
    lessons: StreamVec<'scope, u64, TrainingBatch>,
    mut student: Student,
    failure: &Failure,
) -> (StreamVec<'scope, u64, StepResult>, StreamVec<'scope, u64, Weights>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("learn".to_string(), lessons.scope());
    let mut lessons = builder.new_input(lessons, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (outcome_output, outcomes) = builder.new_output::<Vec<StepResult>>();
    let (weights_output, weights) = builder.new_output::<Vec<Weights>>();
    type Builder<T> = CapacityContainerBuilder<Vec<T>>;
    let mut outcome_output = OutputBuilder::<u64, Builder<StepResult>>::from(outcome_output);
    let mut weights_output = OutputBuilder::<u64, Builder<Weights>>::from(weights_output);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut outcome_output = outcome_output.activate();
            let mut weights_output = weights_output.activate();
            lessons.for_each_stamp(|capability, containers| {
                for training_batch in containers.flat_map(|container| container.drain(..)) {
                    let step = training_batch.info.step;
                    let start = Instant::now();
                    let learned = failure.guard("learn", step, || student.learn(training_batch));
                    if let Some((mut outcome, weights)) = learned {
                        outcome.info.stage_s[column("learn")] += start.elapsed().as_secs_f64();
                        outcome_output.session(&capability).give(outcome);
                        weights_output.session(&capability).give(weights);
                    }
                }
            });
        }
    });
    (outcomes, weights)
}

//! The stages of a job, called one after the other without the dataflow.

use crate::support::prepared;
use sluicebox::engine::flow::Stages;
use sluicebox::job::Job;
use sluicebox_core::error::Result;
use sluicebox_core::step::{MicroBatch, Snapshot};
use sluicebox_learn::messages::{StepResult, TrainingBatch, Weights};
use sluicebox_stream::microbatch::batcher::Next;

/// The stages, and the teacher's weights for the next step.
pub struct StepByStep {
    pub stages: Stages,
    pub weights: Weights,
}

impl StepByStep {
    pub fn new(job: &Job) -> Self {
        let mut stages = prepared(job).stages;
        let weights = stages.in_flight.drain(..).next_back().unwrap().1;
        Self { stages, weights }
    }

    /// Cuts the next samples of the stream.
    pub fn cut(&mut self) -> MicroBatch {
        let Next::MicroBatch(batch) = self.stages.feed.cut_next().unwrap() else { panic!() };
        *batch
    }

    /// Runs a step; its result carries a snapshot. `change` may change what the student is given.
    pub fn step(
        &mut self,
        mut batch: MicroBatch,
        change: impl FnOnce(&mut TrainingBatch),
    ) -> Result<StepResult> {
        batch.info.snapshot = Some(Box::<Snapshot>::default());
        let Stages { batcher, weak, teacher, filter, strong, student, .. } = &mut self.stages;
        let views = weak.view(batcher.batch(batch)?)?;
        teacher.receive(&self.weights);
        let mut training_batch = strong.view(filter.judge(teacher.score(views)?)?)?;
        change(&mut training_batch);
        let (result, weights) = student.learn(training_batch)?;
        self.weights = weights;
        Ok(result)
    }
}

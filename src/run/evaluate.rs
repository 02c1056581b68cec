//! Evaluates weights on samples with known classes.

use crate::engine::checkpoint;
use crate::engine::metrics::State;
use crate::job::Job;
use crate::run;
use crate::run::Adaptation;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::state::Section;
use sluicebox_learn::device;
use sluicebox_learn::device::Compute;
use sluicebox_learn::evaluation::{Evaluation, evaluate};
use sluicebox_learn::messages::Weights;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::torch::TorchResult;
use sluicebox_learn::weights::from_named;
use sluicebox_stream::microbatch::saved::source_states;
use sluicebox_stream::source::api::Context;
use std::path::Path;
use std::rc::Rc;
use tch::Tensor;

/// Evaluates the newest checkpoint of a state folder on the held-out samples of its own source, or of another
/// source if `sets` name one.
pub fn saved(state: &Path, sets: &[String], limit: usize) -> Result<(Evaluation, Format)> {
    let Some(saved) = checkpoint::newest(state)? else {
        return Err(Error::file(state, "there is no checkpoint in it"));
    };
    let manifest = &saved.manifest;
    let job = Job::parse("the saved job", &manifest.job.name, manifest.job.resolved(), sets)?;
    let compute = Compute::new(device::open(&job.device, job.threads)?, job.precision);
    let context = Context { seed: job.seed, ..Context::default() };
    let mut sources = run::sources(&job, &context)?;
    let format = sources.format().clone();
    saved.suits(&format)?;
    let model: Rc<dyn Model> = run::model(&job, &format)?.into();
    let named = Tensor::read_safetensors(saved.model()).torch()?;
    let weights = from_named(model.layout(), manifest.step, &named)?;
    let labels_come = saved.sections.get(Section::Window).is_some();
    let mut answers = Adaptation::new(&job, &format, labels_come, compute.device);
    answers.restore(&saved, &format)?;
    let weights = Weights {
        parameters: weights.parameters.to_device(compute.device),
        buffers: weights.buffers.to_device(compute.device),
        answer: answers.told(compute),
        ..weights
    };
    let seen: State = bincode::deserialize(saved.section(Section::Report)?)
        .map_err(|error| Error::file(&saved.folder, format!("the report's state is damaged: {error}")))?;
    let streamed = seen.job.samples + seen.epoch.samples;
    let kinds = |job: &Job| job.sources.iter().map(|stream| stream.spec.kind.clone()).collect::<Vec<_>>();
    let states = match kinds(&job) == kinds(&manifest.job) {
        true => source_states(saved.section(Section::Source)?)?,
        false => Vec::new(),
    };
    match sources.evaluation(&states, streamed, limit)? {
        Some(samples) => Ok((evaluate(&model, compute, &format, &weights, &samples), format)),
        None => Err(Error::request(format!("source {} has nothing to evaluate on", kinds(&job).join(", ")))),
    }
}

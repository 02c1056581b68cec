//! Evaluates a checkpoint of a job.

use crate::engine::checkpoint::{Pick, Saved};
use crate::engine::metrics::State;
use crate::job::Job;
use crate::job::compatibility::job_of;
use crate::job::effective::Effective;
use crate::run::adaptation::Adaptation;
use crate::run::open;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::state::Section;
use sluicebox_learn::device;
use sluicebox_learn::device::Compute;
use sluicebox_learn::evaluation::{Evaluation, evaluate};
use sluicebox_learn::messages::{CorrectedTeacher, Weights};
use sluicebox_learn::model;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::torch::TorchResult;
use sluicebox_learn::weights::from_named;
use sluicebox_stream::microbatch::saved::source_states;
use sluicebox_stream::source::api::Context;
use std::path::Path;
use std::rc::Rc;
use tch::Tensor;

/// A checkpoint's teacher, and what it needs to answer samples.
pub struct Answering {
    /// The network.
    pub model: Rc<dyn Model>,
    /// Where and how precisely it computes.
    pub compute: Compute,
    /// Its weights, and what the answers add to it.
    pub teacher: CorrectedTeacher,
}

/// Evaluates a checkpoint of a state folder on the held-out samples of its own source, or of another
/// source if `sets` name one.
pub fn saved(state: &Path, pick: Pick, sets: &[String], limit: usize) -> Result<(Evaluation, Format)> {
    let saved = pick.read(state)?;
    let then = job_of(&saved)?;
    let job = Job::parse("the saved job", &then.name, then.resolved(), sets)?;
    let context = Context { seed: job.seed, is_look: true, ..Context::default() };
    let mut sources = open::sources(&job, &context)?;
    let format = sources.format().clone();
    saved.suits(&format)?;
    let Answering { model, compute, teacher } = answering(&saved, &job, &format)?;
    let seen = State::load_from(&saved.sections)?;
    let streamed = seen.job.samples + seen.epoch.samples;
    let states = match job.source_kinds() == then.source_kinds() {
        true => source_states(saved.sections.require(Section::Source)?)?,
        false => Vec::new(),
    };
    match sources.evaluation(&states, streamed, limit)? {
        Some(samples) => Ok((evaluate(&model, compute, &format, &teacher, &samples), format)),
        None => {
            let kinds = job.source_kinds().join(", ");
            Err(Error::request(format!("source {kinds} has no samples with known classes to evaluate on")))
        }
    }
}

/// Returns the teacher of a checkpoint, for samples of a format, on the job's device.
pub fn answering(saved: &Saved, job: &Job, format: &Format) -> Result<Answering> {
    let compute = Compute::new(device::open(&job.device, job.threads)?, job.precision);
    let views = open::method(job)?.views();
    let model: Rc<dyn Model> = model::build(&job.model, format, views.heads)?.into();
    let named = Tensor::read_safetensors(saved.model()).torch()?;
    let weights = from_named(model.layout(), saved.manifest.step, &named)?;
    // A checkpoint of before `effective`: jobs with late labels alone had samples that await one.
    let awaited = || saved.sections.get(Section::Window).is_some();
    let late_labels = saved.manifest.job.late_labels().unwrap_or_else(awaited);
    let effective = Effective::new(job, views, late_labels);
    let mut adaptation = Adaptation::new(job, &effective, format);
    adaptation.load_from(&saved.sections, format)?;
    let weights = Weights {
        parameters: weights.parameters.to_device(compute.device),
        buffers: weights.buffers.to_device(compute.device),
        ..weights
    };
    let teacher = CorrectedTeacher {
        weights,
        correction: adaptation.present(),
        scale: adaptation.scale(compute.device),
    };
    Ok(Answering { model, compute, teacher })
}

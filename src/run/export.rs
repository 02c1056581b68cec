//! Writes the newest checkpoint's network for other programs.

use crate::engine::checkpoint;
use crate::engine::checkpoint::Saved;
use crate::engine::metrics::State;
use crate::job::Job;
use crate::job::compatibility::job_of;
use crate::job::effective::Effective;
use crate::run::adaptation::Adaptation;
use crate::run::open;
use serde::Deserialize;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::replace;
use sluicebox_core::state::Section;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::model;
use sluicebox_learn::model::export::description::Description;
use sluicebox_learn::model::export::safetensors::described;
use sluicebox_learn::model::export::torchscript::torchscript;
use sluicebox_learn::torch::TorchResult;
use std::path::Path;
use tch::{Device, Tensor};

/// Form of an exported network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Weights under the names that PyTorch's own modules have, with what is known of them as metadata.
    Safetensors,
    /// Weights and computation: libtorch and `torch.jit.load` need nothing else.
    Torchscript,
}

/// An exported network.
pub struct Exported {
    /// What the file says of it.
    pub description: Description,
    /// What the job's answers add to the network and the file does not hold; none if they add nothing.
    pub left_out: Option<String>,
}

/// Writes the network of the newest checkpoint in the state folder `state` to the file `to`.
pub fn saved(state: &Path, to: &Path, form: Form) -> Result<Exported> {
    let Some(saved) = checkpoint::newest(state)? else {
        return Err(Error::file(state, "there is no checkpoint in it"));
    };
    let (job, format) = (job_of(&saved)?, &saved.manifest.job.format);
    let kind = saved.manifest.job.resolved.get("model").cloned().unwrap_or_default();
    let mut description = Description::new(format, saved.manifest.step, kind)?;
    let seen = State::load_from(&saved.sections)?;
    description.accuracy = seen.accuracy;
    description.network_accuracy = seen.network.accuracy();
    description.evaluated_step = seen.network.evaluated.map(|last| last.steps);
    let bytes = match form {
        Form::Safetensors => {
            let path = saved.model();
            let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
            described(&bytes, &description.entries()?)?
        }
        Form::Torchscript if job.model.kind == "torchscript" => {
            let reason = "the job's network is a TorchScript file already: export its weights to a .safetensors file \
                          and load them into your module";
            return Err(Error::file(to, reason));
        }
        Form::Torchscript => {
            // The heads of a method are for training only.
            let model = model::build(&job.model, format, &[])?;
            let named = Tensor::read_safetensors(saved.model()).torch()?;
            torchscript(&*model, &named, format.shape, &description)?
        }
    };
    let left_out = additions(&saved, &job)?;
    replace(to, &bytes).map_err(|error| Error::file(to, error))?;
    Ok(Exported { description, left_out })
}

/// Returns what the answers add to the network, by the keys that ask for it; none if they add nothing yet.
fn additions(saved: &Saved, job: &Job) -> Result<Option<String>> {
    let effective = match &saved.manifest.job.effective {
        Some(saved) => Effective::deserialize(saved).map_err(Error::request)?,
        // A checkpoint of before `effective`: jobs with late labels alone had samples that await one.
        None => {
            Effective::new(job, open::method(job)?.views(), saved.sections.get(Section::Window).is_some())
        }
    };
    let format = &saved.manifest.job.format;
    let mut adaptation = Adaptation::new(job, &effective, format, Device::Cpu);
    adaptation.load_from(&saved.sections, format)?;
    let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
    if adaptation.present(compute).is_none() {
        return Ok(None);
    }
    let prior = match effective.prior {
        Prior::None => None,
        Prior::Present => Some("the class prior (answer.prior = \"present\")"),
        Prior::Labelled => Some("the class prior (answer.prior = \"labelled\")"),
        Prior::Uniform => Some("the class prior (answer.prior = \"uniform\")"),
    };
    let blend = effective.blend.then_some("the experts (answer.blend)");
    Ok(Some(Vec::from_iter(prior.into_iter().chain(blend)).join(" and ")))
}

//! Writes a checkpoint's network for other programs.

use crate::engine::checkpoint::{Pick, Saved};
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
use sluicebox_learn::adapt::frozen::Frozen;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::model;
use sluicebox_learn::model::export::description::Description;
use sluicebox_learn::model::export::safetensors::described;
use sluicebox_learn::model::export::torchscript::torchscript;
use sluicebox_learn::standardise::Scale;
use sluicebox_learn::torch::TorchResult;
use sluicebox_learn::weights::safetensors;
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
    /// What the job's answers add to the network; none if they add nothing.
    pub additions: Option<String>,
}

/// Writes the network of a checkpoint in the state folder `state` to the file `to`; with `answer`, also what the job's
/// answers add to it.
pub fn saved(state: &Path, pick: Pick, to: &Path, form: Form, answer: bool) -> Result<Exported> {
    if answer && form == Form::Torchscript {
        let reason = "a TorchScript file holds the network alone: with --answer, write a .safetensors file";
        return Err(Error::file(to, reason));
    }
    let saved = pick.read(state)?;
    let (job, format) = (job_of(&saved)?, &saved.manifest.job.format);
    let mut model_of_job = saved.manifest.job.resolved.get("model").cloned().unwrap_or_default();
    let (effective, mut adaptation) = adapted(&saved, &job)?;
    let scale = adaptation.scale(Device::Cpu);
    let mut spec = job.model.clone();
    if let Some(scale) = &scale {
        // For other programs the scale of the input is a part of the network.
        let normalise = scale.normalise().torch()?;
        spec.options.insert("normalise".into(), toml::Value::try_from(&normalise).map_err(Error::request)?);
        model_of_job["normalise"] = serde_json::to_value(&normalise).map_err(Error::request)?;
    }
    let mut description = Description::new(format, saved.manifest.step, model_of_job)?;
    let seen = State::load_from(&saved.sections)?;
    description.accuracy = seen.accuracy;
    description.network_accuracy = seen.network.accuracy();
    description.evaluated_step = seen.network.evaluated.map(|last| last.steps);
    let correction = adaptation.present();
    if answer && correction.as_ref().is_some_and(|correction| correction.prototypes.is_some()) {
        let reason = "the job answers by prototypes, which an exported answer does not hold: export the network without --answer";
        return Err(Error::file(to, reason));
    }
    let named = || {
        let network = Tensor::read_safetensors(saved.model()).torch()?;
        Ok::<_, Error>(Vec::from_iter(network.into_iter().chain(scale.iter().flat_map(Scale::named))))
    };
    let bytes = match form {
        Form::Safetensors => {
            let path = saved.model();
            let mut bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
            let mut entries = description.entries()?;
            let frozen = answer.then(|| Frozen::new(correction.as_ref())).transpose()?;
            if let Some(frozen) = &frozen {
                let about = serde_json::to_string(&frozen.about).map_err(Error::request)?;
                entries.insert("answer".into(), about);
            }
            let added = frozen.map(|frozen| frozen.tensors).unwrap_or_default();
            if scale.is_some() || !added.is_empty() {
                bytes = safetensors(&Vec::from_iter(named()?.into_iter().chain(added)))?;
            }
            described(&bytes, &entries)?
        }
        Form::Torchscript if job.model.kind == "torchscript" => {
            let reason = "the job's network is a TorchScript file already: export its weights to a .safetensors file \
                          and load them into your module";
            return Err(Error::file(to, reason));
        }
        Form::Torchscript => {
            // The heads of a method are for training only.
            let model = model::build(&spec, format, &[])?;
            torchscript(&*model, &named()?, format.shape, &description)?
        }
    };
    replace(to, &bytes).map_err(|error| Error::file(to, error))?;
    let additions = correction.map(|_| additions(&effective));
    Ok(Exported { description, additions })
}

/// Returns the settings of a checkpoint's job, and what it added to its network.
fn adapted(saved: &Saved, job: &Job) -> Result<(Effective, Adaptation)> {
    let effective = match &saved.manifest.job.effective {
        Some(saved) => Effective::deserialize(saved).map_err(Error::request)?,
        // A checkpoint of before `effective`: jobs with late labels alone had samples that await one.
        None => {
            Effective::new(job, open::method(job)?.views(), saved.sections.get(Section::Window).is_some())
        }
    };
    let format = &saved.manifest.job.format;
    let mut adaptation = Adaptation::new(job, &effective, format);
    adaptation.load_from(&saved.sections, format)?;
    Ok((effective, adaptation))
}

/// Returns what the answers add to the network, by the keys that ask for it.
fn additions(effective: &Effective) -> String {
    let prior = match effective.prior {
        Prior::None => None,
        Prior::Present => Some("the class prior (answer.prior = \"present\")"),
        Prior::Labelled => Some("the class prior (answer.prior = \"labelled\")"),
        Prior::Uniform => Some("the class prior (answer.prior = \"uniform\")"),
        Prior::Blank => Some("the correction by a blank sample (answer.prior = \"blank\")"),
    };
    let blend = effective.blend.then_some("the experts (answer.blend)");
    Vec::from_iter(prior.into_iter().chain(blend)).join(" and ")
}

//! What every model of a job may have beside its own options: weights to start from, parts that stay as they are, parts
//! that learn more slowly, and a normalised input.

use crate::model::layout::{Init, Layout, Slot};
use crate::model::normalise::{self, Normalise};
use crate::torch::TorchResult;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Keys of `[model]` that every model has.
pub const KEYS: [&str; 4] = ["init", "frozen", "rates", "normalise"];
/// Those of them that a resumed job may change.
pub const CHANGEABLE: [&str; 3] = ["init", "frozen", "rates"];

/// Options that every model has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// Weights to start from: a `.safetensors` file with PyTorch's names. What does not fit is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Parts whose weights stay as they are: the beginnings of their names, such as "layer1".
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// Factor on the learning rate of each part, named like those of `frozen`; the longest name that fits counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// Mean and deviation of each channel, by which the network normalises its input; a part of its function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
}

impl sluicebox_core::config::document::Settings for Start {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let bad = self.rates.iter().find(|(_, rate)| !(0.0..=1000.0).contains(*rate));
        let bad = bad.map(|(part, rate)| ("rates", format!("{part} = {rate} must be from 0 to 1000")));
        let normalise = self.normalise.as_ref().and_then(Normalise::fault);
        bad.into_iter().chain(normalise.map(|reason| ("normalise", reason))).collect()
    }
}

/// Splits a spec into the model's own options and those that every model has.
pub fn split(spec: &Spec) -> Result<(Spec, Start)> {
    let is_common = |(key, _): &(String, toml::Value)| KEYS.contains(&key.as_str());
    let (common, own): (toml::Table, toml::Table) = spec.options.clone().into_iter().partition(is_common);
    let start: std::result::Result<Start, toml::de::Error> = common.try_into();
    let start = start.map_err(|error| Error::request(format!("model: {}", error.message())))?;
    Ok((Spec { kind: spec.kind.clone(), options: own }, start))
}

impl Start {
    /// Returns the factor on the learning rate of each parameter, in the order of the flat tensor; none if all are 1.
    /// Fails if a name fits none.
    pub fn rates(&self, layout: &Layout) -> Result<Option<Vec<f32>>> {
        let frozen = self.frozen.iter().map(|part| ("frozen", part, 0.0));
        let parts: Vec<_> =
            self.rates.iter().map(|(part, rate)| ("rates", part, *rate)).chain(frozen).collect();
        if parts.is_empty() {
            return Ok(None);
        }
        for (key, part, _) in &parts {
            if !layout.parameters.iter().any(|slot| is_in(&slot.name, part)) {
                let known: BTreeSet<&str> = layout
                    .parameters
                    .iter()
                    .filter_map(|slot| slot.name.rsplit_once('.'))
                    .map(|(part, _)| part)
                    .collect();
                let known: Vec<&str> = known.into_iter().collect();
                let reason = format!(
                    "model.{key}: the model has no part `{part}`; its parts are {}",
                    known.join(", ")
                );
                return Err(Error::Request(reason));
            }
        }
        let rate = |slot: &Slot| {
            let fitting = parts.iter().filter(|(_, part, _)| is_in(&slot.name, part));
            // Of two names that are alike the later counts: frozen.
            fitting.max_by_key(|(_, part, _)| part.len()).map_or(1.0, |(_, _, rate)| *rate as f32)
        };
        let order = layout.by_offset().into_iter().map(|index| &layout.parameters[index]);
        Ok(Some(order.flat_map(|slot| std::iter::repeat_n(rate(slot), slot.len() as usize)).collect()))
    }

    /// Returns `layout` with the first weights of the file `init`, and a message that says what did not fit; none without
    /// such a file. Fails if nothing fits.
    pub fn first(&self, layout: &Layout) -> Result<Option<(Layout, String)>> {
        let Some(path) = &self.init else { return Ok(None) };
        let named = read(path)?;
        let mut layout = layout.clone();
        let (mut absent, mut unlike, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        let buffers = layout.buffers.iter_mut().filter(|slot| !normalise::is_own(&slot.name));
        for slot in layout.parameters.iter_mut().chain(buffers) {
            match named.get(&slot.name) {
                Some(tensor) if tensor.size() == slot.shape => {
                    slot.init = Init::given(&tensor.to_kind(slot.kind));
                    taken.insert(slot.name.clone());
                }
                Some(tensor) => {
                    unlike.push(format!("{} ({:?} instead of {:?})", slot.name, tensor.size(), slot.shape))
                }
                None => absent.push(slot.name.clone()),
            }
        }
        // PyTorch's batch norm counts its steps; nothing here reads that.
        let unused =
            named.keys().filter(|name| !taken.contains(*name) && !name.ends_with("num_batches_tracked"));
        let unused = unused.filter(|name| !unlike.iter().any(|other| other.starts_with(&format!("{name} "))));
        let unused: Vec<String> = unused.cloned().collect();
        if taken.is_empty() {
            let reason = format!(
                "none of its tensors has name and shape of one of the model's: it has {}; the model has {}",
                some(&unused),
                some(&absent)
            );
            return Err(Error::file(path, reason));
        }
        let mut told = format!("model.init: {} tensors are from {}", taken.len(), path.display());
        for (what, names) in [("not in it", &absent), ("of another shape", &unlike), ("not used", &unused)] {
            if !names.is_empty() {
                told.push_str(&format!("; {what}: {}", some(names)));
            }
        }
        Ok(Some((layout, told)))
    }
}

/// Reads the tensors of a file; `module.`, which PyTorch's `DataParallel` puts before names, is left out.
fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let named = Tensor::read_safetensors(path).torch().map_err(|error| Error::file(path, error))?;
    let wrapped = !named.is_empty() && named.iter().all(|(name, _)| name.starts_with("module."));
    let plain = |name: String| if wrapped { name["module.".len()..].to_string() } else { name };
    let plain_kind = |tensor: &Tensor| {
        matches!(tensor.kind(), Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double | Kind::Int64)
    };
    Ok(named
        .into_iter()
        .filter(|(_, tensor)| plain_kind(tensor))
        .map(|(name, tensor)| (plain(name), tensor))
        .collect())
}

/// Returns whether the tensor `name` belongs to a part: `layer1.0.conv1.weight` to `layer1` and to `layer1.0`.
fn is_in(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns the first names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

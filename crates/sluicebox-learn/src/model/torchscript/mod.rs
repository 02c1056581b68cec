//! A user's own network: a TorchScript file, trained in place. Its parameters and buffers lie in the
//! flat weights by name, like any model's; before each pass the module's own tensors are pointed at the
//! weights that the pass uses.
//!
//! The module takes `[N, …]` f32 and returns logits `[N, C]`, or logits and features `[N, F]`. Without
//! features, the logits serve as features. It computes in f32 whatever the job's precision, since it is
//! unknown which precision a user's network tolerates.
//!
//! A module that was traced in the wrong mode computes something else than its author meant, without a word. It is found
//! when the model is built: [`trial`].

mod archive;
mod trial;

use crate::device::{Compute, Precision};
use crate::generator::seeded;
use crate::model::api::{Model, Output};
use crate::model::layout::{Init, Layout};
use crate::torch::{TorchResult, copied, first_line};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicebox_core::config::document::{Document, Section};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Format;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use tch::{CModule, Device, IValue, Kind, Tensor};

/// Options of the model.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Path of the file, as `torch.jit.save` writes it.
    pub path: PathBuf,
    /// SHA-256 of the file's contents; by default, of its present contents. A saved state resumes only
    /// with the same file.
    #[serde(default)]
    pub sha256: String,
}

impl sluicebox_core::config::document::Settings for Settings {
    fn changeable() -> &'static [&'static str] {
        &["path"]
    }
}

/// Types the options and records the file's SHA-256.
pub fn resolve(document: &mut Document, section: Section<'_>) -> Option<toml::Table> {
    let mut settings: Settings = document.read(section.clone())?;
    if settings.sha256.is_empty() {
        match std::fs::read(&settings.path) {
            Ok(bytes) => settings.sha256 = sha256(&bytes),
            Err(error) => {
                let reason = format!("cannot read {}: {error}", settings.path.display());
                document.fault(&section, "path", reason);
            }
        }
    }
    toml::Table::try_from(&settings).ok()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One instance of the module. Its tensors are pointed at other weights for each pass.
struct Instance {
    path: PathBuf,
    module: CModule,
    /// Indices, among the tensors that the module names, of the layout's parameters and buffers, in the
    /// layout's order.
    parameters: Vec<usize>,
    buffers: Vec<usize>,
    /// Number types of the module's buffers. In the flat weights every whole number is an i64.
    kinds: Vec<Kind>,
}

struct TorchScript {
    layout: Layout,
    /// For the student, in training mode.
    training: Instance,
    /// For teacher, evaluation and predictions, in evaluation mode.
    inference: Instance,
    features: i64,
    least_batch: u64,
    /// For the next training pass: dropout draws from libtorch's generator.
    seed: Cell<i64>,
}

/// Makes the model for samples of a format.
pub fn build(spec: &Spec, format: &Format) -> Result<Box<dyn Model>> {
    let Settings { path, sha256: known } = settings(spec)?;
    let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
    let found = sha256(&bytes);
    if found != known {
        let reason = format!("its SHA-256 is {found}, but the job began with {known}; put that file back");
        return Err(Error::file(&path, reason));
    }
    let (whole, layers) = archive::with_buffers_named(&bytes).map_err(|reason| foreign(&path, &reason))?;
    let mut training = Instance::load(&path, &whole)?;
    let mut inference = Instance::load(&path, &whole)?;
    let layout = training.find()?;
    inference.find()?;
    training.module.f_set_train().torch()?;
    inference.module.f_set_eval().torch()?;
    let classes = format.classes.len() as i64;
    let batch = trial::batch(format.shape);
    let two = batch.narrow(0, 0, 2);
    let widths =
        seeded(0, || tch::no_grad(|| [&training, &inference].map(|instance| instance.widths(&two, classes))));
    let [trained, inferred] = widths;
    let (trained, inferred) = (trained?, inferred?);
    if trained != inferred {
        let reason = format!("it returns {trained} features in training and {inferred} in evaluation");
        return Err(Error::file(&path, reason));
    }
    let passes = Cell::new(0);
    let logits = |instance: &Instance, batch: &Tensor| {
        passes.set(passes.get() + 1); // another seed each time shows a module that draws in evaluation mode
        let output = seeded(passes.get(), || tch::no_grad(|| instance.forward(&batch.copy())));
        output.map(|(logits, _)| logits).map_err(|reason| Error::file(&path, reason))
    };
    trial::answers_each_sample_alone(&batch, |batch| logits(&inference, batch))
        .and_then(|answers| {
            // A network that says the same of all samples, as one whose last layer begins at 0, tells nothing.
            let tells = !trial::is_same(&answers, &answers.roll([1], [0]));
            let frozen = !layers.is_empty() && tells && trial::is_same(&answers, &logits(&training, &batch)?);
            trial::check_modes(frozen.then_some(&layers), &layout)
        })
        .map_err(|error| match error {
            Error::Request(reason) => Error::file(&path, reason),
            other => other,
        })?;
    // Batch norm of vectors refuses a single sample.
    let least_batch = if logits(&training, &batch.narrow(0, 0, 1)).is_ok() { 1 } else { 2 };
    Ok(Box::new(TorchScript {
        layout,
        training,
        inference,
        features: trained,
        least_batch,
        seed: Cell::new(0),
    }))
}

fn foreign(path: &Path, reason: &str) -> Error {
    let todo = "save it with torch.jit.save(torch.jit.script(module), …)";
    Error::file(path, format!("is not a TorchScript module ({}); {todo}", first_line(reason)))
}

impl Instance {
    fn load(path: &Path, whole: &[u8]) -> Result<Self> {
        let loaded = CModule::load_data_on_device(&mut &*whole, Device::Cpu);
        let module = loaded.map_err(|error| foreign(path, &error.to_string()))?;
        let (parameters, buffers, kinds) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { path: path.to_path_buf(), module, parameters, buffers, kinds })
    }

    /// Finds the module's tensors and returns their layout, initialised with their present values.
    /// Tensors that require a gradient become parameters, all others buffers.
    fn find(&mut self) -> Result<Layout> {
        let named = self.module.named_parameters().torch()?;
        let mut layout = Layout::default();
        let mut seen = Vec::new();
        let integers_first = |index: &usize| !is_whole(named[*index].1.kind());
        let mut order: Vec<usize> = (0..named.len()).collect();
        order.sort_by_key(integers_first); // an i64 must start at an even place
        for index in order {
            let (name, tensor) = &named[index];
            let kind = tensor.kind();
            let tensor = match kind {
                Kind::Float => tensor.shallow_clone(),
                kind if is_whole(kind) => tensor.to_kind(Kind::Int64),
                kind => {
                    let reason = format!(
                        "`{name}` is {kind:?}, but weights must be float32 (call module.float()), and other buffers \
                         whole numbers or bool"
                    );
                    return Err(Error::file(&self.path, reason));
                }
            };
            // A tensor with two names is one weight, under the first name.
            let place = named[index].1.data_ptr();
            if tensor.numel() > 0 && seen.contains(&place) {
                continue;
            }
            seen.push(place);
            let (name, shape, init) = (name.clone(), tensor.size(), Init::given(&tensor.detach()));
            if tensor.requires_grad() {
                self.parameters.push(index);
                layout.parameter(name, &shape, init);
            } else {
                self.buffers.push(index);
                self.kinds.push(kind);
                layout.buffer(name, &shape, tensor.kind(), init);
            }
        }
        if self.parameters.is_empty() {
            let reason =
                "none of its parameters requires a gradient: the module is frozen, or has no parameters";
            return Err(Error::file(&self.path, reason));
        }
        Ok(layout.arranged())
    }

    /// Runs `batch` `[N, …]`, checks the output and returns the number of features.
    fn widths(&self, batch: &Tensor, classes: i64) -> Result<i64> {
        let (logits, features) = self.forward(batch).map_err(|reason| Error::file(&self.path, reason))?;
        let count = batch.size()[0];
        if logits.size() != [count, classes] {
            let reason = format!(
                "for {count} samples it returns logits of shape {:?}, but it must be {:?}: one per class",
                logits.size(),
                [count, classes]
            );
            return Err(Error::file(&self.path, reason));
        }
        match features.size()[..] {
            [rows, width] if rows == count => Ok(width),
            _ => {
                let reason =
                    format!("its features have shape {:?}, but it must be [samples, …]", features.size());
                Err(Error::file(&self.path, reason))
            }
        }
    }

    /// Returns logits `[N, C]` f32 and features `[N, F]` of a batch, or what is wrong.
    fn forward(&self, batch: &Tensor) -> Result<(Tensor, Tensor), String> {
        // Makes all runs compute alike: an optimised graph depends on the first runs, and a resumed job
        // has other first runs.
        tch::jit::f_set_graph_executor_optimize(false).map_err(|error| error.to_string())?;
        let output = self.module.forward_is(&[IValue::Tensor(batch.shallow_clone())]);
        let parts =
            match output.map_err(|error| format!("its forward pass fails: {}", cause(&error.to_string())))? {
                IValue::Tensor(logits) => vec![IValue::Tensor(logits)],
                IValue::Tuple(parts) => parts,
                other => vec![other],
            };
        match &parts[..] {
            [IValue::Tensor(logits)] => Ok((logits.to_kind(Kind::Float), logits.shallow_clone())),
            [IValue::Tensor(logits), IValue::Tensor(features)] if features.dim() > 1 => {
                Ok((logits.to_kind(Kind::Float), features.flatten(1, -1)))
            }
            _ => Err("it must return logits, or a tuple of logits and features".into()),
        }
    }

    /// Returns the module's own tensors for the layout's parameters and for its buffers.
    fn tensors(&self) -> (Vec<Tensor>, Vec<Tensor>) {
        let named = self.module.named_parameters().unwrap_or_default();
        let of = |places: &[usize]| places.iter().map(|place| named[*place].1.shallow_clone()).collect();
        (of(&self.parameters), of(&self.buffers))
    }

    /// Returns buffers in the module's own number types.
    fn in_own_types(&self, buffers: &[Tensor]) -> Vec<Tensor> {
        buffers.iter().zip(&self.kinds).map(|(buffer, kind)| buffer.to_kind(*kind)).collect()
    }

    fn output(&self, batch: &Tensor) -> Output {
        // The module passed this when it was built; if the engine fails now, the operator reports the panic.
        let forward = self.forward(&batch.to_kind(Kind::Float));
        let (logits, features) = forward.unwrap_or_else(|reason| panic!("{}: {reason}", self.path.display()));
        Output { logits, features, heads: Vec::new() }
    }
}

/// Returns the last line of TorchScript's traceback, which holds the cause.
fn cause(traceback: &str) -> String {
    let mut lines = traceback.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next_back().unwrap_or_default().to_string()
}

/// Returns whether numbers of a type are whole, so that an i64 holds them.
fn is_whole(kind: Kind) -> bool {
    matches!(kind, Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 | Kind::Bool)
}

/// Points a module's tensors at the memory of others.
fn point(own: Vec<Tensor>, at: &[Tensor]) -> Vec<Tensor> {
    let pairs = own.into_iter().zip(at);
    pairs
        .map(|(mut own, at)| {
            own.set_data(&at.detach());
            own
        })
        .collect()
}

impl Model for TorchScript {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn compute(&self, compute: Compute) -> Compute {
        Compute { precision: Precision::F32, ..compute }
    }

    fn leaves(&self, views: Vec<Tensor>, draws: &mut Draws) -> Vec<Tensor> {
        self.seed.set(draws.random());
        let own = point(self.training.tensors().0, &views);
        own.into_iter().chain(views.into_iter().skip(self.layout.parameters.len())).collect()
    }

    fn least_batch(&self) -> u64 {
        self.least_batch
    }

    fn train(&self, _parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, _passes: u64) -> Output {
        point(self.training.tensors().1, &self.training.in_own_types(buffers));
        let output = seeded(self.seed.get(), || self.training.output(input));
        // A module may replace a buffer by a new tensor instead of changing it in place, and one of another type is a
        // copy.
        for (now, buffer) in self.training.tensors().1.iter().zip(buffers) {
            if now.data_ptr() != buffer.data_ptr() {
                tch::no_grad(|| buffer.shallow_clone().copy_(now));
            }
        }
        output
    }

    fn fold(&self, _parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        let own = copies.into_iter().take(self.layout.parameters.len());
        own.chain(buffers.iter().map(copied)).collect()
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let (parameters, buffers) = folded.split_at(self.layout.parameters.len());
        let (own_parameters, own_buffers) = self.inference.tensors();
        point(own_parameters, parameters);
        point(own_buffers, &self.inference.in_own_types(buffers));
        // The module may change its input in place, and the samples of the stream are still needed.
        self.inference.output(&copied(input))
    }
}

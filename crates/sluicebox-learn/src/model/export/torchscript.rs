//! A network as a TorchScript file, which libtorch loads without Python, and `torch.jit.load` with it.
//!
//! The module takes samples `[N, …]` f32 as the job's network gets them, multiplied by the samples' scale, and
//! returns logits `[N, C]` f32. Its tensors have PyTorch's names; it can be trained further, also by a job with
//! `model.kind = "torchscript"`.
//!
//! libtorch's C interface traces a function, but gives the module that it makes no tensors of its own. So the
//! training pass is traced as a function of samples and weights; in the source of what was traced, the weights become
//! the tensors of modules, and batch norm asks `self.training` which statistics it takes.

use crate::model::api::Model;
use crate::model::export::description::Description;
use crate::model::export::parts::{Part, ROOT, expression};
use crate::model::export::pickle::Pickle;
use crate::model::layout::Slot;
use crate::torch::TorchResult;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use std::io::{Cursor, Read, Write};
use tch::{CModule, Device, Kind, Tensor};
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Entries of this size or more need the large-file format.
const LARGE: usize = u32::MAX as usize;

/// Returns the file of a network without heads. Its tensors are taken from `named`, by their names.
pub fn torchscript(
    model: &dyn Model,
    named: &[(String, Tensor)],
    shape: Shape,
    description: &Description,
) -> Result<Vec<u8>> {
    let layout = model.layout();
    let tensor = |slot: &Slot| {
        let found = named.iter().find(|(name, tensor)| *name == slot.name && tensor.size() == slot.shape);
        let reason = || Error::Request(format!("the model has no `{}` of shape {:?}", slot.name, slot.shape));
        found.map(|(_, tensor)| tensor.contiguous()).ok_or_else(reason)
    };
    let slots = layout.parameters.iter().chain(&layout.buffers);
    let tensors = slots.map(tensor).collect::<Result<Vec<_>>>()?;
    let forward = forward(&traced(model, &tensors, shape)?, model)?;
    let root = Part::of(&layout.parameters, &layout.buffers);
    let mut values = Pickle::new();
    root.pickle(&mut values);
    let mut constants = Pickle::new();
    constants.nothing();
    let description = serde_json::to_vec_pretty(description).map_err(Error::request)?;
    let mut file = ZipWriter::new(Cursor::new(Vec::new()));
    let mut entry = |name: &str, bytes: &[u8]| {
        let options = FileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default()) // so that a file is repeatable
            .large_file(bytes.len() >= LARGE);
        file.start_file(format!("network/{name}"), options).map_err(Error::request)?;
        file.write_all(bytes).map_err(Error::request)
    };
    entry("version", b"3\n")?;
    entry("byteorder", b"little")?;
    entry("data.pkl", &values.end())?;
    entry("constants.pkl", &constants.end())?;
    entry("code/__torch__.py", root.source(&forward).as_bytes())?;
    entry("extra/sluicebox.json", &description)?;
    for (index, tensor) in tensors.iter().enumerate() {
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).torch()?;
        entry(&format!("data/{index}"), &bytes)?;
    }
    file.finish().map(Cursor::into_inner).map_err(Error::request)
}

/// Number of passes before the traced one: batch norm has its own momentum then, not that of the slow start.
const LATE: u64 = 1 << 40;

/// Returns the source of the training pass as a function of samples and weights.
fn traced(model: &dyn Model, tensors: &[Tensor], shape: Shape) -> Result<String> {
    let parameters = model.layout().parameters.len();
    let samples = Tensor::zeros(shape.batch(2).as_slice(), (Kind::Float, Device::Cpu));
    // The pass changes running statistics.
    let inputs: Vec<Tensor> = std::iter::once(samples).chain(tensors.iter().map(Tensor::copy)).collect();
    let mut pass = |inputs: &[Tensor]| {
        let (parameters, buffers) = inputs[1..].split_at(parameters);
        vec![model.train(parameters, buffers, &inputs[0], LATE).logits]
    };
    let module = tch::no_grad(|| CModule::create_by_tracing(ROOT, "forward", &inputs, &mut pass)).torch()?;
    let folder = tempfile::tempdir().map_err(Error::request)?;
    let path = folder.path().join("traced.pt");
    module.save(&path).torch()?;
    let mut archive = ZipArchive::new(std::fs::File::open(&path).map_err(|error| Error::file(&path, error))?)
        .map_err(|error| Error::file(&path, error))?;
    let names: Vec<String> = archive.file_names().map(String::from).collect();
    let code = names.iter().find(|name| name.contains("/code/") && name.ends_with(".py"));
    let mut entry = archive.by_name(code.map_or("", String::as_str)).map_err(Error::request)?;
    let mut source = String::new();
    entry.read_to_string(&mut source).map_err(Error::request)?;
    Ok(source)
}

/// Returns the method `forward` of the network from the source of what was traced.
fn forward(source: &str, model: &dyn Model) -> Result<String> {
    let other =
        |what: &str| Error::Engine(format!("libtorch writes a traced function otherwise than known: {what}"));
    let (_, signature) = source.split_once("def forward(").ok_or_else(|| other("no forward"))?;
    let (arguments, body) = signature.split_once(") -> Tensor:\n").ok_or_else(|| other("no result"))?;
    let names: Vec<&str> =
        arguments.split(',').filter_map(|argument| Some(argument.split_once(':')?.0.trim())).collect();
    let layout = model.layout();
    let slots: Vec<_> = layout.parameters.iter().chain(&layout.buffers).collect();
    if names.len() != slots.len() + 2 || body.contains("CONSTANTS") {
        return Err(other("its arguments"));
    }
    // A conversion to f32 names the device on which it was traced.
    let mut body = body.replace(", layout=0, device=torch.device(\"cpu\"))", ")");
    if body.contains("torch.device") {
        return Err(other("a device"));
    }
    let mut text = format!("  def forward(self: __torch__.{ROOT},\n    {}: Tensor) -> Tensor:\n", names[1]);
    for (name, slot) in names[2..].iter().zip(slots) {
        text += &format!("    {name} = {}\n", expression(&slot.name));
        if slot.name.ends_with("running_var") {
            let in_training = format!(" {name}, True, ");
            if body.matches(&in_training).count() != 1 {
                return Err(other("batch norm"));
            }
            body = body.replace(&in_training, &format!(" {name}, self.training, "));
        }
    }
    Ok(text + &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision};
    use crate::messages::Weights;
    use crate::model;
    use crate::model::export::description::tests::described;
    use crate::weights::{Replica, named};
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::rng::{Randomness, Stage};
    use sluicebox_core::sample::{Dtype, Format};

    /// Every built-in network, in evaluation and in training: logits, gradient and running statistics.
    #[test]
    fn every_network_computes_the_same_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let image = |side| Shape::Image { channels: 3, height: side, width: side };
        let cases = [
            ("convnet", "", image(8)),
            ("convnet", "", image(28)),
            ("convnet", "layers = [4, 0, 6]\nhead = \"average\"", image(10)),
            ("mlp", "hidden = [7]", Shape::Vector { features: 5 }),
            ("mlp", "hidden = []", image(4)),
            (
                "convnet",
                "layers = [4]\nnormalise = { mean = [0.4, 0.5, 0.6], deviation = [0.2, 0.3, 0.4] }",
                image(8),
            ),
            (
                "mlp",
                "hidden = [7]\nnormalise = { mean = [1, 2, 0, 0, 3], deviation = [1, 2, 1, 1, 3] }",
                Shape::Vector { features: 5 },
            ),
            ("resnet18", "width = 4", image(12)),
            ("wide-resnet", "depth = 10\nwidth = 1\nepsilon = 0.002\nmomentum = 0.1", image(9)),
        ];
        for (at, (kind, options, shape)) in cases.into_iter().enumerate() {
            let description = described(shape);
            let format = Format { shape, dtype: Dtype::U8, scale: 1.0, classes: description.classes.clone() };
            let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
            let model = model::build(&spec, &format, &[]).unwrap();
            let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
            let mut draws = Randomness::new(at as u64, 0).at(0, Stage::Weights);
            let first = Replica::first(model.layout(), compute, &mut draws);
            let buffers = model.layout().buffers.iter().zip(first.buffers());
            for (_, buffer) in buffers.filter(|(slot, _)| !model::normalise::is_own(&slot.name)) {
                let _ = buffer.shallow_clone().uniform_(0.5, 1.5);
            }
            let weights =
                Weights { step: 3, parameters: first.parameters.copy(), buffers: first.buffers.copy() };
            let tensors = named(model.layout(), &weights);
            let bytes = torchscript(&*model, &tensors, shape, &description).unwrap();
            assert!(
                bytes == torchscript(&*model, &tensors, shape, &description).unwrap(),
                "{kind}: repeatable"
            );
            assert!(!String::from_utf8_lossy(&bytes).contains("device"), "{kind}: it runs on any device");
            let path = folder.path().join(format!("{at}.pt"));
            std::fs::write(&path, &bytes).unwrap();

            let named = CModule::load(&path).unwrap().named_parameters().unwrap();
            let parameters = &model.layout().parameters;
            assert!(parameters.iter().all(|slot| named.iter().any(|(name, _)| *name == slot.name)), "{kind}");
            let options = format!("path = {path:?}\nsha256 = \"{}\"", sha256(&bytes));
            let spec = Spec { kind: "torchscript".into(), options: options.parse().unwrap() };
            let other = model::build(&spec, &format, &[]).unwrap();
            let second = Replica::first(other.layout(), compute, &mut draws);
            let near = |one: &Tensor, two: &Tensor| {
                assert!(one.allclose(two, 1e-5, 1e-5, false), "{kind} {options}")
            };
            let input = Tensor::rand(shape.batch(6).as_slice(), (Kind::Float, Device::Cpu));
            let infer = |model: &dyn Model, replica: &Replica| {
                let copies = replica.copies(Kind::Float);
                model.infer(&model.fold(replica.parameters(), replica.buffers(), copies), &input).logits
            };
            near(&infer(&*model, &first), &infer(&*other, &second));
            let trained = |model: &dyn Model, replica: &Replica| {
                let leaves = model.leaves(replica.leaves(), &mut Randomness::new(0, 0).at(0, Stage::Weights));
                let output = model.train(&leaves, replica.buffers(), &input, LATE);
                let loss = output.logits.softmax(1, Kind::Float).pow_tensor_scalar(2).sum(Kind::Float);
                (
                    output.logits.detach(),
                    replica.flatten(&Tensor::run_backward(&[loss], &leaves, false, false)),
                )
            };
            let ((one, gradient), (two, other_gradient)) =
                (trained(&*model, &first), trained(&*other, &second));
            near(&one, &two);
            near(&gradient.abs().sum(Kind::Float), &other_gradient.abs().sum(Kind::Float));
            let sorted = |replica: &Replica| replica.buffers.sort(0, false).0;
            near(&sorted(&first), &sorted(&second));
        }
    }

    fn sha256(bytes: &[u8]) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

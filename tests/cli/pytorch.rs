//! Exported networks in PyTorch, by the package in `python` and by the code from docs/pytorch.md.

use crate::python::{printed, python};
use crate::support::{output, root};
use serde_json::Value;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::messages::Weights;
use sluicebox_learn::model::export::description::Description;
use sluicebox_learn::model::export::safetensors::described;
use sluicebox_learn::model::export::torchscript::torchscript;
use sluicebox_learn::weights::{Replica, named, safetensors};
use sluicebox_learn::{method, model};
use tch::{Device, Kind, Tensor};

#[test]
fn an_exported_model_is_read_by_the_code_of_the_documentation() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let sets = ["--set", "stop.epochs=2", "--set", "precision=f32", "--set", "threads=1"];
    let (code, stdout, stderr) = output(
        &[&["run", "pipelines/digits.toml"], &sets[..], &["--state", state.to_str().unwrap()]].concat(),
    );
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    for file in ["model.safetensors", "model.pt"] {
        let to = folder.path().join(file);
        let (code, _, stderr) = output(&["export", state.to_str().unwrap(), "--to", to.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
    }
    let page = std::fs::read_to_string(root().join("docs/pytorch.md")).unwrap();
    let code = page.split("```python\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    let samples = "import torch\nsamples = torch.randint(17, (5, 1, 8, 8), dtype=torch.uint8)\n";
    let check = "\nprint(probabilities.shape == (5, 10), about.network_accuracy, about.classes[9], about.step)\n\
                 print((scripted - network(samples.float() * about.scale)).abs().max().item() < 1e-5)\n";
    let text = printed(&python, folder.path(), &format!("{samples}{code}{check}"));
    assert!(summary["network_accuracy"].as_f64().unwrap() > 0.5);
    assert_eq!(text, format!("True {} 9 200\nTrue\n", summary["network_accuracy"]));
}

/// Every built-in network in both forms, with the heads of a method in the weights.
#[test]
fn every_network_is_the_same_in_pytorch() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = |side| Shape::Image { channels: 3, height: side, width: side };
    let cases = [
        ("convnet", "layers = []\nhead = \"auto\"", image(8)),
        ("convnet", "layers = [4, 0, 6]\nhead = \"average\"", image(20)),
        ("mlp", "hidden = [7]", Shape::Vector { features: 5 }),
        ("resnet18", "width = 8", image(12)),
        ("wide-resnet", "depth = 10\nwidth = 1\nepsilon = 0.1\nmomentum = 0.01", image(9)),
        (
            "convnet",
            "layers = [4]\nrates = { features = 0.1 }\n\
             normalise = { mean = [0.5, 1.5, 2], deviation = [0.3, 1, 2] }",
            image(8),
        ),
        (
            "mlp",
            "hidden = [7]\nnormalise = { mean = [1, 2, 0, 0, 3], deviation = [1, 2, 1, 1, 3] }",
            Shape::Vector { features: 5 },
        ),
    ];
    let method = Spec { kind: "shrinkmatch".into(), options: toml::Table::new() };
    let heads = (method::METHODS.find("shrinkmatch").unwrap().build)(&method).unwrap().views().heads;
    assert!(!heads.is_empty());
    let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
    for (at, (kind, options, shape)) in cases.into_iter().enumerate() {
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let format = Format { shape, dtype: Dtype::U8, scale: 0.5, classes };
        let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
        let model = model::build(&spec, &format, heads).unwrap();
        let first = Replica::first(model.layout(), compute, &mut Randomness::new(9, 0).at(0, Stage::Weights));
        let buffers = model.layout().buffers.iter().zip(first.buffers());
        for (_, buffer) in buffers.filter(|(slot, _)| !model::normalise::is_own(&slot.name)) {
            let _ = buffer.shallow_clone().uniform_(0.5, 1.5);
        }
        let weights = Weights { step: 3, parameters: first.parameters.copy(), buffers: first.buffers.copy() };
        let samples = Tensor::randint(9, shape.batch(6).as_slice(), (Kind::Float, Device::Cpu));
        let folded = model.fold(first.parameters(), first.buffers(), first.copies(Kind::Float));
        let logits = model.infer(&folded, &(&samples * 0.5)).logits;
        let saved = [("samples".to_string(), samples), ("logits".to_string(), logits)];
        std::fs::write(path(&format!("{at}.out")), safetensors(&saved).unwrap()).unwrap();

        let mut about: toml::Table = options.parse().unwrap();
        about.insert("kind".into(), kind.into());
        let description = Description::new(&format, 3, serde_json::to_value(about).unwrap()).unwrap();
        let bytes = safetensors(&named(model.layout(), &weights)).unwrap();
        let bytes = described(&bytes, &description.entries().unwrap()).unwrap();
        std::fs::write(path(&format!("{at}.safetensors")), bytes).unwrap();
        let plain = model::build(&spec, &format, &[]).unwrap();
        let tensors = named(model.layout(), &weights);
        let script = torchscript(&*plain, &tensors, shape, &description).unwrap();
        std::fs::write(path(&format!("{at}.pt")), script).unwrap();
    }
    let code = "import json, torch\nfrom safetensors.torch import load_file\nfrom sluicebox.exported import load\n\
        for at in range(7):\n    expected = load_file(f'{at}.out')\n    network, about = load(f'{at}.safetensors')\n    \
        extra = {'sluicebox.json': ''}\n    script = torch.jit.load(f'{at}.pt', _extra_files=extra)\n    \
        assert json.loads(extra['sluicebox.json'])['model'] == about.model\n    \
        network.load_state_dict(script.state_dict())\n    \
        samples = expected['samples'] * about.scale\n    \
        gaps = [(net.eval()(samples) - expected['logits']).abs().max().item() for net in (network, script)]\n    \
        gaps.append((network.train()(samples) - script.train()(samples)).abs().max().item())\n    \
        print(about.model['kind'], max(gaps) < 1e-5, gaps)";
    let text = printed(&python, folder.path(), code);
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(text.lines().all(|line| line.contains("True")), "{text}");
}

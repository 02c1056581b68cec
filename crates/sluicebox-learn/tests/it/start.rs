//! Weights to start from, frozen parts, and rates of parts.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::model;
use sluicebox_learn::model::start::{Start, split};
use sluicebox_learn::weights::{Replica, named, safetensors};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

const COMPUTE: Compute = Compute { device: Device::Cpu, precision: Precision::F32 };

fn format(classes: usize) -> Format {
    let shape = Shape::Image { channels: 1, height: 8, width: 8 };
    let classes = (0..classes).map(|class| class.to_string()).collect();
    Format { shape, dtype: Dtype::F32, scale: 1.0, classes }
}

fn model(options: &str, classes: usize) -> (Box<dyn model::api::Model>, Start) {
    let spec = Spec { kind: "resnet18".into(), options: options.parse().unwrap() };
    (model::build(&spec, &format(classes), &[]).unwrap(), split(&spec).unwrap().1)
}

/// Writes a model's first weights with another seed, as PyTorch would name them.
fn file(path: &std::path::Path, classes: usize, prefix: &str) -> BTreeMap<String, Tensor> {
    let (other, _) = model("width = 4", classes);
    let first = Replica::first(other.layout(), COMPUTE, &mut Randomness::new(7, 0).at(0, Stage::Weights));
    let weights = sluicebox_learn::messages::Weights {
        step: 3,
        parameters: first.parameters.copy(),
        buffers: first.buffers.copy(),
    };
    let named = named(other.layout(), &weights);
    let renamed: Vec<(String, Tensor)> =
        named.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.shallow_clone())).collect();
    std::fs::write(path, safetensors(&renamed).unwrap()).unwrap();
    named.into_iter().collect()
}

#[test]
fn weights_are_taken_by_name_and_what_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pretrained.safetensors");
    for prefix in ["", "module."] {
        let theirs = file(&path, 10, prefix);
        let (model, start) = model(&format!("width = 4\ninit = \"{}\"", path.display()), 3);
        let (layout, told) = start.first(model.layout()).unwrap().unwrap();
        assert!(
            told.contains("of another shape: fc.weight ([10, 32] instead of [3, 32]), fc.bias"),
            "{told}"
        );
        assert!(!told.contains("not in it") && !told.contains("not used"), "{told}");
        let first = Replica::first(&layout, COMPUTE, &mut Randomness::new(0, 0).at(0, Stage::Weights));
        let slots = layout.parameters.iter().zip(first.parameters());
        let mut slots = slots.chain(layout.buffers.iter().zip(first.buffers()));
        let same = slots.all(|(slot, ours)| slot.name.starts_with("fc.") || ours.equal(&theirs[&slot.name]));
        assert!(same, "the weights are those of the file");
    }
    std::fs::write(&path, safetensors(&[("a".into(), Tensor::from_slice(&[1.0f32]))]).unwrap()).unwrap();
    let (model, start) = model(&format!("width = 4\ninit = \"{}\"", path.display()), 3);
    let refused = start.first(model.layout()).unwrap_err().to_string();
    assert!(
        refused.contains("none of its tensors") && refused.contains("it has a; the model has conv1"),
        "{refused}"
    );
}

#[test]
fn parts_have_rates_of_their_own() {
    let (model, start) =
        model("width = 4\nfrozen = [\"layer1\"]\nrates = { \"layer1.1\" = 0.5, fc = 2.0 }", 3);
    let rates = start.rates(model.layout()).unwrap().unwrap();
    let rate = |name: &str| {
        let slot = model.layout().parameters.iter().find(|slot| slot.name == name).unwrap();
        let part = &rates[slot.offset as usize..(slot.offset + slot.len()) as usize];
        assert!(part.iter().all(|rate| *rate == part[0]), "{name}");
        part[0]
    };
    assert_eq!(rate("layer1.0.conv1.weight"), 0.0);
    assert_eq!(rate("layer1.1.conv1.weight"), 0.5);
    assert_eq!((rate("layer2.0.bn1.bias"), rate("fc.bias")), (1.0, 2.0));
    let none = |options: &str| self::model(options, 3).1.rates(model.layout());
    assert!(none("width = 4").unwrap().is_none());
    let unknown = none("width = 4\nfrozen = [\"layer\"]").unwrap_err().to_string();
    assert!(
        unknown.contains("model.frozen: the model has no part `layer`; its parts are bn1, conv1, fc"),
        "{unknown}"
    );
}

#[test]
fn a_file_does_not_change_how_the_job_normalises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pretrained.safetensors");
    let mut theirs: Vec<(String, Tensor)> = file(&path, 10, "").into_iter().collect();
    theirs
        .extend(["mean", "deviation"].map(|name| (format!("normalise.{name}"), Tensor::from_slice(&[9f32]))));
    std::fs::write(&path, safetensors(&theirs).unwrap()).unwrap();
    let options = "normalise = { mean = [0.1], deviation = [0.2] }";
    let (model, start) = model(&format!("width = 4\ninit = \"{}\"\n{options}", path.display()), 10);
    let (layout, told) = start.first(model.layout()).unwrap().unwrap();
    assert!(told.contains("not used: normalise.deviation, normalise.mean"), "{told}");
    assert!(!told.contains("not in it") && !told.contains("another shape"), "{told}");
    let first = Replica::first(&layout, COMPUTE, &mut Randomness::new(0, 0).at(0, Stage::Weights));
    for (slot, ours) in layout.buffers.iter().zip(first.buffers()) {
        match slot.name.as_str() {
            "normalise.mean" => assert!(ours.equal(&Tensor::from_slice(&[0.1f32]))),
            "normalise.deviation" => assert!(ours.equal(&Tensor::from_slice(&[0.2f32]))),
            _ => {}
        }
    }
    assert_eq!(layout.buffers.len(), model.layout().buffers.len());
}

//! Results compared with PyTorch's; the script that made each golden file is in the same folder.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::messages::Scores;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::{Forward, LabelledForward};
use sluicebox_learn::model::MODELS;
use sluicebox_learn::model::api::Output;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_learn::pseudo_labels::Target;
use sluicebox_learn::weights::{Replica, from_named, named};
use std::collections::{BTreeMap, HashMap};
use tch::{Device, Kind, Tensor};

/// Passes before the one of a golden file: running statistics follow at their own momentum.
const LATER: u64 = 1 << 40;

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = crate::golden_folder().join(format!("{name}.safetensors"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn spec(kind: &str, options: &str) -> Spec {
    Spec { kind: kind.into(), options: options.parse().unwrap() }
}

fn close(found: &Tensor, expected: &Tensor, most: f64, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let gap = (found - expected).abs().max().double_value(&[]);
    assert!(gap <= most, "{what}: off by {gap:e}");
}

#[test]
fn optimisers_follow_pytorch_for_50_steps() {
    let golden = golden("optimisers");
    for (kind, options, rate, expected) in [
        ("sgd", "momentum = 0.9\nweight_decay = 0.01", 0.1, "sgd"),
        ("sgd", "momentum = 0.9\nweight_decay = 0.0", 0.1, "sgd_plain"),
        ("adamw", "weight_decay = 0.05", 0.01, "adamw"),
    ] {
        let mut parameters = golden["start"].copy();
        let build = OPTIMISERS.find(kind).unwrap().build;
        let mut optimiser = build(&spec(kind, options), &parameters).unwrap();
        for step in 0..50 {
            optimiser.step(&mut parameters, golden["gradients"].get(step).copy(), 20, rate);
            close(&parameters, &golden[expected].get(step), 2e-6, &format!("{expected}, step {step}"));
        }
    }
}

/// Returns the scores of a teacher whose probabilities are `rows` `[B, C]`.
fn scores_of(rows: Tensor) -> Scores {
    let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
    Scores {
        step: 0,
        unlabelled: vec![rows],
        input: none(),
        labelled: None,
        features: none(),
        heads: Vec::new(),
        alarm: false,
        ledger_stats: None,
    }
}

#[test]
fn fixmatch_follows_the_paper() {
    let golden = golden("fixmatch");
    let build = METHODS.find("fixmatch").unwrap().build;
    let method = build(&spec("fixmatch", "threshold = 0.95\nunlabelled_weight = 0.5")).unwrap();
    let scores = scores_of(golden["weak"].softmax(1, Kind::Float));
    let pseudo_labels = method.pseudo_labeller().pseudo_label(&scores);
    let accepted = pseudo_labels.accepted();
    assert!(accepted.equal(&golden["accepted"].to_kind(Kind::Bool)));
    assert!(pseudo_labels.class.equal(&golden["pseudo_labels"]));
    // Filtered to the accepted samples, and masked with all samples: both give the same numbers.
    let index = accepted.nonzero().view(-1);
    let all = Tensor::arange(8, (Kind::Int64, Device::Cpu));
    for rows in [index, all] {
        let strong = golden["strong"].copy().set_requires_grad(true);
        let labelled = golden["labelled"].copy().set_requires_grad(true);
        let output = |logits: Tensor| Output { features: logits.shallow_clone(), logits, heads: Vec::new() };
        let loss = method
            .loss(Forward {
                labelled: Some(LabelledForward::new(
                    output(labelled.shallow_clone()),
                    Target::Hard(golden["labels"].shallow_clone()),
                    &golden["labels"],
                )),
                strong: vec![output(strong.index_select(0, &rows))],
                target: pseudo_labels.target.map(|all| all.index_select(0, &rows)),
                further_targets: Vec::new(),
                weight: pseudo_labels.weight.index_select(0, &rows),
                batch: 8.0,
                rows: BTreeMap::new(),
                constants: &BTreeMap::new(),
                draws: Randomness::new(0, 0).at(0, Stage::Student),
            })
            .unwrap();
        close(&loss.labelled, &golden["loss_labelled"], 1e-6, "labelled loss");
        close(&loss.unlabelled, &golden["loss_unlabelled"], 1e-6, "unlabelled loss");
        close(&loss.total.detach(), &golden["loss"], 1e-6, "loss");
        let gradients = Tensor::run_backward(&[loss.total], &[&strong, &labelled], false, false);
        close(&gradients[0], &golden["strong_gradient"], 1e-6, "gradient of the strong logits");
        close(&gradients[1], &golden["labelled_gradient"], 1e-6, "gradient of the labelled logits");
    }
}

#[test]
fn a_soft_target_that_is_certain_is_a_hard_one() {
    use sluicebox_learn::loss::cross_entropy;
    let golden = golden("fixmatch");
    let classes = &golden["pseudo_labels"];
    let rows = classes.one_hot(5).to_kind(Kind::Float);
    let hard = cross_entropy(&golden["strong"], &Target::Hard(classes.shallow_clone()));
    let soft = cross_entropy(&golden["strong"], &Target::Soft(rows));
    close(&soft, &hard, 1e-5, "soft against hard");
}

/// (prefix in the file, model, shape, classes)
fn models() -> [(&'static str, &'static str, Shape, usize); 3] {
    [
        ("conv8", "convnet", Shape::Image { channels: 3, height: 8, width: 8 }, 10),
        ("conv28", "convnet", Shape::Image { channels: 1, height: 28, width: 28 }, 10),
        ("mlp", "mlp", Shape::Vector { features: 33 }, 6),
    ]
}

#[test]
fn models_compute_what_pytorch_does() {
    let golden = golden("models");
    for (prefix, kind, shape, classes) in models() {
        let mine: Vec<(String, Tensor)> = golden
            .iter()
            .filter_map(|(name, tensor)| {
                Some((name.strip_prefix(&format!("{prefix}."))?.to_string(), tensor.shallow_clone()))
            })
            .collect();
        let format = Format {
            shape,
            dtype: Dtype::F32,
            scale: 1.0,
            classes: (0..classes).map(|class| class.to_string()).collect(),
        };
        let model = (MODELS.find(kind).unwrap().build)(&spec(kind, ""), &format).unwrap();
        let input = &golden[&format!("{prefix}.input")];
        for (precision, most) in [(Precision::F32, 2e-5), (Precision::Bf16, 0.05)] {
            let compute = Compute { device: Device::Cpu, precision };
            let weights = from_named(model.layout(), 0, &mine).unwrap();
            let replica = Replica::with(model.layout(), compute, weights.parameters, weights.buffers);
            let folded = tch::no_grad(|| {
                model.fold(replica.parameters(), replica.buffers(), replica.copies(Kind::Float))
            });
            let folded: Vec<Tensor> = folded.into_iter().map(|w| w.to_kind(compute.kind())).collect();
            let eval = model.infer(&folded, &compute.input(input)).logits;
            close(&eval, &golden[&format!("{prefix}.eval_logits")], most, &format!("{prefix}, inference"));
            let train =
                model.train(&replica.leaves(), replica.buffers(), &compute.input(input), LATER).logits;
            let most = most * 5.0;
            close(
                &train.detach(),
                &golden[&format!("{prefix}.train_logits")],
                most,
                &format!("{prefix}, training"),
            );
            for (slot, buffer) in model.layout().buffers.iter().zip(replica.buffers()) {
                close(buffer, &golden[&format!("{prefix}.after.{}", slot.name)], most, &slot.name);
            }
        }
    }
}

#[test]
fn weights_go_to_their_names_and_back() {
    let golden = golden("models");
    for (prefix, kind, shape, classes) in models() {
        let format = Format {
            shape,
            dtype: Dtype::F32,
            scale: 1.0,
            classes: (0..classes).map(|class| class.to_string()).collect(),
        };
        let model = (MODELS.find(kind).unwrap().build)(&spec(kind, ""), &format).unwrap();
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        let first = Replica::first(model.layout(), compute, &mut Randomness::new(3, 0).at(0, Stage::Weights));
        let weights = sluicebox_learn::messages::Weights {
            step: 7,
            parameters: first.parameters,
            buffers: first.buffers,
        };
        let by_name = named(model.layout(), &weights);
        for (name, tensor) in &by_name {
            assert_eq!(tensor.size(), golden[&format!("{prefix}.{name}")].size(), "{prefix}.{name}");
        }
        let back = from_named(model.layout(), 7, &by_name).unwrap();
        assert!(back.parameters.equal(&weights.parameters) && back.buffers.equal(&weights.buffers));
    }
}

/// The weights that `tests/golden/resnets.py` sets for a parameter.
fn wave(name: &str, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let index = Tensor::arange(count, (Kind::Double, Device::Cpu));
    let wave = (((&index * &index + name.len() as f64) * 0.618034).frac() * 2.0 - 1.0).view(shape);
    let gain = name.ends_with("running_var") || name.ends_with("weight");
    let wave = match shape.len() {
        1 if gain => wave * 0.3 + 1.0,
        1 => wave * 0.2,
        _ => wave * (6.0 * shape[0] as f64 / count as f64).sqrt(),
    };
    wave.to_kind(Kind::Float)
}

#[test]
fn residual_networks_compute_what_pytorch_does() {
    tch::set_num_threads(1); // as in the script: another order of summation would switch units off at zero
    let golden = golden("resnets");
    for (prefix, kind, options) in [
        ("wide", "wide-resnet", "depth = 16\nwidth = 2\nmomentum = 1e-3\nepsilon = 1e-3"),
        ("narrow", "wide-resnet", "depth = 10\nwidth = 1\nmomentum = 1e-3\nepsilon = 1e-3"),
        ("resnet18", "resnet18", "width = 64"),
    ] {
        let found = |name: &str| &golden[&format!("{prefix}.{name}")];
        let input = found("input");
        let [_, channels, height, width] = input.size()[..] else { panic!("{prefix}: no image") };
        let shape =
            Shape::Image { channels: channels as usize, height: height as usize, width: width as usize };
        let classes = (0..7).map(|class| class.to_string()).collect();
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
        let model = (MODELS.find(kind).unwrap().build)(&spec(kind, options), &format).unwrap();
        let layout = model.layout();
        let slots = layout.parameters.iter().chain(&layout.buffers);
        let named: Vec<(String, Tensor)> =
            slots.map(|slot| (slot.name.clone(), wave(&slot.name, &slot.shape))).collect();
        let weights = from_named(layout, 0, &named).unwrap();
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        let replica = Replica::with(layout, compute, weights.parameters, weights.buffers);
        let folded =
            tch::no_grad(|| model.fold(replica.parameters(), replica.buffers(), replica.copies(Kind::Float)));
        let inferred = tch::no_grad(|| model.infer(&folded, &compute.input(input)));
        close(&inferred.logits, found("eval_logits"), 1e-4, &format!("{prefix}, inference"));
        assert_eq!(inferred.features.size()[1], model.features());
        let leaves = replica.leaves();
        let trained = model.train(&leaves, replica.buffers(), &compute.input(input), LATER);
        close(&trained.logits.detach(), found("train_logits"), 1e-4, &format!("{prefix}, training"));
        let loss = trained.logits.cross_entropy_for_logits(found("classes"));
        let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
        let mut compared = 0;
        for (slot, gradient) in layout.parameters.iter().zip(&gradients) {
            if let Some(expected) = golden.get(&format!("{prefix}.gradient.{}", slot.name)) {
                let most = 1e-3 * expected.abs().max().double_value(&[]);
                close(gradient, expected, most, &format!("{prefix}, gradient of {}", slot.name));
                compared += 1;
            }
        }
        for (slot, buffer) in layout.buffers.iter().zip(replica.buffers()) {
            if let Some(expected) = golden.get(&format!("{prefix}.after.{}", slot.name)) {
                close(buffer, expected, 1e-4, &format!("{prefix}, {}", slot.name));
                compared += 1;
            }
        }
        assert_eq!(compared, 8, "{prefix}");
    }
}

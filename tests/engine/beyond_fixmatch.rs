//! Methods that need more than FixMatch does, against the formulas of their papers;
//! tests/golden/beyond_fixmatch.py computes these one sample at a time.

use crate::support;
use crate::support::{prepared, small_job, weights_of};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_learn::messages::{LabelledScores, Scores};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::{EASY, Forward, LabelledForward, Method};
use sluicebox_learn::model::api::Output;
use sluicebox_learn::pseudo_labels::{PseudoLabels, Target};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

fn method(kind: &str, options: &str) -> Box<dyn Method> {
    // Missing options get their defaults.
    let mut spec: Spec = small_job(&[&format!("method.kind={kind}")]).method;
    spec.options.extend(options.parse::<toml::Table>().unwrap());
    (METHODS.find(kind).unwrap().build)(&spec).unwrap()
}

fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let gap = (found - expected).abs().max().double_value(&[]);
    assert!(gap <= 1e-5, "{what}: off by {gap:e}");
}

fn none() -> Tensor {
    Tensor::zeros([0], (Kind::Float, Device::Cpu))
}

/// Returns the scores of a teacher whose probabilities for each weak view are `rows` `[B, C]`.
fn scores(step: u64, rows: Vec<Tensor>) -> Scores {
    Scores {
        step,
        unlabelled: rows,
        input: none(),
        labelled: None,
        features: none(),
        heads: Vec::new(),
        alarm: false,
        ledger_stats: None,
    }
}

/// Leaf tensors of a method's forward pass, by name.
struct Leaves(HashMap<String, Tensor>);

impl Leaves {
    fn get(&self, name: &str, rows: Option<&Tensor>) -> Option<Tensor> {
        let leaf = self.0.get(name)?;
        Some(rows.map_or_else(|| leaf.shallow_clone(), |rows| leaf.index_select(0, rows)))
    }

    fn output(&self, [logits, features]: [&str; 2], rows: Option<&Tensor>) -> Output {
        let logits = self.get(logits, rows).unwrap();
        let features = self.get(features, rows).unwrap_or_else(|| logits.shallow_clone());
        Output { logits, features, heads: self.get("auxiliary", rows).into_iter().collect() }
    }
}

#[test]
fn losses_and_gradients_are_those_of_the_papers() {
    let path = support::root().join("crates/sluicebox-learn/tests/golden/beyond_fixmatch.safetensors");
    let golden: HashMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    for (kind, options) in [
        ("shrinkmatch", "threshold = 0.9"),
        ("elr", "threshold = 0.9\nearly_weight = 3.0"),
        ("arazo", ""),
        ("ccic", ""),
    ] {
        let method = method(kind, options);
        let weak = golden["weak"].softmax(2, Kind::Float);
        let views = (0..method.views().weak as i64).map(|view| weak.get(view)).collect();
        let pseudo_labels = method.pseudo_labeller().pseudo_label(&scores(1000, views));
        // The selected samples only, and all samples as in mask mode: both give the same numbers.
        let all = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        for index in [pseudo_labels.selected().nonzero().view(-1), all] {
            let prefix = format!("{kind}.");
            let names =
                golden.keys().filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix("_gradient"));
            let leaf = |name: &str| golden[&format!("{prefix}{name}")].copy().set_requires_grad(true);
            let leaves = Leaves(names.map(|name| (name.to_string(), leaf(name))).collect());
            let loss = loss_of(&*method, &pseudo_labels, &leaves, &golden["labels"], &index);
            for (found, part) in [
                (&loss.total, "loss"),
                (&loss.labelled, "loss_labelled"),
                (&loss.unlabelled, "loss_unlabelled"),
            ] {
                close(&found.detach(), &golden[&format!("{prefix}{part}")], &format!("{prefix}{part}"));
            }
            loss.total.backward();
            for (name, leaf) in &leaves.0 {
                close(&leaf.grad(), &golden[&format!("{prefix}{name}_gradient")], &format!("{prefix}{name}"));
            }
        }
    }
}

fn loss_of(
    method: &dyn Method,
    pseudo_labels: &PseudoLabels,
    leaves: &Leaves,
    labels: &Tensor,
    index: &Tensor,
) -> sluicebox_learn::method::api::Loss {
    let selected = |tensor: &Tensor| tensor.index_select(0, index);
    let mut labelled = leaves.output(["labelled", "replay"], None);
    labelled.heads.clear();
    let forward = Forward {
        labelled: Some(LabelledForward::new(labelled, Target::Hard(labels.shallow_clone()), labels)),
        strong: vec![leaves.output(["strong", "features"], Some(index))],
        target: pseudo_labels.target.map(selected),
        further_targets: Vec::new(),
        weight: selected(&pseudo_labels.weight),
        batch: pseudo_labels.weight.size()[0] as f64,
        rows: pseudo_labels.rows.iter().map(|(name, rows)| (*name, selected(rows))).collect(),
        constants: &pseudo_labels.constants,
        draws: Randomness::new(0, 0).at(0, Stage::Student),
    };
    method.loss(forward).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_kind(Kind::Float).try_into().unwrap()
}

#[test]
fn samples_whose_views_disagree_are_not_easy() {
    let mut saa = method("saa", "warm_up_steps = 1").pseudo_labeller();
    let first = Tensor::from_slice2(&[[0.97f32, 0.03], [0.98, 0.02], [0.01, 0.99], [0.96, 0.04]]);
    let second = Tensor::from_slice2(&[[0.95f32, 0.05], [0.05, 0.95], [0.02, 0.98], [0.9, 0.1]]);
    for (step, expected) in [(0, [0.0; 4]), (1, [1.0, 0.0, 1.0, 1.0])] {
        let pseudo_labels = saa.pseudo_label(&scores(step, vec![first.copy(), second.copy()]));
        assert_eq!(numbers(&pseudo_labels.rows[EASY]), expected, "step {step}");
        assert_eq!(numbers(&pseudo_labels.weight), [1.0; 4]);
    }
    // With FlexMatch as its base, SAA accepts as FlexMatch does: thresholds are 0 at first.
    let mut saa = method("saa", "base = \"flexmatch\"").pseudo_labeller();
    let low = Tensor::from_slice2(&[[0.6f32, 0.4]]);
    assert_eq!(numbers(&saa.pseudo_label(&scores(0, vec![low.copy(), low])).weight), [1.0]);
}

#[test]
fn the_nearest_vote() {
    let labelled = |step: u64| LabelledScores {
        probabilities: none(),
        // Of length 1 after scaling; one is of class 0, two are of class 1.
        features: Tensor::from_slice2(&[[2.0f32, 0.0], [0.0, 3.0], [0.6, 0.8]]),
        heads: Vec::new(),
        input: none(),
        classes: Tensor::from_slice(&[0i64, 1, 1]),
        keys: vec![7, 8, 9 + step],
        further: Vec::new(),
    };
    let vote = |options: &str, steps: &[u64]| {
        let mut knn = method("knn", options).pseudo_labeller();
        let mut pseudo_labels = None;
        for step in steps {
            let mut said = scores(*step, vec![Tensor::from_slice2(&[[0.5f32, 0.5]])]);
            said.features = Tensor::from_slice2(&[[1.0f32, 0.0]]);
            said.labelled = (*step < 100).then(|| labelled(*step));
            pseudo_labels = Some(knn.pseudo_label(&said));
        }
        let pseudo_labels = pseudo_labels.unwrap();
        (pseudo_labels.class.int64_value(&[0]), pseudo_labels.confidence.double_value(&[0]))
    };
    // The two nearest have cosines of 1 (class 0) and 0.6 (class 1).
    let shares = |first: f64, second: f64| first / (first + second);
    let (class, share) = vote("neighbours = 2\ntemperature = 0.1", &[0]);
    assert_eq!(class, 0);
    assert!((share - shares(10f64.exp(), 6f64.exp())).abs() < 1e-5, "{share}");
    // All three, with equal weights.
    let (class, share) = vote("neighbours = 3\ntemperature = 0.0", &[0]);
    assert_eq!(class, 1);
    assert!((share - 2.0 / 3.0).abs() < 1e-6, "{share}");
    // At step 20 the third one is added again under another key; the entries of step 0 count less then.
    let (class, share) = vote("neighbours = 4\ntemperature = 0.0\nmemory_steps = 10", &[0, 20]);
    let old = (-2f64).exp();
    assert_eq!(class, 1);
    assert!((share - (1.0 + 2.0 * old) / (1.0 + 3.0 * old)).abs() < 1e-5, "{share}");
    // Without neighbours the method uses the teacher's prediction.
    assert_eq!(vote("", &[100]).1, 0.5);
}

#[test]
fn heads_smoothed_labels_and_mixtures_are_part_of_a_job() {
    let job = small_job(&["method.kind=shrinkmatch"]);
    let student = prepared(&job).stages.student;
    let heads = student.in_flight()[0].1.parameters.numel();
    let plain = prepared(&small_job(&[])).stages.student.in_flight()[0].1.parameters.numel();
    // 1024 features: three layers of 256, 256 and 10.
    assert_eq!(heads - plain, 1025 * 256 + 257 * 256 + 257 * 10);
    let kinds = ["regularise.label_smoothing=0.1", "regularise.mixup={}", "regularise.mixup={cut=true}"];
    let mut hashes: Vec<String> = kinds.iter().map(|set| weights_of(&small_job(&[set]))).collect();
    hashes.push(weights_of(&small_job(&[])));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 4, "one of them changes nothing");
}

//! Methods against the formulas of their papers, over consecutive batches; tests/golden/methods.py
//! has the formulas.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_learn::messages::{LabelledScores, Scores};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::{Forward, LabelledForward, Method};
use sluicebox_learn::model::api::Output;
use sluicebox_learn::pseudo_labels::{PseudoLabels, Target};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Options with which the golden numbers of each method were computed.
const CASES: &[(&str, &str)] = &[
    ("pseudo-label", "threshold = 0.8\nunlabelled_weight = 3.0\nramp_after = 30\nramp_steps = 100"),
    ("mean-teacher", "unlabelled_weight = 50.0\nramp_steps = 200"),
    ("uda", "threshold = 0.7\ntemperature = 0.4\nunlabelled_weight = 0.5\ntsa = \"log\"\ntsa_steps = 2000"),
    ("freematch", "momentum = 0.4\nunlabelled_weight = 0.5\nfairness_weight = 0.05"),
    ("softmatch", "momentum = 0.4\ndeviations = 3.0"),
    ("adamatch", "threshold = 0.9\nmomentum = 0.9\nwindow = 3\nunlabelled_weight = 2.0\nramp_steps = 100"),
];

type Golden = HashMap<String, Tensor>;

fn golden() -> Golden {
    let path = crate::golden_folder().join("methods.safetensors");
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn method(kind: &str, options: &str) -> Box<dyn Method> {
    let build = METHODS.find(kind).unwrap().build;
    build(&Spec { kind: kind.into(), options: options.parse().unwrap() }).unwrap()
}

fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let gap = (found - expected).abs().max().double_value(&[]);
    assert!(gap <= 1e-5, "{what}: off by {gap:e}");
}

/// Returns the teacher's scores of batch `t`.
fn scores(golden: &Golden, t: usize) -> Scores {
    let of = |name: &str| golden[&format!("{t}.{name}")].shallow_clone();
    let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
    Scores {
        step: of("step").int64_value(&[]) as u64,
        unlabelled: vec![of("weak")],
        input: none(),
        labelled: Some(LabelledScores {
            probabilities: of("labelled_scores"),
            features: none(),
            heads: Vec::new(),
            input: none(),
            classes: golden["labels"].shallow_clone(),
            keys: (0..golden["labels"].size()[0] as u64).collect(),
            further: Vec::new(),
        }),
        features: none(),
        heads: Vec::new(),
        alarm: false,
        ledger_stats: None,
    }
}

fn check_pseudo_labels(golden: &Golden, pseudo_labels: &PseudoLabels, what: &str) {
    let expected = |name: &str| golden.get(&format!("{what}.{name}"));
    close(&pseudo_labels.weight, expected("weight").unwrap(), &format!("{what}: weights"));
    match &pseudo_labels.target {
        Target::Hard(classes) => assert!(classes.equal(expected("target").unwrap()), "{what}: classes"),
        Target::Soft(rows) => close(rows, expected("target").unwrap(), &format!("{what}: rows")),
    }
    assert_eq!(pseudo_labels.threshold.is_some(), expected("threshold").is_some(), "{what}");
    if let Some(threshold) = expected("threshold") {
        close(pseudo_labels.threshold.as_ref().unwrap(), threshold, &format!("{what}: threshold"));
    }
}

fn check_loss(
    golden: &Golden,
    method: &dyn Method,
    pseudo_labels: &PseudoLabels,
    index: &Tensor,
    name: &str,
) {
    let labelled = golden["labelled"].copy().set_requires_grad(true);
    let strong = golden["strong"].copy().set_requires_grad(true);
    let output = |logits: Tensor| Output { features: logits.shallow_clone(), logits, heads: Vec::new() };
    let selected = |tensor: &Tensor| tensor.index_select(0, index);
    let loss = method.loss(Forward {
        labelled: Some(LabelledForward::new(
            output(labelled.shallow_clone()),
            Target::Hard(golden["labels"].shallow_clone()),
            &golden["labels"],
        )),
        strong: vec![output(selected(&strong))],
        target: pseudo_labels.target.map(selected),
        further_targets: Vec::new(),
        weight: selected(&pseudo_labels.weight),
        batch: pseudo_labels.weight.size()[0] as f64,
        rows: pseudo_labels.rows.iter().map(|(name, rows)| (*name, selected(rows))).collect(),
        constants: &pseudo_labels.constants,
        draws: Randomness::new(0, 0).at(0, Stage::Student),
    });
    let total = loss.unwrap().total;
    close(&total.detach(), &golden[&format!("{name}.loss")], &format!("{name}: loss"));
    let gradients = Tensor::run_backward(&[total], &[&labelled, &strong], false, false);
    for (found, part) in gradients.iter().zip(["labelled", "strong"]) {
        close(found, &golden[&format!("{name}.{part}_gradient")], &format!("{name}: gradient, {part}"));
    }
}

#[test]
fn methods_label_and_learn_as_their_papers_say() {
    let golden = golden();
    for (name, options) in CASES {
        let method = method(name, options);
        let mut labeller = method.pseudo_labeller();
        let mut last = None;
        for t in 0..5 {
            let pseudo_labels = labeller.pseudo_label(&scores(&golden, t));
            check_pseudo_labels(&golden, &pseudo_labels, &format!("{name}.{t}"));
            last = Some(pseudo_labels);
        }
        let pseudo_labels = last.unwrap();
        // Filtered to the accepted samples, and masked with all samples: both give the same numbers.
        let accepted = pseudo_labels.accepted().nonzero().view(-1);
        let all = Tensor::arange(pseudo_labels.weight.size()[0], (Kind::Int64, Device::Cpu));
        for index in [accepted, all] {
            check_loss(&golden, &*method, &pseudo_labels, &index, name);
        }
    }
}

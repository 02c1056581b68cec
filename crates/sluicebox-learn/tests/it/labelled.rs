//! Methods that do more with labelled samples than learn their labels, against values worked out by hand, to four decimals.

use crate::values::{labelled, method, near, none, output, rows, scores};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_learn::messages::ViewScores;
use sluicebox_learn::method::api::{Forward, LabelledForward, Loss, Method};
use sluicebox_learn::model::api::Output;
use sluicebox_learn::pseudo_labels::{JudgedLabels, PseudoLabels, Target};
use sluicebox_learn::stages::relabel::refined::Refined;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Returns the loss of labelled samples in these views, and of unlabelled ones, all of them selected.
fn loss(
    method: &dyn Method,
    told: &PseudoLabels,
    classes: &Tensor,
    views: Vec<Output>,
    strong: Vec<Output>,
) -> Loss {
    let mut views = views.into_iter();
    let labelled = views.next().map(|output| {
        let judged = told.labelled.as_ref().unwrap().map(Tensor::shallow_clone);
        let class_count = output.logits.size()[1];
        let target = match judged.weight {
            Some(weight) => Target::Soft(judged.target.rows(class_count) * weight.unsqueeze(1)),
            None => judged.target,
        };
        LabelledForward {
            further: views.collect(),
            rows: judged.rows,
            ..LabelledForward::new(output, target, classes)
        }
    });
    let forward = Forward {
        labelled,
        strong,
        target: told.target.map(Tensor::shallow_clone),
        further_targets: Vec::new(),
        weight: told.weight.shallow_clone(),
        batch: told.weight.size()[0] as f64,
        rows: told.rows.iter().map(|(name, rows)| (*name, rows.shallow_clone())).collect(),
        constants: &told.constants,
        draws: Randomness::new(0, 0).at(0, Stage::Student),
    };
    method.loss(forward).unwrap()
}

#[test]
fn defixmatch_takes_back_what_labelled_samples_would_have_had() {
    let method = method("defixmatch", "");
    let mut said = scores(rows(&[[0.97, 0.03]]));
    let mut of_labelled = labelled(&[0], rows(&[[0.0]]));
    of_labelled.probabilities = rows(&[[0.96, 0.04]]);
    said.labelled = Some(of_labelled);
    let told = method.pseudo_labeller().pseudo_label(&said);
    let classes = Tensor::from_slice(&[0i64]);
    let of = |p: f32| output(rows(&[[p, 1.0 - p]]).log(), Vec::new());
    let found = loss(&*method, &told, &classes, vec![of(0.8), of(0.7)], vec![of(0.9)]);
    // ½ (0.2231 + 0.3567) + ½ (0.1054 - 0.3567)
    near(&found.total, &[0.1642], "both losses");
    // At λ = ½ a labelled strong view whose pseudo-label is its label counts for nothing: its gradient is 0.
    let strong = rows(&[[0.7, 0.3]]).log().set_requires_grad(true);
    let views = vec![of(0.8), output(strong.shallow_clone(), Vec::new())];
    loss(&*method, &told, &classes, views, vec![of(0.9)]).total.backward();
    near(&strong.grad(), &[0.0, 0.0], "gradient");
}

#[test]
fn defixmatch_is_fixmatch_where_no_labelled_sample_is_confident() {
    let [defixmatch, fixmatch] =
        [method("defixmatch", ""), method("fixmatch", "threshold = 0.95\nunlabelled_weight = 0.5")];
    let probabilities = rows(&[[0.96, 0.03, 0.01], [0.6, 0.3, 0.1], [0.01, 0.02, 0.97]]);
    let mut said = scores(probabilities);
    said.labelled = Some(labelled(&[0, 2], rows(&[[0.0], [0.0]])));
    let (one, other) =
        (defixmatch.pseudo_labeller().pseudo_label(&said), fixmatch.pseudo_labeller().pseudo_label(&said));
    assert!(one.weight.equal(&other.weight) && one.class.equal(&other.class));
    let logits = rows(&[[1.0, -1.0, 0.5], [0.2, 0.1, 0.0], [0.0, 3.0, 1.0]]);
    let strong = || vec![output(logits.shallow_clone(), Vec::new())];
    let classes = Tensor::from_slice(&[0i64, 2]);
    let view = || output(rows(&[[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]]), Vec::new());
    let one = loss(&*defixmatch, &one, &classes, vec![view(), view()], strong());
    let none = Tensor::zeros([0], (Kind::Int64, tch::Device::Cpu));
    let other = loss(&*fixmatch, &other, &none, Vec::new(), strong());
    near(&one.unlabelled, &[other.unlabelled.double_value(&[])], "unlabelled loss");
}

#[test]
fn adawac_balances_label_and_consistency() {
    // With η = 8 the formula has 0.9918: its logit is 4.8, and here it stays within 4.
    for (rate, weight, expected) in [(1.0, 0.6457, 0.7874), (8.0, 0.9820, 0.9892)] {
        let method = method("adawac", &format!("rate = {rate:.1}"));
        let mut said = scores(rows(&[[0.5, 0.5]]));
        // Losses whose mean is 1, of probabilities whose squared distance is 0.4: p q = e^-2, and p - q = 0.2^0.5.
        let least = ((0.2 + 4.0 * (-2f32).exp()).sqrt() - 0.2f32.sqrt()) / 2.0;
        let of_view = [least + 0.2f32.sqrt(), least].map(|p| rows(&[[p, 1.0 - p]]));
        let mut of_labelled = labelled(&[0], rows(&[[0.0]]));
        of_labelled.probabilities = of_view[0].copy();
        of_labelled.further = vec![ViewScores { probabilities: of_view[1].copy(), features: none() }];
        said.labelled = Some(of_labelled);
        let told = method.pseudo_labeller().pseudo_label(&said);
        let judged = told.labelled.as_ref().unwrap();
        near(judged.weight.as_ref().unwrap(), &[weight], "weight");
        let view = |at: usize| Output { logits: of_view[at].log(), features: none(), heads: Vec::new() };
        let classes = Tensor::from_slice(&[0i64]);
        let found = loss(&*method, &told, &classes, vec![view(0), view(1)], vec![view(0), view(1)]);
        near(&found.labelled, &[expected], "labelled loss");
        // Without a label a sample counts by its consistency alone.
        near(&found.unlabelled, &[0.4], "unlabelled loss");
    }
}

#[test]
fn rdcr_tells_turns_of_all_samples() {
    let method =
        method("rdcr", "unlabelled_weight = 1.0\nturned_weight = 1.0\nturn_weight = 0.5\nramp_steps = 0");
    let mut told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.8, 0.2]])));
    let classes = Tensor::from_slice(&[0i64]);
    told.labelled = Some(JudgedLabels::as_given(&classes));
    let of = |p: f32, turns: [f32; 4]| output(rows(&[[p, 1.0 - p]]).log(), vec![rows(&[turns])]);
    // Not turned: quarter 0, said with probability ¼ of the labelled, and ½ of the unlabelled sample.
    let half = [3f32.ln(), 0.0, 0.0, 0.0];
    let labelled = vec![of(0.5, [0.0; 4]), of(0.5, [0.0; 4])];
    let found = loss(&*method, &told, &classes, labelled, vec![of(0.6, [0.0; 4]), of(0.7, half)]);
    // A mean over classes of squares: 0.2² upright and 0.1² turned.
    near(&found.unlabelled, &[0.05], "consistency");
    let turns = 0.5 * (4f64.ln() + 2f64.ln()) / 2.0;
    near(&found.total, &[2f64.ln() + 0.05 + turns], "all");
    // With weight 0 the consistency of the turned view is not asked for.
    let upright = self::method("rdcr", "unlabelled_weight = 1.0\nramp_steps = 0");
    let labelled = vec![of(0.5, [0.0; 4]), of(0.5, [0.0; 4])];
    let found = loss(&*upright, &told, &classes, labelled, vec![of(0.6, [0.0; 4]), of(0.1, half)]);
    near(&found.unlabelled, &[0.04], "upright");
}

#[test]
fn crmatch_pushes_alike_features_apart() {
    let method = method("crmatch", "threshold = 0.5\nturn_weight = 0.0");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.9, 0.1]])));
    let classes = Tensor::zeros([0], (Kind::Int64, tch::Device::Cpu));
    for (second, cosine) in [([0.8f32, 0.6], 0.8), ([-0.2, 0.96f32.sqrt()], 0.0)] {
        let of =
            |direction: [f32; 2]| output(rows(&[[0.0, 0.0]]), vec![rows(&[direction]), rows(&[[0.0; 4]])]);
        let found =
            loss(&*method, &told, &classes, Vec::new(), vec![of([1.0, 0.0]), of(second), of([0.0, 1.0])]);
        near(&found.unlabelled, &[2f64.ln()], "cross-entropy");
        near(&(&found.total - &found.unlabelled), &[cosine], "cosine above 0");
    }
}

#[test]
fn sequencematch_sharpens_and_follows_weaker_views() {
    let method = method("sequencematch", "unlabelled_weight = 1.0");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.97, 0.02, 0.01]])));
    near(&told.rows["sharp"], &[0.9995, 0.0004, 0.0001], "sharpened");
    let classes = Tensor::zeros([0], (Kind::Int64, tch::Device::Cpu));
    let views = [rows(&[[0.5, 0.3, 0.2]]), rows(&[[0.8, 0.1, 0.1]])]; // strong, medium
    let leaves = views.map(|view| view.log().set_requires_grad(true));
    let strong = leaves.iter().map(|view| output(view.shallow_clone(), Vec::new())).collect();
    let found = loss(&*method, &told, &classes, Vec::new(), strong);
    let divergence = |rows: [f64; 3], other: [f64; 3]| -> f64 {
        rows.iter().zip(other).map(|(p, q)| p * (p / q).ln()).sum()
    };
    let squares = |rows: [f64; 3]| {
        let sum: f64 = rows.iter().map(|p| p * p).sum();
        rows.map(|p| p * p / sum)
    };
    let (weak, strong, medium) = (squares([0.97, 0.02, 0.01]), [0.5, 0.3, 0.2], [0.8, 0.1, 0.1]);
    let expected = -(0.5f64.ln())
        + divergence(weak, medium)
        + divergence(squares(medium), strong)
        + divergence(weak, strong);
    near(&found.total, &[expected], "cross-entropy and three divergences");
    // The medium view is taught by the weak one only.
    found.total.backward();
    let taught: f64 = f64::try_from(leaves[1].grad().get(0).get(0)).unwrap();
    assert!((taught - (0.8 - weak[0])).abs() < 1e-4, "{taught}");
}

#[test]
fn refined_labels_move_towards_the_teacher() {
    let mut said = labelled(&[0], none());
    said.probabilities = rows(&[[0.6, 0.3, 0.1]]);
    let refined = Refined { share: 0.5, steps: 100 };
    for (step, expected) in [(0, [1.0, 0.0, 0.0]), (50, [0.9, 0.075, 0.025]), (100, [0.8, 0.15, 0.05])] {
        let judged = refined.apply(None, &said, step);
        near(&judged.target.rows(3), &expected, "target");
        assert!(judged.weight.is_none());
    }
    // What a method made of the labels is refined in their place.
    let judged = JudgedLabels {
        weight: Some(Tensor::from_slice(&[0.3f32])),
        rows: BTreeMap::from([("kept", rows(&[[7.0]]))]),
        ..JudgedLabels::as_given(&Tensor::from_slice(&[2i64]))
    };
    let judged = refined.apply(Some(judged), &said, 100);
    near(&judged.target.rows(3), &[0.3, 0.15, 0.55], "target of another class");
    near(judged.weight.as_ref().unwrap(), &[0.3], "weight");
    assert!(judged.rows.contains_key("kept"));
}

#[test]
fn all_networks_and_last_layers_learn_from_labels_alone() {
    for kind in ["cps", "co-teaching", "abc", "multimatch"] {
        let method = method(kind, "");
        let leaf = || rows(&[[1.0, 0.0, -1.0], [0.0, 2.0, 0.5]]).set_requires_grad(true);
        let (logits, heads) = (leaf(), method.views().heads.iter().map(|_| leaf()).collect::<Vec<_>>());
        let classes = Tensor::from_slice(&[2i64, 0]);
        let target = Target::Hard(classes.shallow_clone());
        let all = heads.iter().map(Tensor::shallow_clone).collect();
        let forward = Forward {
            labelled: Some(LabelledForward::new(output(logits.shallow_clone(), all), target, &classes)),
            strong: Vec::new(),
            target: Target::Hard(classes.narrow(0, 0, 0)),
            further_targets: Vec::new(),
            weight: logits.narrow(0, 0, 0).select(1, 0).detach(),
            batch: 1.0,
            rows: BTreeMap::new(),
            constants: &BTreeMap::new(),
            draws: Randomness::new(0, 0).at(0, Stage::Student),
        };
        method.loss_of_labels(forward).unwrap().total.backward();
        for leaf in std::iter::once(&logits).chain(&heads) {
            assert!(leaf.grad().abs().sum(Kind::Float).double_value(&[]) > 0.1, "{kind}");
        }
    }
}

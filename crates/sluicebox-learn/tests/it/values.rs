//! Methods against values worked out by hand from their papers' formulas, to four decimals.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_learn::messages::{LabelledScores, Scores};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::{Forward, Loss, Method};
use sluicebox_learn::model::api::Output;
use sluicebox_learn::pseudo_labels::{PseudoLabels, Target};
use tch::{Device, Kind, Tensor};

pub fn method(kind: &str, options: &str) -> Box<dyn Method> {
    let build = METHODS.find(kind).unwrap().build;
    build(&Spec { kind: kind.into(), options: options.parse().unwrap() }).unwrap()
}

pub fn rows<const N: usize>(rows: &[[f32; N]]) -> Tensor {
    Tensor::from_slice2(rows)
}

pub fn none() -> Tensor {
    Tensor::zeros([0], (Kind::Float, Device::Cpu))
}

/// Scores of unlabelled samples, step 1000.
pub fn scores(probabilities: Tensor) -> Scores {
    Scores {
        step: 1000,
        unlabelled: vec![probabilities],
        input: none(),
        labelled: None,
        features: none(),
        heads: Vec::new(),
        alarm: false,
        ledger_stats: None,
    }
}

/// Scores of labelled samples of these classes, of which a head says `head`.
pub fn labelled(classes: &[i64], head: Tensor) -> LabelledScores {
    LabelledScores {
        probabilities: Tensor::full([classes.len() as i64, 3], 1.0 / 3.0, (Kind::Float, Device::Cpu)),
        features: none(),
        heads: vec![head],
        input: none(),
        classes: Tensor::from_slice(classes),
        keys: (0..classes.len() as u64).collect(),
        further: Vec::new(),
    }
}

pub fn output(logits: Tensor, heads: Vec<Tensor>) -> Output {
    Output { features: logits.shallow_clone(), logits, heads }
}

/// Returns the loss of unlabelled samples alone, all of them selected.
pub fn loss(method: &dyn Method, told: &PseudoLabels, strong: Vec<Output>) -> Loss {
    let forward = Forward {
        labelled: None,
        strong,
        target: told.target.map(Tensor::shallow_clone),
        further_targets: (1..method.views().mix.map_or(1, |mixing| mixing.views))
            .map(|_| told.target.map(Tensor::shallow_clone))
            .collect(),
        weight: told.weight.shallow_clone(),
        batch: told.weight.size()[0] as f64,
        rows: told.rows.iter().map(|(name, rows)| (*name, rows.shallow_clone())).collect(),
        constants: &told.constants,
        draws: Randomness::new(0, 0).at(0, Stage::Student),
    };
    method.loss(forward).unwrap()
}

pub fn near(found: &Tensor, expected: &[f64], what: &str) {
    let found: Vec<f64> = Vec::try_from(found.detach().to_kind(Kind::Double).reshape(-1)).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
    assert!(close, "{what}: {found:?} is not {expected:?}");
}

pub fn soft(told: &PseudoLabels) -> &Tensor {
    match &told.target {
        Target::Soft(rows) => rows,
        Target::Hard(_) => panic!("the target is a class"),
    }
}

#[test]
fn refixmatch_sharpens_probabilities_below_the_threshold() {
    let method = method("refixmatch", "");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.6, 0.3, 0.1]])));
    near(&told.weight, &[0.0], "rejected");
    near(&told.rows["sharp"], &[0.7826, 0.1957, 0.0217], "target");
    let strong = vec![output(rows(&[[1.0, 0.0, 0.0]]), Vec::new())];
    near(&loss(&*method, &told, strong).total, &[0.0801], "divergence");
    // Above the threshold it is FixMatch.
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.96, 0.03, 0.01]])));
    let strong = vec![output(rows(&[[1.0, 0.0, 0.0]]), Vec::new())];
    near(&loss(&*method, &told, strong).total, &[(1f64.exp() + 2.0).ln() - 1.0], "cross-entropy");
}

#[test]
fn mic_weighs_by_confidence() {
    let method = method("mic", "");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.9, 0.1], [0.6, 0.4]])));
    near(&told.weight, &[0.9, 0.6], "weights");
    // Logits whose cross-entropy with class 0 is 1 and 2.
    let logits = rows(&[[0.0, 1f32.exp_m1().ln()], [0.0, 2f32.exp_m1().ln()]]);
    near(&loss(&*method, &told, vec![output(logits, Vec::new())]).total, &[1.05], "mean of products");
}

#[test]
fn pi_model_compares_two_views_and_teaches_the_second() {
    let method = method("pi-model", "unlabelled_weight = 1.0");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.5, 0.5]])));
    let views = [rows(&[[0.8, 0.2]]), rows(&[[0.6, 0.4]])].map(|view| view.log().set_requires_grad(true));
    let strong = views.iter().map(|view| output(view.shallow_clone(), Vec::new())).collect();
    let loss = loss(&*method, &told, strong);
    near(&loss.total, &[0.04], "squared difference");
    loss.total.backward();
    assert!(!views[0].grad().defined() && views[1].grad().defined());
}

#[test]
#[expect(clippy::approx_constant, reason = "0.9 · 0.7 + 0.1 · 0.6309, which has nothing to do with ln 2")]
fn simmatch_asks_labelled_samples_that_look_alike() {
    let method = method("simmatch", "temperature = 0.5\naligned_steps = 0\nthreshold = 0.5");
    let mut said = scores(rows(&[[0.7, 0.2, 0.1]]));
    said.heads = vec![rows(&[[3.0, 0.0]])];
    said.labelled = Some(labelled(&[0, 1, 1], rows(&[[2.0, 0.0], [0.0, 1.0], [0.6, 0.8]])));
    let told = method.pseudo_labeller().pseudo_label(&said);
    near(&told.rows["alike"], &[0.8569, 0.0331, 0.1100], "similarity");
    near(soft(&told), &[0.6931, 0.2169, 0.0900], "target");
    let logits = rows(&[[0.0, 0.0, 0.0]]);
    let strong = vec![output(logits.shallow_clone(), vec![rows(&[[4.0, 3.0]])])];
    let found = loss(&*method, &told, strong);
    near(&found.unlabelled, &[3f64.ln()], "cross-entropy of a soft target");
    near(&(&found.total - &found.unlabelled), &[1.0924], "instance loss");
}

#[test]
fn simmatch_without_its_parts_is_uda() {
    let [simmatch, uda] = [
        method("simmatch", "threshold = 0.95\nown_share = 1.0\ninstance_weight = 0.0\naligned_steps = 0"),
        method("uda", "threshold = 0.95\ntemperature = 1.0"),
    ];
    let probabilities = rows(&[[0.96, 0.03, 0.01], [0.6, 0.3, 0.1], [0.01, 0.02, 0.97]]);
    let mut said = scores(probabilities);
    said.heads = vec![rows(&[[3.0, 0.0], [1.0, 1.0], [0.0, 1.0]])];
    said.labelled = Some(labelled(&[0, 1, 1], rows(&[[2.0, 0.0], [0.0, 1.0], [0.6, 0.8]])));
    let logits = rows(&[[1.0, -1.0, 0.5], [0.2, 0.1, 0.0], [0.0, 3.0, 1.0]]);
    let of = |method: &dyn Method| {
        let told = method.pseudo_labeller().pseudo_label(&said);
        let found = loss(method, &told, vec![output(logits.shallow_clone(), vec![rows(&[[1.0, 0.0]; 3])])]);
        (told.weight.shallow_clone(), found.total)
    };
    let ((one, first), (other, second)) = (of(&*simmatch), of(&*uda));
    assert!(one.equal(&other));
    near(&first, &[second.double_value(&[])], "loss");
}

/// One sample between two labelled ones, of classes 0 and 1.
fn between() -> Scores {
    let mut said = scores(rows(&[[0.6, 0.3, 0.1]]));
    said.heads = vec![rows(&[[2.0, 0.0]])];
    said.labelled = Some(labelled(&[0, 1], rows(&[[0.8, 0.6], [0.6, -0.8]])));
    said
}

#[test]
fn simmatch_v2_passes_classes_on_along_the_edges() {
    for (passed_on, expected) in
        [(0.5, [0.5777, 0.3598, 0.0625]), (0.1, [0.5951, 0.3143, 0.0906]), (0.0, [0.6, 0.3, 0.1])]
    {
        let options =
            format!("temperature = 1.0\naligned_steps = 0\nthreshold = 0.5\npassed_on = {passed_on:?}");
        let told = method("simmatch-v2", &options).pseudo_labeller().pseudo_label(&between());
        near(soft(&told), &expected, "target");
        near(&told.weight, &[1.0], "the sample's own probability counts");
        near(&told.confidence, &[0.6], "confidence");
        assert!(told.rows.is_empty() && told.constants.is_empty(), "the ring is empty");
    }
}

#[test]
fn simmatch_v2_is_consistent_on_edges() {
    let method = method("simmatch-v2", "temperature = 0.5\naligned_steps = 0\nthreshold = 1.0");
    let mut labeller = method.pseudo_labeller();
    let mut first = scores(rows(&[[0.9, 0.1, 0.0], [0.1, 0.8, 0.1]]));
    first.heads = vec![rows(&[[1.0, 0.0], [0.0, 1.0]])];
    assert!(labeller.pseudo_label(&first).rows.is_empty());
    let mut second = scores(rows(&[[0.6, 0.3, 0.1]]));
    second.heads = vec![rows(&[[1.0, 0.0]])];
    let told = labeller.pseudo_label(&second);
    let strong = || vec![output(rows(&[[0.0; 3]]), vec![rows(&[[0.6, 0.8]])])];
    near(&loss(&*method, &told, strong()).total, &[0.8653 + 0.9973], "both");
    let only =
        |key: &str| self::method("simmatch-v2", &format!("temperature = 0.5\nthreshold = 1.0\n{key} = 0.0"));
    near(&loss(&*only("node_edge_weight"), &told, strong()).total, &[0.8653], "edge and edge");
    near(&loss(&*only("edge_weight"), &told, strong()).total, &[0.9973], "node and edge");
}

#[test]
fn comatch_smooths_and_contrasts() {
    let options = "queue = 2\naligned_steps = 0\nthreshold = 0.5";
    let method = method("comatch", options);
    let mut labeller = method.pseudo_labeller();
    // The queue is empty: nothing is smoothed. Then it holds the two labelled samples alone.
    let mut said = scores(rows(&[[0.6, 0.3, 0.1]]));
    said.heads = vec![rows(&[[0.8, 0.6]])];
    said.labelled = Some(labelled(&[0, 1], rows(&[[1.0, 0.0], [0.0, 1.0]])));
    near(soft(&labeller.pseudo_label(&said)), &[0.6, 0.3, 0.1], "target before the queue is full");
    let told = labeller.pseudo_label(&said);
    near(soft(&told), &[0.6131, 0.2969, 0.0900], "target");

    let mut told =
        method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.9, 0.1, 0.0], [0.95, 0.05, 0.0]])));
    told.weight = told.weight.zeros_like();
    // Cosines of 1 and 0.5 for each sample.
    let second = 0.75f32.sqrt();
    let heads = [rows(&[[1.0, 0.0], [0.5, second]]), rows(&[[1.0, 0.0], [0.5, second]])];
    let strong = |heads: [Tensor; 2]| heads.map(|head| output(rows(&[[0.0; 3]; 2]), vec![head])).into();
    near(&loss(&*method, &told, strong(heads)).total, &[1.2348], "contrast");
    // A sample that is left out is as if it was not there.
    let one = rows(&[[1.0, 0.0], [0.5, second]]);
    told.leave_out(&Tensor::from_slice(&[1i64]));
    near(&loss(&*method, &told, strong([one.copy(), one])).total, &[0.0], "one sample alone");
}

#[test]
fn comatch_without_pairs_is_nt_xent() {
    let method = method("comatch", "contrast_threshold = 1.1\ntemperature = 0.5\nthreshold = 1.0");
    let mut told =
        method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.9, 0.1, 0.0], [0.95, 0.05, 0.0]])));
    told.weight = told.weight.zeros_like();
    let heads = [rows(&[[1.0, 0.0], [0.0, 1.0]]), rows(&[[0.8, 0.6], [0.6, 0.8]])];
    let strong = heads.map(|head| output(rows(&[[0.0; 3]; 2]), vec![head])).into();
    // Cosines 0.8 and 0.6, over 0.5.
    let expected = (1.0 + ((0.6f64 - 0.8) / 0.5).exp()).ln();
    near(&loss(&*method, &told, strong).total, &[expected], "NT-Xent from the first views to the second");
}

#[test]
fn vat_measures_the_divergence_of_the_moved_view() {
    let method = method("vat", "");
    let told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.5, 0.5]])));
    for (gap, moved, expected) in [(0.0, 2.0, 0.4338), (1.0, 3.0, 0.2732), (1.0, -1.0, 0.4621)] {
        let views = [gap, moved].map(|gap: f32| rows(&[[gap, 0.0]]).set_requires_grad(true));
        let strong = views.iter().map(|view| output(view.shallow_clone(), Vec::new())).collect();
        let found = loss(&*method, &told, strong).total;
        near(&found, &[expected], "divergence");
        found.backward();
        assert!(!views[0].grad().defined() && views[1].grad().defined(), "the target is fixed");
    }
}

#[test]
fn mixmatch_sharpens_the_mean_of_its_views() {
    let method = method("mixmatch", "unlabelled_weight = 1.0\nramp_steps = 0");
    let mut said = scores(rows(&[[0.7, 0.2, 0.1]]));
    said.unlabelled.push(rows(&[[0.5, 0.4, 0.1]]));
    let told = method.pseudo_labeller().pseudo_label(&said);
    near(soft(&told), &[0.7826, 0.1957, 0.0217], "target");
    // The mean over two views of the mean over classes: the first is right, the second is uniform.
    let right = soft(&told).log();
    let strong = vec![output(right, Vec::new()), output(rows(&[[0.0; 3]]), Vec::new())];
    let squares: f64 = [0.7826f64, 0.1957, 0.0217].map(|p| (p - 1.0 / 3.0).powi(2)).iter().sum();
    near(&loss(&*method, &told, strong).total, &[squares / 6.0], "squared error");
}

#[test]
fn remixmatch_aligns_and_sharpens() {
    let method = method("remixmatch", "aligned_steps = 2");
    let mut labeller = method.pseudo_labeller();
    // The mean over two steps is (0.5, 0.25, 0.25), and there are no labels: all classes count alike.
    labeller.pseudo_label(&scores(rows(&[[0.5, 0.2, 0.3]])));
    let told = labeller.pseudo_label(&scores(rows(&[[0.5, 0.3, 0.2]])));
    near(soft(&told), &[0.3247, 0.4675, 0.2078], "target");
    let views = || (0..4).map(|_| output(rows(&[[0.0; 3]]), vec![rows(&[[0.0; 4]])])).collect();
    let expected = (1.5 + 0.5) * 3f64.ln() + 0.5 * 4f64.ln();
    near(&loss(&*method, &told, views()).total, &[expected], "mixed, plain and turned");
}

#[test]
fn ict_compares_with_the_mixed_target() {
    let method = method("ict", "unlabelled_weight = 1.0\nramp_steps = 0");
    let mut told = method.pseudo_labeller().pseudo_label(&scores(rows(&[[0.9, 0.1]])));
    near(soft(&told), &[0.9, 0.1], "the teacher's probabilities");
    told.target = Target::Soft(rows(&[[0.69, 0.31]])); // 0.7 of (0.9, 0.1) and 0.3 of (0.2, 0.8)
    let strong = vec![output(rows(&[[0.6, 0.4]]).log(), Vec::new())];
    near(&loss(&*method, &told, strong).total, &[0.0081], "mean over classes");
}

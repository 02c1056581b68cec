//! Tests of each term against numbers worked out by hand.

use super::*;
use crate::method::api::LabelledForward;
use crate::model::api::Output;
use crate::model::layout::Init;
use crate::pseudo_labels::Target;
use sluicebox_core::rng::{Randomness, Stage};
use tch::Device;

fn rows<const N: usize, const M: usize>(values: [[f32; M]; N]) -> Tensor {
    Tensor::from_slice(values.as_flattened()).view([N as i64, M as i64])
}

fn output(logits: Tensor, features: Tensor) -> Output {
    Output { logits, features, heads: Vec::new() }
}

/// A step of three labelled samples and three unlabelled ones, the last of which is rejected. The
/// logits are logarithms, so that softmax returns the probabilities.
struct Step {
    labelled: Tensor,
    features: Tensor,
    unlabelled: Tensor,
    classes: Tensor,
    constants: BTreeMap<&'static str, Tensor>,
}

impl Step {
    fn new() -> Self {
        Self {
            labelled: rows([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log(),
            features: rows([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]),
            unlabelled: rows([[0.25, 0.75], [0.5, 0.5], [0.01, 0.99]]).log(),
            classes: Tensor::from_slice(&[0i64, 0, 1]),
            constants: BTreeMap::new(),
        }
    }

    fn forward(&self) -> Forward<'_> {
        let copy = Tensor::shallow_clone;
        Forward {
            labelled: Some(LabelledForward::new(
                output(copy(&self.labelled), copy(&self.features)),
                Target::Hard(copy(&self.classes)),
                &self.classes,
            )),
            strong: vec![output(copy(&self.unlabelled), copy(&self.unlabelled))],
            target: Target::Hard(copy(&self.classes)),
            further_targets: Vec::new(),
            weight: Tensor::from_slice(&[1.0f32, 0.5, 0.0]),
            batch: 4.0,
            rows: BTreeMap::new(),
            constants: &self.constants,
            draws: Randomness::new(0, 0).at(0, Stage::Student),
        }
    }
}

fn layout() -> Layout {
    let mut layout = Layout::default();
    layout.parameter("bias".into(), &[2], Init::Constant(0.0));
    layout.parameter("weight".into(), &[2, 2], Init::Constant(0.0));
    layout.arranged()
}

fn terms(settings: &Settings) -> Regularisers {
    let (layout, first) = (layout(), Tensor::from_slice(&[3.0f32, 0.0, 0.0, 0.5, 1.0, -1.0]));
    let subject =
        Subject { layout: &layout, first: &first, classes: 2, features: 2, unlabelled: true, mixes: false };
    Regularisers::new(settings, &subject, &mut Randomness::new(0, 0).at(0, Stage::Weights)).unwrap()
}

fn loss(settings: &Settings) -> f64 {
    terms(settings).loss(&Step::new().forward()).unwrap().double_value(&[])
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.reshape(-1)).unwrap()
}

fn all_close(found: &Tensor, expected: &[f32]) {
    let found = values(found);
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
    assert!(near && found.len() == expected.len(), "{found:?} is not {expected:?}");
}

#[test]
fn nothing_is_asked_by_default() {
    let mut terms = terms(&Settings::default());
    assert!(terms.loss(&Step::new().forward()).is_none() && terms.state().is_empty());
    let gradients = Tensor::ones([6], (Kind::Float, Device::Cpu));
    terms.add(&gradients, &gradients);
    let norm = gradients.norm();
    all_close(&terms.clip(gradients, &norm), &[1.0; 6]);
}

#[test]
fn entropy_is_of_what_was_accepted_over_the_batch() {
    let of = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
    close(loss(&Settings { entropy: 2.0, ..Settings::default() }), 2.0 * (of(0.25) + of(0.5)) / 4.0);
}

#[test]
fn entropy_needs_unlabelled_samples() {
    let (layout, first) = (layout(), Tensor::zeros([6], (Kind::Float, Device::Cpu)));
    let subject =
        Subject { layout: &layout, first: &first, classes: 2, features: 2, unlabelled: false, mixes: false };
    let settings = Settings { entropy: 1.0, ..Settings::default() };
    let made = Regularisers::new(&settings, &subject, &mut Randomness::new(0, 0).at(0, Stage::Weights));
    assert!(made.err().unwrap().to_string().contains("regularise.entropy"));
}

#[test]
fn the_mean_output_is_held_to_the_prior() {
    // Outputs of three labelled and two accepted samples: 0.5, 0.5, 0.9, 0.25, 0.5.
    let (first, second) = (2.65f64 / 5.0, 2.35f64 / 5.0);
    let uniform = 0.5 * (0.5 / first).ln() + 0.5 * (0.5 / second).ln();
    close(loss(&Settings { prior: 1.0, ..Settings::default() }), uniform);
    // The labelled prior moves a hundredth of the way to 2/3 and 1/3.
    let prior = [0.5 + 0.01 * (2.0 / 3.0 - 0.5), 0.5 + 0.01 * (1.0 / 3.0 - 0.5)];
    let labelled = prior[0] * (prior[0] / first).ln() + prior[1] * (prior[1] / second).ln();
    close(loss(&Settings { prior: 1.0, prior_of: PriorOf::Labelled, ..Settings::default() }), labelled);
}

#[test]
fn a_class_that_is_never_given_is_no_infinity() {
    let mut step = Step::new();
    let certain = rows([[200.0, -200.0], [200.0, -200.0], [200.0, -200.0]]);
    (step.labelled, step.unlabelled) = (certain.copy(), certain.copy());
    let settings = Settings { prior: 1.0, entropy: 1.0, ..Settings::default() };
    assert!(terms(&settings).loss(&step.forward()).unwrap().double_value(&[]).is_finite());
}

#[test]
fn centres_move_by_the_papers_rule() {
    let settings = Settings { center: 1.0, center_rate: 0.5, ..Settings::default() };
    let (mut terms, step) = (terms(&settings), Step::new());
    // Centres at 0: (1 + 9 + 4) / 2 / 3 samples.
    close(terms.loss(&step.forward()).unwrap().double_value(&[]), 14.0 / 6.0);
    // Class 0: 0.5·(1 + 3)/(1 + 2); class 1: 0.5·2/(1 + 1).
    all_close(terms.state()["center"], &[2.0 / 3.0, 0.0, 0.0, 0.5]);
    let second = ((1.0f64 - 2.0 / 3.0).powi(2) + (3.0f64 - 2.0 / 3.0).powi(2) + 1.5 * 1.5) / 6.0;
    close(terms.loss(&step.forward()).unwrap().double_value(&[]), second);
}

#[test]
fn the_largest_singular_value_is_drawn_to_1() {
    let mut terms = terms(&Settings { spectral: 0.1, ..Settings::default() });
    // diag(3, 0.5), then two numbers that belong to no matrix.
    let parameters = Tensor::from_slice(&[3.0f32, 0.0, 0.0, 0.5, 1.0, -1.0]);
    let gradients = parameters.zeros_like();
    for _ in 0..20 {
        let _ = gradients.shallow_clone().zero_();
        terms.add(&parameters, &gradients);
    }
    // σ = 3 and u = v = (±1, 0): 4·3·(9 - 1)·0.1.
    all_close(&gradients, &[9.6, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let left = values(terms.state()["spectral"]);
    assert!((left[0].abs() - 1.0).abs() < 1e-5 && left[1].abs() < 1e-5, "{left:?}");
}

#[test]
fn logits_of_labelled_samples_are_held_short() {
    let mut step = Step::new();
    step.labelled = rows([[2.0, 1.0, 0.0], [1.0, 1.0, -2.0]]);
    let mut terms = terms(&Settings { decoupling: 0.1, ..Settings::default() });
    close(terms.loss(&step.forward()).unwrap().double_value(&[]), 0.2750);
}

#[test]
fn the_weights_of_a_unit_are_drawn_to_length_1() {
    let mut terms = terms(&Settings { norms: 0.5, ..Settings::default() });
    // Rows (3, 4), of length 5, and (0, 0); then two numbers that belong to no matrix.
    let parameters = Tensor::from_slice(&[3.0f32, 4.0, 0.0, 0.0, 1.0, -1.0]);
    let gradients = parameters.zeros_like();
    terms.add(&parameters, &gradients);
    all_close(&gradients, &[4.0 * 0.6, 4.0 * 0.8, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn weights_are_drawn_back_to_where_they_began() {
    let mut terms = terms(&Settings { l2_init: 0.5, ..Settings::default() });
    let parameters = Tensor::from_slice(&[3.5f32, 0.0, 0.0, 0.5, 1.0, 1.0]);
    let gradients = parameters.ones_like();
    terms.add(&parameters, &gradients);
    all_close(&gradients, &[1.5, 1.0, 1.0, 1.0, 1.0, 3.0]);
}

#[test]
fn long_gradients_are_cut_and_short_ones_are_not() {
    let terms = terms(&Settings { clip_gradient: 1.0, ..Settings::default() });
    for (gradient, expected) in [([3.0f32, 4.0], [0.6f32, 0.8]), ([0.3, 0.4], [0.3, 0.4])] {
        let gradient = Tensor::from_slice(&gradient);
        let norm = gradient.norm();
        all_close(&terms.clip(gradient, &norm), &expected);
    }
}

/// Shifts the logits of a step by `terms`; returns those of its first labelled and its first unlabelled sample, and what the
/// loss of the sample is if it is of either class.
fn shifted(terms: &mut Regularisers, step: &Step) -> [Vec<f32>; 2] {
    let mut forward = step.forward();
    terms.change(&mut forward);
    let labelled = &forward.labelled.as_ref().unwrap().output.logits;
    [values(&labelled.get(0)), values(&forward.strong[0].logits.get(0))]
}

#[test]
fn margins_add_how_often_classes_come() {
    let mut step = Step::new();
    step.constants.insert(crate::pseudo_labels::MEAN, Tensor::from_slice(&[0.5f32, 0.5]));
    let [plain_labelled, plain_unlabelled] = shifted(&mut terms(&Settings::default()), &step);
    let mut both = terms(&Settings { margin: 0.4, labelled_margin: 1.0, ..Settings::default() });
    // Counts of 6.993 and 1.998 before the step, whose samples are of classes 0, 0 and 1; (0.6, 0.4) before it.
    both.state().get_mut("margin").unwrap().copy_(&rows([[7.0, 2.0], [0.6, 0.4]]));
    let [labelled, unlabelled] = shifted(&mut both, &step);
    let frequency = |count: f64| ((count + 1.0) / (6.993 + 1.998 + 3.0 + 2.0)).ln() as f32;
    all_close(
        &Tensor::from_slice(&labelled),
        &[plain_labelled[0] + frequency(8.993), plain_labelled[1] + frequency(2.998)],
    );
    let mean = |share: f64| 0.4 * ((0.999 * share + 0.001 * 0.5).ln() as f32);
    all_close(
        &Tensor::from_slice(&unlabelled),
        &[plain_unlabelled[0] + mean(0.6), plain_unlabelled[1] + mean(0.4)],
    );
    all_close(both.state()["margin"], &[8.993, 2.998, 0.5999, 0.4001]);
    // Without the teacher's mean, as in an update on labelled samples alone, unlabelled logits stay.
    step.constants.clear();
    assert_eq!(shifted(&mut both, &step)[1], plain_unlabelled);
}

#[test]
fn losses_with_margins_are_those_worked_out_by_hand() {
    use crate::loss::cross_entropy;
    let row = |values: [f32; 3]| Tensor::from_slice(&values).view([1, 3]);
    let loss = |logits: &Tensor, class: i64| {
        cross_entropy(logits, &Target::Hard(Tensor::from_slice(&[class]))).double_value(&[0])
    };
    // τ = 0.4 with teacher means of (0.5, 0.3, 0.2); τ = 1 with frequencies of (0.7, 0.2, 0.1).
    let unlabelled = row([1.0, 0.0, 0.0]) + row([0.5, 0.3, 0.2]).log() * 0.4;
    close_to_4(&[loss(&unlabelled, 2), loss(&unlabelled, 0)], &[1.8079, 0.4414]);
    let labelled = row([1.0, 0.5, 0.0]) + row([0.7, 0.2, 0.1]).log();
    close_to_4(&[0, 1, 2].map(|class| loss(&labelled, class)), &[0.2036, 1.9564, 3.1495]);
}

fn close_to_4(found: &[f64], expected: &[f64]) {
    let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4);
    assert!(near && found.len() == expected.len(), "{found:?} is not {expected:?}");
}

#[test]
fn pseudo_labels_of_rare_classes_weigh_more() {
    let mut rare = terms(&Settings { rarity: true, ..Settings::default() });
    rare.state().get_mut("rarity").unwrap().copy_(&Tensor::from_slice(&[100.0f32, 10.0]));
    let step = Step::new();
    let mut forward = step.forward();
    rare.change(&mut forward);
    // Two of class 0 were accepted, with weights 1 and 0.5; the one of class 1 was not.
    let counts = Tensor::from_slice(&[101.9f32, 9.99]);
    all_close(rare.state()["rarity"], &[101.9, 9.99]);
    let weight = values(&crate::class_weights::effective(&counts));
    assert!(weight[0] < 1.0 && weight[1] > 1.0);
    all_close(&forward.weight, &[weight[0], 0.5 * weight[0], 0.0]);
}

/// Returns the loss of a step's labelled samples whose classes and logits these are, with a contrast.
fn contrasted(
    contrast: Contrast,
    classes: &[i64],
    logits: [[f32; 4]; 2],
    target: Option<Tensor>,
) -> (f64, Tensor) {
    let mut step = Step::new();
    step.labelled = rows(logits).set_requires_grad(true);
    step.classes = Tensor::from_slice(classes);
    let mut forward = step.forward();
    if let (Some(labelled), Some(target)) = (&mut forward.labelled, target) {
        labelled.target = Target::Soft(target);
    }
    terms(&Settings { contrast, ..Settings::default() }).change(&mut forward);
    let loss = forward.labelled_loss().unwrap();
    loss.backward();
    (loss.double_value(&[]), step.labelled.grad())
}

#[test]
fn a_class_is_told_from_present_ones() {
    // Classes 0 and 2 are there. ln(1 + e^-2) and ln(1 + e^1).
    let logits = [[2.0, 1.0, 0.0, 5.0], [1.0, 9.0, 0.0, 0.0]];
    let expected = (0.1269 + 1.3133) / 2.0;
    for contrast in [Contrast::Present, Contrast::Pair] {
        let (found, gradient) = contrasted(contrast, &[0, 2], logits, None);
        assert!((found - expected).abs() < 1e-4, "{found}");
        assert!(gradient.select(1, 1).eq(0.0).all().int64_value(&[]) == 1, "an absent class is not lowered");
    }
    let (all, _) = contrasted(Contrast::All, &[0, 2], logits, None);
    assert!(all > 5.0, "{all}");
    // What smoothing gives to an absent class is left out.
    let smoothed = rows([[0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]]);
    let (found, _) = contrasted(Contrast::Present, &[0, 2], logits, Some(smoothed));
    let smoothed = 0.85 * expected + 0.05 * (2.1269 + 0.3133) / 2.0;
    assert!((found - smoothed).abs() < 1e-4, "{found}");
    // With one class there is nothing to tell it from.
    let (alone, _) = contrasted(Contrast::Pair, &[2, 2], logits, None);
    assert!(alone.abs() < 1e-6, "{alone}");
}

#[test]
fn pairs_need_targets_of_one_class() {
    let settings = Settings { contrast: Contrast::Pair, ..Settings::default() };
    let mixup = Some(crate::regularise::mixup::Mixup::default());
    let (layout, first) = (layout(), Tensor::zeros([6], (Kind::Float, Device::Cpu)));
    for (mixes, settings) in [(true, settings.clone()), (false, Settings { mixup, ..settings })] {
        let subject =
            Subject { layout: &layout, first: &first, classes: 2, features: 2, unlabelled: true, mixes };
        let made = Regularisers::new(&settings, &subject, &mut Randomness::new(0, 0).at(0, Stage::Weights));
        assert!(made.err().unwrap().to_string().contains("regularise.contrast"));
    }
}

#[test]
fn features_are_kept_apart() {
    let mut step = Step::new();
    // Of the views the third was rejected. Features are (1, 0), (3, 0), (0, 2) and (1, 1), (2, 0).
    step.features = rows([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]);
    let views = rows([[1.0, 1.0], [2.0, 0.0], [9.0, 9.0]]);
    let of = |settings: Settings| {
        let mut forward = step.forward();
        forward.strong[0].features = views.copy();
        terms(&settings).loss(&forward).unwrap().double_value(&[])
    };
    let (first, second) = ([1.0f64, 3.0, 0.0, 1.0, 2.0], [0.0f64, 0.0, 2.0, 1.0, 0.0]);
    let mean = |values: &[f64; 5]| values.iter().sum::<f64>() / 5.0;
    let covariance = |one: &[f64; 5], other: &[f64; 5]| {
        let (a, b) = (mean(one), mean(other));
        one.iter().zip(other).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / 4.0
    };
    let short = |values: &[f64; 5]| (1.0 - (covariance(values, values) + 1e-4).sqrt()).max(0.0);
    close(of(Settings { feature_variance: 2.0, ..Settings::default() }), short(&first) + short(&second));
    let off = covariance(&first, &second);
    close(of(Settings { feature_covariance: 1.0, ..Settings::default() }), off * off);
    // Directions: (1, 0) three times, (0, 1) once, and (1, 1) once.
    let similar = |cosine: f64| (-4.0 * (1.0 - cosine)).exp();
    let pairs =
        3.0 * similar(1.0) + 3.0 * similar(0.0) + 3.0 * similar(0.5f64.sqrt()) + similar(0.5f64.sqrt());
    close(of(Settings { feature_uniformity: 1.0, ..Settings::default() }), (pairs / 10.0).ln());
}

#[test]
fn features_that_collapsed_have_finite_terms() {
    let mut step = Step::new();
    step.features = Tensor::ones([3, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let all = Settings {
        feature_variance: 1.0,
        feature_covariance: 1.0,
        feature_uniformity: 1.0,
        ..Settings::default()
    };
    let mut forward = step.forward();
    forward.strong.clear();
    forward.weight = Tensor::zeros([0], (Kind::Float, Device::Cpu));
    let loss = terms(&all).loss(&forward).unwrap();
    close(loss.double_value(&[]), 0.99);
    loss.backward();
    assert!(bool::try_from(step.features.grad().isfinite().all()).unwrap());
}

#[test]
fn what_smoothing_steps_end_must_have_begun() {
    use sluicebox_core::config::document::Settings as _;
    let ends = Settings { smoothing_steps: 5, ..Settings::default() };
    assert_eq!(ends.faults()[0].0, "smoothing_steps");
    assert!(Settings { label_smoothing: 0.1, ..ends }.faults().is_empty());
}

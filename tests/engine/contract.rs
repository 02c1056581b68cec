//! Requirements on every entry of every registry: a new entry is tested without being named here.

use crate::support;
use crate::support::{small_job, weights_of};
use rand::RngExt;
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use sluicebox_core::config::registry::{Registry, Spec};
use sluicebox_core::report::ledger::LedgerStats;
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_core::sample::Shape;
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::messages::{LabelledScores, Scores, ViewScores};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::{Forward, LabelledForward, Method};
use sluicebox_learn::model::api::Output;
use sluicebox_learn::pseudo_labels::{JudgedLabels, PseudoLabels, Target};
use sluicebox_stream::source::api::Context;
use sluicebox_stream::source::is_timed;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tch::{Device, Kind, Tensor};

fn defaults(kind: &str) -> Spec {
    let text = format!("source.kind = \"digits\"\nviews.weak = [{{ kind = \"{kind}\" }}]");
    Job::parse("test", "test", text, &[]).unwrap().views.weak.remove(0)
}

#[test]
fn names_are_kebab_case_and_told_in_one_line() {
    fn rows<B>(registry: &Registry<B>) {
        let mut names = registry.names();
        for entry in registry.entries {
            let kebab = entry.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(kebab, "{}", entry.name);
            assert!(!entry.about.is_empty() && entry.about.len() < 100 && !entry.about.contains('\n'));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), registry.entries.len(), "a name is there twice");
        assert!(registry.find("no-such-thing").err().unwrap().to_string().contains(registry.what));
    }
    rows(&sluicebox_stream::source::SOURCES);
    rows(&AUGMENTATIONS);
    rows(&sluicebox_learn::model::MODELS);
    rows(&sluicebox_learn::method::METHODS);
    rows(&sluicebox_learn::optimiser::OPTIMISERS);
    rows(&sluicebox::job::sinks::SINKS);
}

#[test]
fn augmentations_keep_shape_and_range_and_depend_on_their_draws_alone() {
    let image = Shape::Image { channels: 3, height: 9, width: 12 };
    let vector = Shape::Vector { features: 20 };
    for entry in AUGMENTATIONS.entries {
        let augmentation = (entry.build)(&defaults(entry.name)).unwrap();
        let shapes: Vec<Shape> =
            [image, vector].into_iter().filter(|shape| augmentation.refuses(*shape).is_none()).collect();
        assert!(!shapes.is_empty(), "{} fits nothing", entry.name);
        for shape in shapes {
            let batch = noise(&shape.batch(64), &mut draws(0)).clamp(0.0, 1.0);
            let before = batch.copy();
            let view =
                |step| augmentation.apply(&batch, &mut Randomness::new(0, 0).at(step, Stage::WeakView));
            let first = view(0);
            assert_eq!(first.size(), batch.size(), "{}", entry.name);
            assert_eq!(first.kind(), Kind::Float, "{}", entry.name);
            assert!(batch.equal(&before), "{} changed its input", entry.name);
            assert!(first.equal(&view(0)), "{} is not repeatable", entry.name);
            assert!(!first.equal(&view(1)), "{} ignores its draws", entry.name);
            assert!(!first.equal(&batch), "{} does nothing", entry.name);
            assert!(bool::try_from(first.isfinite().all()).unwrap());
            if let Shape::Image { .. } = shape {
                let (least, most) = (first.min().double_value(&[]), first.max().double_value(&[]));
                assert!(least >= -1e-6 && most <= 1.0 + 1e-6, "{}: {least} to {most}", entry.name);
            }
            // Each sample has its own parameters: equal samples come out different.
            let equal = batch.narrow(0, 0, 1).expand(batch.size().as_slice(), false).contiguous();
            let views = augmentation.apply(&equal, &mut Randomness::new(0, 0).at(0, Stage::WeakView));
            let first = views.narrow(0, 0, 1);
            let different =
                (&views - &first).abs().flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
            assert!(
                different.gt(0.0).sum(Kind::Int64).int64_value(&[]) > 16,
                "{} draws once a batch",
                entry.name
            );
        }
    }
}

#[test]
fn every_method_learns_and_repeats() {
    for name in sluicebox_learn::method::METHODS.names() {
        let kind = format!("method.kind={name}");
        let job = small_job(&[&kind]);
        assert_eq!(weights_of(&job), weights_of(&job), "{name}");
    }
}

#[test]
fn every_method_goes_on_where_it_stopped() {
    for name in METHODS.names() {
        let kind = format!("method.kind={name}");
        for mode in ["filter.mode=filter", "filter.mode=mask"] {
            let job = |epochs| {
                small_job(&[&kind, mode, epochs, "epoch.steps=10", "batch.labelled=8", "batch.unlabelled=16"])
            };
            let folder = tempfile::tempdir().unwrap();
            let options = Options { state: Some(folder.path().into()), ..Options::default() };
            let half = run(&job("stop.epochs=1"), &options, Arc::new(AtomicBool::new(false))).unwrap();
            let rest = run(&job("stop.epochs=2"), &options, Arc::new(AtomicBool::new(false))).unwrap();
            assert_eq!((half.steps, rest.steps), (10, 20));
            assert_eq!(rest.weights_sha256, weights_of(&job("stop.epochs=2")), "{name}, {mode}");
        }
    }
}

/// A difficult step for a method.
struct Hard {
    what: &'static str,
    /// The teacher's probabilities for each view, `[B, C]`.
    rows: Tensor,
    /// The step has labelled samples.
    labelled: bool,
    /// All samples are rejected, as where all of them have a label already.
    rejected: bool,
}

const CLASSES: i64 = 10;
const FEATURES: i64 = 5;

fn draws(step: u64) -> Draws {
    Randomness::new(0, 0).at(step, Stage::Student)
}

/// Returns values from -1.7 to 1.7. Does not use libtorch's generator, which the process shares:
/// jobs of other tests draw from it at the same time.
fn noise(shape: &[i64], draws: &mut Draws) -> Tensor {
    let numbers: Vec<f32> =
        (0..shape.iter().product()).map(|_: i64| 3.4 * draws.random::<f32>() - 1.7).collect();
    Tensor::from_slice(&numbers).view(shape)
}

fn hard_batches(draws: &mut Draws) -> [Hard; 5] {
    let certain = |class: i64, count: i64| {
        let rows = Tensor::full([count], class, (Kind::Int64, Device::Cpu)).one_hot(CLASSES);
        rows.to_kind(Kind::Float)
    };
    let mut rows = |count: i64| (noise(&[count, CLASSES], draws) * 3.0).softmax(1, Kind::Float);
    [
        Hard { what: "any batch", rows: rows(8), labelled: true, rejected: false },
        Hard { what: "everything rejected", rows: rows(8), labelled: true, rejected: true },
        Hard { what: "one class, certain", rows: certain(3, 8), labelled: true, rejected: false },
        Hard { what: "nothing labelled", rows: rows(8), labelled: false, rejected: false },
        Hard { what: "one sample", rows: certain(2, 1), labelled: true, rejected: false },
    ]
}

fn scores_of(hard: &Hard, step: u64, method: &dyn Method, draws: &mut Draws) -> Scores {
    let count = hard.rows.size()[0];
    let wanted = method.views();
    let labelled = LabelledScores {
        probabilities: (noise(&[4, CLASSES], draws) * 3.0).softmax(1, Kind::Float),
        features: noise(&[4, FEATURES], draws),
        heads: wanted.heads.iter().map(|_| noise(&[4, CLASSES], draws)).collect(),
        input: noise(&[4, 1, 8, 8], draws),
        classes: Tensor::from_slice(&[1i64, 1, 0, 7]),
        keys: vec![4, 4, 9, 2],
        further: (0..wanted.labelled.len())
            .map(|_| ViewScores {
                probabilities: (noise(&[4, CLASSES], draws) * 3.0).softmax(1, Kind::Float),
                features: noise(&[4, FEATURES], draws),
            })
            .collect(),
    };
    Scores {
        step,
        unlabelled: (0..wanted.weak).map(|_| hard.rows.copy()).collect(),
        input: noise(&[count, 1, 8, 8], draws),
        labelled: (hard.labelled && wanted.labelled_scores).then_some(labelled),
        features: noise(&[count, FEATURES], draws),
        heads: wanted.heads.iter().map(|_| noise(&[count, CLASSES], draws)).collect(),
        alarm: step == 6,
        ledger_stats: (wanted.ledger_stats && step > 1).then(|| LedgerStats::new(CLASSES as usize)),
    }
}

/// Returns every tensor of the pseudo-labels, by name.
fn told(pseudo_labels: &PseudoLabels) -> Vec<(&str, &Tensor)> {
    let target = match &pseudo_labels.target {
        Target::Hard(tensor) | Target::Soft(tensor) => tensor,
    };
    let known =
        [("confidence", &pseudo_labels.confidence), ("weight", &pseudo_labels.weight), ("target", target)];
    let threshold = pseudo_labels.threshold.iter().map(|tensor| ("threshold", tensor));
    let further =
        pseudo_labels.rows.iter().chain(&pseudo_labels.constants).map(|(name, tensor)| (*name, tensor));
    let confident = pseudo_labels.confident.iter().map(|tensor| ("confident", tensor));
    let of_labelled = pseudo_labels.labelled.iter().flat_map(|labelled| {
        let (Target::Hard(target) | Target::Soft(target)) = &labelled.target;
        let weight = labelled.weight.iter().map(|weight| ("labelled weight", weight));
        let rows = labelled.rows.iter().map(|(name, tensor)| (*name, tensor));
        std::iter::once(("labelled target", target)).chain(weight).chain(rows)
    });
    known.into_iter().chain(threshold).chain(confident).chain(further).chain(of_labelled).collect()
}

fn finite(tensor: &Tensor) -> bool {
    bool::try_from(tensor.isfinite().all()).unwrap()
}

/// Checks that the loss of a step with the selection `index`, and its gradients, are finite.
fn check_loss(method: &dyn Method, hard: &Hard, pseudo_labels: &PseudoLabels, index: &Tensor, what: &str) {
    let mut draws = draws(index.size()[0] as u64);
    let mut leaf = |shape: &[i64]| noise(shape, &mut draws).set_requires_grad(true);
    let heads = method.views().heads;
    let mut output = |count| Output {
        logits: leaf(&[count, CLASSES]),
        features: leaf(&[count, FEATURES]),
        heads: heads.iter().map(|_| leaf(&[count, CLASSES])).collect(),
    };
    let classes = Tensor::from_slice(&[1i64, 1, 0, 7]);
    let selected = |tensor: &Tensor| tensor.index_select(0, index);
    let count = index.size()[0];
    let views = if count > 0 { method.views().student.len() } else { 0 };
    let strong: Vec<Output> = (0..views).map(|_| output(count)).collect();
    let judged = pseudo_labels.labelled.as_ref().map(|labelled| labelled.map(Tensor::shallow_clone));
    let judged = judged.unwrap_or_else(|| JudgedLabels::as_given(&classes));
    let labelled = hard.labelled.then(|| LabelledForward {
        further: method.views().labelled.iter().map(|_| output(4)).collect(),
        rows: judged.rows,
        ..LabelledForward::new(output(4), judged.target, &classes)
    });
    let of_labelled =
        labelled.iter().flat_map(|labelled| std::iter::once(&labelled.output).chain(&labelled.further));
    let outputs = strong.iter().chain(of_labelled);
    let leaves =
        outputs.flat_map(|output| [&output.logits, &output.features].into_iter().chain(&output.heads));
    let leaves: Vec<Tensor> = leaves.map(Tensor::shallow_clone).collect();
    let forward = Forward {
        labelled,
        strong,
        target: pseudo_labels.target.map(selected),
        further_targets: (1..method.views().mix.map_or(1, |mixing| mixing.views))
            .map(|_| Target::Soft(pseudo_labels.target.map(selected).rows(CLASSES)))
            .collect(),
        weight: selected(&pseudo_labels.weight),
        batch: pseudo_labels.weight.size()[0] as f64,
        rows: pseudo_labels.rows.iter().map(|(name, rows)| (*name, selected(rows))).collect(),
        constants: &pseudo_labels.constants,
        draws: self::draws(0),
    };
    let Some(loss) = method.loss(forward) else { return };
    for part in [&loss.total, &loss.labelled, &loss.unlabelled] {
        assert!(finite(part), "{what}: the loss is {part:?}");
    }
    loss.total.backward();
    let gradients = leaves.iter().map(Tensor::grad).filter(Tensor::defined);
    gradients.for_each(|gradient| assert!(finite(&gradient), "{what}: a gradient is no number"));
}

#[test]
fn every_method_copes_with_hard_batches() {
    let mut draws = draws(100);
    for entry in METHODS.entries {
        let spec = small_job(&[&format!("method.kind={}", entry.name)]).method;
        let method = (entry.build)(&spec).unwrap();
        let mut labeller = method.pseudo_labeller();
        for step in 0..15 {
            let hard = &hard_batches(&mut draws)[step % 5];
            let what = format!("{}, {}", entry.name, hard.what);
            let scores = scores_of(hard, 100 * step as u64, &*method, &mut draws);
            let mut pseudo_labels = labeller.pseudo_label(&scores);
            if hard.rejected {
                pseudo_labels.weight = pseudo_labels.weight.zeros_like();
            }
            assert_eq!(pseudo_labels.weight.size()[0], hard.rows.size()[0], "{what}");
            assert!(
                bool::try_from(pseudo_labels.weight.ge(0.0).all()).unwrap(),
                "{what}: a weight is negative"
            );
            told(&pseudo_labels).iter().for_each(|(name, tensor)| assert!(finite(tensor), "{what}: {name}"));
            let all = Tensor::arange(hard.rows.size()[0], (Kind::Int64, Device::Cpu));
            for index in [pseudo_labels.selected().nonzero().view(-1), all] {
                check_loss(&*method, hard, &pseudo_labels, &index, &what);
            }
        }
    }
}

#[test]
fn every_pseudo_labeller_goes_on_alike_after_a_restart() {
    let mut draws = draws(200);
    for entry in METHODS.entries {
        let spec = small_job(&[&format!("method.kind={}", entry.name)]).method;
        let method = (entry.build)(&spec).unwrap();
        let (mut labeller, mut restarted) = (method.pseudo_labeller(), method.pseudo_labeller());
        // Once before the first step, and once after some steps.
        restarted.load(&labeller.save().unwrap()).unwrap();
        for step in 0..8 {
            let scores = scores_of(&hard_batches(&mut draws)[step % 5], step as u64, &*method, &mut draws);
            let (one, other) = (labeller.pseudo_label(&scores), restarted.pseudo_label(&scores));
            for ((name, one), (_, other)) in told(&one).into_iter().zip(told(&other)) {
                assert!(one.equal(other), "{}: {name} differs at step {step}", entry.name);
            }
            if step == 4 {
                restarted = method.pseudo_labeller();
                restarted.load(&labeller.save().unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn every_optimiser_and_model_runs() {
    for name in sluicebox_learn::optimiser::OPTIMISERS.names() {
        weights_of(&small_job(&[&format!("optimiser.kind={name}")]));
    }
    for name in sluicebox_learn::model::MODELS.names() {
        // Batches are small, since some networks are large.
        let mut sets = vec![format!("model.kind={name}"), "batch.unlabelled=16".into()];
        if name == "torchscript" {
            sets.push("model.path=examples/torchscript/digits-cnn.pt".into());
        }
        weights_of(&small_job(&sets.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}

#[test]
fn every_resolved_job_reads_itself() {
    for entry in std::fs::read_dir(support::root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let job = Job::load(&path, &[]).unwrap();
        let again = Job::parse("again", "again", job.resolved(), &[]).unwrap();
        assert_eq!(job, again, "{}", path.display());
    }
}

#[test]
fn a_source_is_timed_if_its_kind_is() {
    let mut built = 0;
    for entry in std::fs::read_dir(support::root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let job = Job::load(&path, &[]).unwrap();
        // Those whose files are not here cannot be built.
        let Ok(sources) = sluicebox::run::sources(&job, &Context::default()) else { continue };
        let timed = job.sources.iter().any(|stream| is_timed(&stream.spec.kind));
        assert_eq!(sources.is_timed(), timed, "{}", path.display());
        built += usize::from(timed);
    }
    assert!(built > 0);
}

//! What holds for every row of every registry: a new row is tested without being named here.

#![allow(missing_docs)]
mod support;

use sluicebox::Job;
use sluicebox::augmentation::AUGMENTATIONS;
use sluicebox::randomness::{Randomness, Stage};
use sluicebox::registry::{Registry, Spec};
use sluicebox::samples::Shape;
use support::{small_job, weights_of};
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
    rows(&sluicebox::source::SOURCES);
    rows(&AUGMENTATIONS);
    rows(&sluicebox::model::MODELS);
    rows(&sluicebox::method::METHODS);
    rows(&sluicebox::student::optimiser::OPTIMISERS);
    rows(&sluicebox::sink::SINKS);
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
            tch::manual_seed(1);
            let batch = Tensor::rand(shape.batch(64).as_slice(), (Kind::Float, Device::Cpu));
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
            // Each sample has parameters of its own: equal samples come out different.
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
    for name in sluicebox::method::METHODS.names() {
        let kind = format!("method.kind={name}");
        let job = small_job(&[&kind]);
        assert_eq!(weights_of(&job), weights_of(&job), "{name}");
    }
}

#[test]
fn every_optimiser_and_model_runs() {
    for name in sluicebox::student::optimiser::OPTIMISERS.names() {
        weights_of(&small_job(&[&format!("optimiser.kind={name}")]));
    }
    for name in sluicebox::model::MODELS.names() {
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

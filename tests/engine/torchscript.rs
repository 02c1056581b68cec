//! A user's own network: it computes what PyTorch computes, and it resumes like any other.

use crate::support::{root, small_job, weights_of};
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_learn::augmentation::api::normal_like;
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::messages::Weights;
use sluicebox_learn::model::MODELS;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::weights::{Replica, from_named, named};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::{Device, Kind, Tensor};

const EXAMPLE: &str = "examples/torchscript/digits-cnn.pt";
const CPU: Compute = Compute { device: Device::Cpu, precision: Precision::F32 };

fn golden(name: &str) -> PathBuf {
    root().join("crates/sluicebox-learn/tests/golden").join(name)
}

/// Returns a job's model options, or the error in them.
fn options(path: &Path) -> Result<Spec, String> {
    let text = format!("source.kind = \"digits\"\nmodel = {{ kind = \"torchscript\", path = {path:?} }}");
    Job::parse("test", "test", text, &[]).map(|job| job.model).map_err(|error| error.to_string())
}

fn build(path: &Path, features: usize, classes: usize) -> Result<Box<dyn Model>, String> {
    build_for(path, Shape::Vector { features }, classes)
}

fn build_for(path: &Path, shape: Shape, classes: usize) -> Result<Box<dyn Model>, String> {
    let classes = (0..classes).map(|class| class.to_string()).collect();
    let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
    let build = MODELS.find("torchscript").unwrap().build;
    build(&options(path)?, &format).map_err(|error| error.to_string())
}

fn first(model: &dyn Model, compute: Compute) -> Replica {
    Replica::first(model.layout(), compute, &mut Randomness::new(1, 0).at(0, Stage::Weights))
}

#[test]
fn a_step_is_pytorchs() {
    let golden_file = Tensor::read_safetensors(golden("torchscript.safetensors")).unwrap();
    let expected: HashMap<String, Tensor> = golden_file.into_iter().collect();
    let model = build(&golden("torchscript.pt"), 6, 3).unwrap();
    assert_eq!(model.features(), 5);
    // bf16 needs a network whose layers are known.
    let compute = model.compute(Compute { device: Device::Cpu, precision: Precision::Bf16 });
    let mut replica = first(&*model, compute);
    let close = |found: &Tensor, name: &str| {
        assert_eq!(found.size(), expected[name].size(), "{name}");
        let gap = (found - &expected[name]).abs().max().double_value(&[]);
        assert!(gap < 1e-5, "{name}: off by {gap:e}");
    };
    let infer = |replica: &Replica| {
        let folded =
            tch::no_grad(|| model.fold(replica.parameters(), replica.buffers(), replica.copies(Kind::Float)));
        let folded: Vec<Tensor> = folded.into_iter().map(|tensor| tensor.to_kind(compute.kind())).collect();
        tch::no_grad(|| model.infer(&folded, &compute.input(&expected["input"])))
    };
    let before = infer(&replica);
    close(&before.logits, "eval_logits");
    close(&before.features, "eval_features");
    let leaves = model.leaves(replica.leaves(), &mut Randomness::new(1, 0).at(0, Stage::Network));
    let output = model.train(&leaves, replica.buffers(), &compute.input(&expected["input"]), 0);
    close(&output.logits.detach(), "train_logits");
    let loss = output.logits.cross_entropy_for_logits(&expected["classes"]);
    let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
    tch::no_grad(|| {
        let step = replica.flatten(&gradients) * 0.1;
        let _ = replica.parameters.g_sub_(&step);
    });
    let weights = Weights { step: 1, parameters: replica.parameters.copy(), buffers: replica.buffers.copy() };
    let after = named(model.layout(), &weights);
    let names = after.iter().filter(|(name, tensor)| {
        assert_eq!(tensor.kind(), expected[&format!("after.{name}")].kind(), "{name}");
        close(tensor, &format!("after.{name}"));
        true
    });
    assert_eq!(names.count(), expected.keys().filter(|name| name.starts_with("after.")).count());
    // Inference uses the trained weights, both directly and after saving and loading them.
    let trained = infer(&replica).logits;
    assert!(!trained.equal(&before.logits));
    let back = from_named(model.layout(), 1, &after).unwrap();
    let again = Replica::with(model.layout(), CPU, back.parameters, back.buffers);
    assert!(infer(&again).logits.equal(&trained));
}

#[test]
fn student_and_teacher_keep_their_own_weights() {
    let model = build(&golden("torchscript.pt"), 6, 3).unwrap();
    let (student, teacher) = (first(&*model, CPU), first(&*model, CPU));
    let folded =
        tch::no_grad(|| model.fold(teacher.parameters(), teacher.buffers(), teacher.copies(Kind::Float)));
    let input = Tensor::ones([4, 6], (Kind::Float, Device::Cpu));
    let says = || tch::no_grad(|| model.infer(&folded, &input).logits.copy());
    let before = says();
    let leaves = model.leaves(student.leaves(), &mut Randomness::new(1, 0).at(0, Stage::Network));
    model.train(&leaves, student.buffers(), &(&input * 3.0), 0);
    let _ = tch::no_grad(|| student.parameters.shallow_clone().fill_(0.1));
    assert!(says().equal(&before));
    assert!(!student.buffers.equal(&teacher.buffers));
}

#[test]
fn dropout_does_not_depend_on_what_other_threads_draw() {
    let done = Arc::new(AtomicBool::new(false));
    let other = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut draws = Randomness::new(2, 0).at(0, Stage::Network);
            let batch = Tensor::zeros([64], (Kind::Float, Device::Cpu));
            while !done.load(Ordering::Relaxed) {
                let _ = normal_like(&batch, &mut draws);
            }
        }
    });
    let input = Tensor::ones([64, 1, 8, 8], (Kind::Float, Device::Cpu));
    let pass = || {
        let shape = Shape::Image { channels: 1, height: 8, width: 8 };
        let model = build_for(&root().join(EXAMPLE), shape, 10).unwrap();
        let replica = first(&*model, CPU);
        let leaves = model.leaves(replica.leaves(), &mut Randomness::new(1, 0).at(0, Stage::Network));
        model.train(&leaves, replica.buffers(), &input, 0).logits.detach()
    };
    let passes: Vec<Tensor> = (0..20).map(|_| pass()).collect();
    done.store(true, Ordering::Relaxed);
    other.join().unwrap();
    assert!(passes.iter().all(|logits| logits.equal(&passes[0])));
    assert!(!passes[0].equal(&passes[0].roll([1], [0])), "dropout gives equal samples other logits");
}

fn own_job(path: &str, epochs: u64) -> Job {
    let sets = [
        format!("stop.epochs={epochs}"),
        "model.kind=torchscript".into(),
        format!("model.path={path}"),
        "batch.unlabelled=32".into(),
        "threads=1".into(),
        "precision=f32".into(), // what is faster depends on how busy the machine is
    ];
    small_job(&sets.each_ref().map(String::as_str))
}

#[test]
fn it_resumes_bit_by_bit_wherever_the_file_lies_and_with_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let resume = |job: &Job| {
        let options = Options { state: Some(folder.path().join("state")), ..Options::default() };
        run(job, &options, Arc::new(AtomicBool::new(false)))
    };
    let whole = weights_of(&own_job(EXAMPLE, 3));
    let half = resume(&own_job(EXAMPLE, 1)).unwrap();
    assert_ne!(half.weights_sha256, whole);
    let moved = folder.path().join("moved.pt");
    std::fs::copy(root().join(EXAMPLE), &moved).unwrap();
    let resumed = resume(&own_job(moved.to_str().unwrap(), 3)).unwrap();
    assert_eq!(resumed.weights_sha256, whole);
    std::fs::copy(golden("torchscript.pt"), &moved).unwrap();
    let refused = resume(&own_job(moved.to_str().unwrap(), 4)).unwrap_err().to_string();
    assert!(refused.contains("model.sha256"), "{refused}");
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |path: &Path, classes, expected: &str| {
        let error = build(path, 6, classes).err().unwrap();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(expected), "{error}");
    };
    told(&folder.path().join("missing.pt"), 3, "No such file");
    let text = folder.path().join("text.pt");
    std::fs::write(&text, "no network").unwrap();
    told(&text, 3, "torch.jit.save");
    told(&golden("torchscript.pt"), 4, "[2, 4]");
    told(&golden("torchscript-f64.pt"), 3, "float32");
    let error = build(&golden("torchscript.pt"), 7, 3).err().unwrap();
    assert!(error.contains("torchscript.pt") && error.contains("its forward pass fails"), "{error}");
    // The file changes after the job was read.
    let changed = folder.path().join("changed.pt");
    std::fs::copy(golden("torchscript.pt"), &changed).unwrap();
    let spec = options(&changed).unwrap();
    std::fs::write(&changed, "another").unwrap();
    let format = Format {
        shape: Shape::Vector { features: 6 },
        dtype: Dtype::F32,
        scale: 1.0,
        classes: vec!["a".into()],
    };
    let error = (MODELS.find("torchscript").unwrap().build)(&spec, &format).err().unwrap().to_string();
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn a_module_traced_in_the_wrong_mode_is_refused() {
    let told = |name: &str, expected: &str| {
        let error = build(&golden(name), 6, 3).err().unwrap();
        assert!(
            error.contains(name) && error.contains(expected) && error.contains("torch.jit.script"),
            "{error}"
        );
    };
    told("torchscript-traced-train.pt", "two answers for the same samples");
    told("torchscript-random.pt", "two answers for the same samples");
    told("torchscript-traced-norm.pt", "depends on the others of the batch");
    told("torchscript-traced-eval.pt", "batch norm and dropout never train");
    // Frozen layers that have seen samples may be meant.
    build(&golden("torchscript-traced-pretrained.pt"), 6, 3).unwrap();
}

#[test]
fn a_module_that_changes_its_input_in_place_leaves_the_samples_alone() {
    let [inside, outside] = ["in-place", "out-of-place"]
        .map(|name| build(&golden(&format!("torchscript-{name}.pt")), 6, 3).unwrap());
    let samples = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([2, 6]);
    let before = samples.copy();
    let says = |model: &dyn Model| {
        let replica = first(model, CPU);
        let folded =
            tch::no_grad(|| model.fold(replica.parameters(), replica.buffers(), replica.copies(Kind::Float)));
        tch::no_grad(|| model.infer(&folded, &samples)).logits
    };
    assert!(says(&*inside).equal(&says(&*outside)));
    assert!(samples.equal(&before));
}

#[test]
fn buffers_of_whole_numbers_and_of_bool_are_taken() {
    let model = build(&golden("torchscript-buffers.pt"), 6, 3).unwrap();
    let replica = first(&*model, CPU);
    let weights =
        || Weights { step: 1, parameters: replica.parameters.copy(), buffers: replica.buffers.copy() };
    let at = |name: &str| {
        let named = named(model.layout(), &weights());
        let (_, tensor) = named.into_iter().find(|(other, _)| other == name).unwrap();
        Vec::<i64>::try_from(tensor).unwrap()
    };
    assert_eq!(at("keeps"), [1, 0, 1, 1, 1, 1]);
    assert_eq!(at("steps"), [0]);
    let says = |input: &Tensor| {
        let folded =
            tch::no_grad(|| model.fold(replica.parameters(), replica.buffers(), replica.copies(Kind::Float)));
        tch::no_grad(|| model.infer(&folded, input)).logits
    };
    let input = Tensor::ones([4, 6], (Kind::Float, Device::Cpu));
    let other = input.copy();
    let _ = other.narrow(1, 1, 1).fill_(9.0);
    assert!(says(&input).equal(&says(&other)), "the second value is left out");
    for passes in 0..2 {
        let leaves = model.leaves(replica.leaves(), &mut Randomness::new(1, 0).at(0, Stage::Network));
        model.train(&leaves, replica.buffers(), &input, passes);
    }
    assert_eq!(at("steps"), [2]);
    let back = from_named(model.layout(), 1, &named(model.layout(), &weights())).unwrap();
    assert!(back.buffers.view_dtype(Kind::Int64).equal(&replica.buffers.view_dtype(Kind::Int64)));
}

#[test]
fn the_least_batch_is_found() {
    assert_eq!(build(&golden("torchscript.pt"), 6, 3).unwrap().least_batch(), 2);
    assert_eq!(build(&golden("torchscript-in-place.pt"), 6, 3).unwrap().least_batch(), 1);
}

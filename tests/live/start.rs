//! A job that starts from weights, keeps parts of them, and weighs its classes.

use crate::support::output;
use serde_json::Value;

/// Runs the digits with a small network for a few steps. Returns the summary, and what the log says.
fn run(sets: &[&str], more: &[&str]) -> (Value, String) {
    let base = ["run", "pipelines/digits.toml"];
    let small = ["model.layers=[8,0,8]", "epoch.steps=20", "threads=1", "precision=f32", "teacher.ema=0"];
    let sets: Vec<&str> = small.iter().chain(sets).flat_map(|set| ["--set", *set]).collect();
    let (code, stdout, stderr) = output(&[&base[..], &sets, more].concat());
    assert_eq!(code, 0, "{stderr}");
    (serde_json::from_str(stdout.lines().last().unwrap()).unwrap(), stderr)
}

#[test]
fn a_job_goes_on_from_the_weights_of_another_and_leaves_frozen_parts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, _) = run(&["stop.epochs=3"], &["--state", &path("first")]);
    let file = path("first.safetensors");
    assert_eq!(output(&["export", &path("first"), "--to", &file]).0, 0);
    let init = format!("model.init={file}");
    // Without a rate worth the name it answers as the job did from which its weights are.
    let idle = ["stop.epochs=1", "optimiser.learning_rate=1e-12", "seed=5", &init];
    let (second, said) = run(&idle, &[]);
    assert!(said.contains("model.init: ") && said.contains(" tensors are from "), "{said}");
    assert!(!said.contains("not in it") && !said.contains("of another shape"), "{said}");
    let accuracy = |summary: &Value| summary["accuracy"].as_f64().unwrap();
    assert!(accuracy(&first) > 0.4, "{first}");
    assert!((accuracy(&first) - accuracy(&second)).abs() < 0.1, "{first} {second}");
    // All frozen: whatever the rate is, no weight moves.
    let weights = |rate: &str, more: &[&str], name: &str| {
        let rate = format!("optimiser.learning_rate={rate}");
        let state = path(name);
        run(&[&["stop.epochs=1", "seed=5", &init, &rate], more].concat(), &["--state", &state]);
        let exported = path(&format!("{name}.safetensors"));
        assert_eq!(output(&["export", &state, "--to", &exported]).0, 0);
        tch::Tensor::read_safetensors(exported).unwrap()
    };
    let frozen = weights("0.05", &["model.frozen=[\"features\"]"], "frozen");
    let before = tch::Tensor::read_safetensors(&file).unwrap();
    let mut learned = 0;
    for (name, tensor) in &frozen {
        let then = &before.iter().find(|(other, _)| other == name).unwrap().1;
        let is_statistic = name.contains("running") || name.ends_with("num_batches_tracked");
        match name.starts_with("features") {
            true if !is_statistic => assert!(tensor.equal(then), "{name} is frozen"),
            true => {}
            false => learned += usize::from(!tensor.equal(then)),
        }
    }
    assert!(learned > 0, "the last layer learns");
}

#[test]
fn what_does_not_suit_the_job_is_refused() {
    let fails = |set: &str, says: &[&str]| {
        let (code, _, stderr) = output(&["run", "pipelines/digits.toml", "--set", set]);
        assert_eq!(code, 2, "{set}: {stderr}");
        says.iter().for_each(|what| assert!(stderr.contains(what), "{stderr}"));
    };
    fails("loss.class_weights=[1,2]", &["loss.class_weights has 2 weights, but there are 10 classes"]);
    fails("loss.class_weights=even", &["loss.class_weights: ", "neither \"none\" nor \"balanced\""]);
    fails("model.frozen=[\"layer1\"]", &["model.frozen: the model has no part `layer1`"]);
    fails("model.rates={features=-1}", &["model.rates: features = -1 must be from 0 to 1000"]);
    fails("model.init=no-such.safetensors", &["no-such.safetensors"]);
}

#[test]
fn balanced_classes_change_what_is_learned() {
    let uneven = ["stop.epochs=1", "labels.rate=0.3", "labels.delay=10", "scenario.imbalance=10"];
    let weights = |set: &str| run(&[&uneven[..], &[set]].concat(), &[]).0["weights_sha256"].clone();
    let none = weights("loss.class_weights=none");
    assert_ne!(none, weights("loss.class_weights=balanced"));
}

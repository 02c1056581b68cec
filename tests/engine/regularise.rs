//! The regularisers in a job: each changes what is learned, and a job with any of them resumes.

use crate::support::{small_job, weights_of};
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const ALL: [&str; 12] = [
    "regularise.entropy=0.1",
    "regularise.prior=0.1",
    "regularise.center=0.01",
    "regularise.spectral=0.01",
    "regularise.l2_init=0.001",
    "regularise.decoupling=0.001",
    "regularise.norms=0.0001",
    "regularise.contrast=pair",
    "regularise.feature_variance=0.01",
    "regularise.feature_uniformity=0.01",
    "regularise.project=true",
    "regularise.clip_gradient=0.5",
];

fn job(more: &[&str]) -> Job {
    let small = [
        "batch.unlabelled=16",
        "method.threshold=0.3",
        "schedule.warmup_steps=20",
        "regularise.prior_of=labelled",
        "threads=1",
    ];
    small_job(&[&small[..], more].concat())
}

#[test]
fn each_changes_what_is_learned() {
    let mut found: Vec<String> = ALL.iter().map(|set| weights_of(&job(&[*set]))).collect();
    found.push(weights_of(&job(&[])));
    found.sort();
    found.dedup();
    assert_eq!(found.len(), ALL.len() + 1);
}

#[test]
fn what_they_learned_is_in_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let part = |epochs: &str| {
        let options = Options { state: Some(folder.path().join("state")), ..Options::default() };
        let job = job(&[&ALL[..], &[epochs]].concat());
        run(&job, &options, Arc::new(AtomicBool::new(false))).unwrap().weights_sha256
    };
    part("stop.epochs=1");
    assert_eq!(part("stop.epochs=3"), weights_of(&job(&ALL)));
}

#[test]
fn what_is_out_of_range_is_told() {
    let sets = ["regularise.entropy=-1", "regularise.center_rate=2"].map(String::from);
    let text = "source.kind = \"digits\"".to_string();
    let error = Job::parse("test", "test", text, &sets).unwrap_err().to_string();
    assert!(error.contains("regularise.entropy") && error.contains("regularise.center_rate"), "{error}");
}

/// An anchor, at the end of the first of two phases, and mixtures beside samples: a job with them resumes too.
#[test]
fn an_anchor_is_in_the_checkpoint() {
    for kind in ["l2", "ewc", "lwf"] {
        let anchor = format!("regularise.anchor.kind={kind}");
        let anchored = |more: &[&str]| {
            let phases = ["scenario.phases=2", "scenario.phase_samples=160", "regularise.mixup.beside=1"];
            let anchor = [anchor.as_str(), "regularise.anchor.at=phases", "regularise.anchor.weight=0.1"];
            job(&[&phases[..], &anchor[..], more].concat())
        };
        let folder = tempfile::tempdir().unwrap();
        let part = |epochs: &str| {
            let options = Options { state: Some(folder.path().join("state")), ..Options::default() };
            run(&anchored(&[epochs]), &options, Arc::new(AtomicBool::new(false))).unwrap().weights_sha256
        };
        part("stop.epochs=2");
        let whole = weights_of(&anchored(&["stop.epochs=3"]));
        assert_eq!(part("stop.epochs=3"), whole, "{kind}");
        assert_ne!(whole, weights_of(&anchored(&["stop.epochs=3", "regularise.anchor.weight=0"])), "{kind}");
    }
}

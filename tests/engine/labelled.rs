//! What jobs do with labels besides learning them: wrong ones are corrected, and others refined.

use crate::support::{plain_loop, prepared, small_job, weights_of};
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use sluicebox_observe::history::History;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// 200 labels, of which 3 of 10 are wrong.
const NOISY: [&str; 5] = [
    "threads=1",
    "source.labelled_per_class=20",
    "scenario.label_noise=0.3",
    "batch.unlabelled=32",
    "method.kind=supervised",
];
const CORRECTED: &str = "labels.correct=true";

fn job(more: &[&str]) -> Job {
    small_job(&[&NOISY[..], more].concat())
}

#[test]
fn each_changes_what_is_learned() {
    // Correction changes nothing before it has found out that the curve of a class is flat.
    let mut found: Vec<String> = [
        &[][..],
        &["regularise.refine=0.5"],
        &[CORRECTED, "stop.epochs=40", "labels.correct_above=0.5"],
        &["stop.epochs=40"],
    ]
    .map(|more| weights_of(&job(more)))
    .into();
    assert_eq!(weights_of(&job(&[CORRECTED])), found[0]);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 4);
}

#[test]
fn what_was_learned_of_labels_is_in_the_checkpoint() {
    let more = [CORRECTED, "labels.correct_above=0.5", "regularise.refine=0.3", "epoch.steps=75"];
    let folder = tempfile::tempdir().unwrap();
    let part = |epochs: &str| {
        let options = Options { state: Some(folder.path().join("state")), ..Options::default() };
        let job = job(&[&more[..], &[epochs]].concat());
        run(&job, &options, Arc::new(AtomicBool::new(false))).unwrap().weights_sha256
    };
    part("stop.epochs=2");
    assert_eq!(part("stop.epochs=4"), weights_of(&job(&[&more[..], &["stop.epochs=4"]].concat())));
}

#[test]
fn the_report_says_how_many_labels_were_corrected() {
    let of = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { state: Some(folder.path().join("state")), ..Options::default() };
        let more = [&["epoch.steps=80", "stop.epochs=4", "labels.correct_above=0.5"][..], more].concat();
        run(&job(&more), &options, Arc::new(AtomicBool::new(false))).unwrap();
        let history = History::read(&folder.path().join("state")).unwrap();
        [1, 4].map(|epoch| history.series(epoch..=epoch, 1).unwrap()[0].mean.corrected_labels)
    };
    let [first, last] = of(&[CORRECTED]);
    assert_eq!(first, Some(0.0));
    // Of 32 labelled samples in each of 80 steps.
    assert!(last.is_some_and(|last| last > 0.0 && last < 2560.0), "{last:?}");
    assert_eq!(of(&[]), [None, None]);
}

#[test]
fn the_dataflow_does_what_the_loop_does() {
    let job = job(&[CORRECTED, "regularise.refine=0.3", "method={ kind = \"adawac\" }"]);
    let looped = prepared(&job);
    let store = looped.store.clone();
    plain_loop(looped.stages).unwrap();
    assert_eq!(weights_of(&job), store.borrow().weights_sha256());
}

#[test]
fn what_does_not_fit_is_refused_by_its_key() {
    let told = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Job::parse("job.toml", "job", "[source]\nkind = \"digits\"\n".into(), &sets).unwrap_err().to_string()
    };
    for (key, set) in [("labels.correct", CORRECTED), ("regularise.refine", "regularise.refine=0.5")] {
        let told = told(&["batch.updates=2", set]);
        assert!(told.contains(key) && told.contains("set batch.updates = 1"), "{told}");
    }
    for (key, set) in [
        ("labels.correct_above", "labels.correct_above=1.5"),
        ("regularise.refine", "regularise.refine=1"),
        ("method.unlabelled_weight", "method={ kind = \"defixmatch\", unlabelled_weight = 0.6 }"),
    ] {
        assert!(told(&[set]).contains(key), "{}", told(&[set]));
    }
}

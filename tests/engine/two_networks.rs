//! Jobs of two networks: where they disagree is told of each sample, and of each epoch.

use crate::support::small_job;
use serde_json::Value;
use sluicebox::run::{Options, run};
use sluicebox_observe::history::History;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const SMALL: [&str; 3] = ["method.kind=cps", "batch.unlabelled=32", "threads=1"];

/// Runs a job whose predictions go to a file; returns its lines.
fn predictions(job: &[&str], folder: &Path) -> Vec<Value> {
    let path = folder.join("predictions.ndjson");
    let sink = format!("sink=[{{kind=\"predictions\",path=\"{}\"}}]", path.display());
    let job = small_job(&[job, &[&sink]].concat());
    let options = Options { state: Some(folder.join("state")), ..Options::default() };
    run(&job, &options, Arc::new(AtomicBool::new(false))).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_prediction_says_whether_they_agree() {
    let folder = tempfile::tempdir().unwrap();
    let told = predictions(&SMALL, folder.path());
    let agree = told.iter().filter(|row| row["networks_agree"] == true).count();
    let disagree = told.iter().filter(|row| row["networks_agree"] == false).count();
    assert_eq!(agree + disagree, 24 * 32);
    assert!(agree > 0 && disagree > 0, "{agree} agree, {disagree} disagree");
    // The report of the last of three epochs, of 8 steps.
    let newest = History::read(&folder.path().join("state")).unwrap().series(3..=3, 1).unwrap();
    let of_epoch = told[16 * 32..].iter().filter(|row| row["networks_agree"] == false).count();
    assert_eq!(newest[0].mean.disagreement, Some(of_epoch as f64 / 256.0));
    let folder = tempfile::tempdir().unwrap();
    let alone = predictions(&["method.kind=fixmatch", "batch.unlabelled=32"], folder.path());
    assert!(alone.iter().all(|row| row.get("networks_agree").is_none()));
}

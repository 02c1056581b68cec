//! The layout of a saved state belongs to the version of its format.

use crate::support::root;
use sluicebox::engine::checkpoint::{VERSION, unpack};
use sluicebox::engine::flow;
use sluicebox::job::Job;
use sluicebox::run::{Options, Parts, prepare};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn sections(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    unpack(&std::fs::read(folder.join("state.bin")).unwrap()).unwrap()
}

/// Returns the sections of a checkpoint as this build writes them after it has read them.
fn written_again(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::fs::read(checkpoint.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let name = format!("step-{:012}", manifest["step"].as_u64().unwrap());
    let read = folder.path().join(name);
    std::fs::create_dir(&read).unwrap();
    for entry in std::fs::read_dir(checkpoint).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, read.join(path.file_name().unwrap())).unwrap();
    }
    let job: Job = serde_json::from_value(manifest["job"].clone()).unwrap();
    let options = Options { state: Some(folder.path().into()), ..Options::default() };
    // A job that is to stop writes a checkpoint before any step, if there is none of this step.
    let stop = Arc::new(AtomicBool::new(true));
    let prepared = prepare(Parts::default(), &job, &options, stop).unwrap();
    std::fs::remove_dir_all(&read).unwrap();
    flow::run(prepared.stages).unwrap();
    sections(&read)
}

/// To write the checkpoint anew: `run FILE --state DIR`, where FILE is the job in its `manifest.json` as TOML.
#[test]
fn what_is_saved_does_not_change_without_its_version() {
    let checkpoint = root().join(format!("tests/data/checkpoint-{VERSION}-whole"));
    let saved = sections(&checkpoint);
    let names: Vec<&str> = saved.keys().map(String::as_str).collect();
    let all = [
        "alarms",
        "best",
        "classes",
        "correction",
        "experts",
        "gate",
        "ledger",
        "memory",
        "method",
        "network",
        "phases",
        "replay-shares",
        "report",
        "source",
        "student",
        "window",
    ];
    assert_eq!(names, all, "every owner has its section in the checkpoint");
    let again = written_again(&checkpoint);
    for (name, bytes) in &saved {
        assert!(bytes.len() > 8, "the section `{name}` holds nothing");
        assert!(
            again.get(name) == Some(bytes),
            "the section `{name}` is written otherwise than it was read. Raise VERSION in src/engine/checkpoint/file.rs \
             and put a checkpoint of the new version beside this one; or, if what was saved before is still read \
             rightly, replace it"
        );
    }
}

//! The same number of workers ends with the same bits, however they are dealt over processes.

use crate::cluster::{Process, free_port, run_all, small, start_all};
use crate::support::output;

fn alone(arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    summary["weights_sha256"].as_str().unwrap().to_string()
}

fn is_the_same(workers: usize, processes: &[usize], more: &[&str]) {
    let arguments = small(workers, more);
    let one = alone(&arguments);
    for count in processes {
        let several = run_all(&arguments, *count);
        assert_eq!(several.weights(), one, "{workers} workers in {count} processes, {more:?}");
        assert_eq!(several.summary()["workers"], workers);
    }
}

#[test]
fn four_workers_in_one_two_and_four_processes() {
    is_the_same(4, &[2, 4], &[]);
}

#[test]
fn sixteen_workers_in_one_four_and_sixteen_processes() {
    is_the_same(16, &[4, 16], &["--set", "stop.epochs=1"]);
}

#[test]
fn unequally_dealt_with_a_lag_and_several_updates() {
    let more = ["teacher.lag=2", "flow.window=5", "batch.updates=2", "batch.warmup_steps=3"];
    let more: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
    is_the_same(3, &[2], &more);
}

#[test]
fn every_kind_of_message_crosses() {
    // Two weak views and spliced strong ones, named rows, soft targets, scores of labelled samples, the input itself.
    for (method, more) in [
        ("saa", &[][..]),
        ("shrinkmatch", &["filter.mode=mask"]),
        ("knn", &["method.features=input"]),
        ("adamatch", &["labels.rate=0.5", "labels.delay=100", "filter.gate=true"]),
    ] {
        let method = format!("method.kind={method}");
        let mut sets = vec!["method={}", &method, "stop.epochs=2"];
        sets.extend(more);
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        is_the_same(2, &[2], &sets);
    }
}

#[test]
fn a_network_that_is_a_file_comes_along() {
    let model = "model={ kind = \"torchscript\", path = \"examples/torchscript/digits-cnn.pt\" }";
    is_the_same(2, &[2], &["--set", model, "--set", "stop.epochs=2"]);
}

#[test]
fn a_process_without_job_and_hosts_joins() {
    let address = format!("127.0.0.1:{}", free_port());
    let others = [Process::of(&["join", &address]), Process::of(&["join", &address])];
    let arguments = small(3, &["--processes", "3", "--join-at", &address]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let head = Process::of(&arguments).end();
    let weights = head.weights();
    for other in others.map(Process::end) {
        assert_eq!(other.code, Some(0), "{other:?}");
    }
    assert_eq!(weights, alone(&small(3, &[])));
}

#[test]
fn a_state_goes_on_in_another_layout_as_if_it_had_never_stopped() {
    let whole = alone(&small(2, &[]));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = ["--state", state.to_str().unwrap()];
    let shorter = small(2, &[&state[..], &["--set", "stop.epochs=1"]].concat());
    assert_ne!(run_all(&shorter, 2).weights(), whole);
    assert_eq!(alone(&small(2, &[&state[..], &["--set", "stop.epochs=2"]].concat())).len(), 64);
    let rest = small(2, &state);
    let ends: Vec<_> =
        start_all(&rest, 2, &folder.path().join("hosts")).into_iter().map(Process::end).collect();
    assert_eq!(ends[0].weights(), whole);
}

//! Several workers train what one would train: on parts of each step, with one common gradient.

use crate::support::{prepared, small_job, weights_of};
use sluicebox::engine::checkpoint::newest_step;
use sluicebox::engine::flow;
use sluicebox::job::Job;
use sluicebox::run::{Options, Parts, prepare, run};
use sluicebox_core::report::Report;
use sluicebox_core::state::Sections;
use sluicebox_observe::history::History;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Sizes that no number of workers divides.
const UNEVEN: [&str; 4] = ["batch.labelled=33", "batch.unlabelled=101", "threads=1", "method.threshold=0.5"];

fn with(more: &[&str]) -> Job {
    small_job(&[&UNEVEN[..], more].concat())
}

/// Runs a job with a state folder to its end. Returns the SHA-256 of its weights.
fn run_in(state: &Path, job: &Job) -> String {
    let options = Options { state: Some(state.into()), ..Options::default() };
    run(job, &options, Arc::new(AtomicBool::new(false))).unwrap().weights_sha256
}

/// Returns the parameters in the newest checkpoint.
fn parameters(state: &Path) -> Vec<f32> {
    let step = newest_step(state).unwrap();
    let file = state.join(format!("step-{step:012}/model.safetensors"));
    let mut all = tch::Tensor::read_safetensors(file).unwrap();
    all.retain(|(_, tensor)| tensor.kind() == tch::Kind::Float);
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.iter().flat_map(|(_, tensor)| Vec::<f32>::try_from(tensor.reshape(-1)).unwrap()).collect()
}

/// Without random views and without batch norm the parts of a step are the step: the gradient is the same but for the order in
/// which it is added up.
#[test]
fn the_common_gradient_is_that_of_the_whole_step() {
    let plain = [
        "model.kind=mlp",
        "views.weak=[]",
        "views.labelled=[]",
        "views.strong=[]",
        "method.threshold=0.3",
        "stop.epochs=2",
        "checkpoint.steps=16",
        "optimiser.learning_rate=0.05",
        "schedule.kind=constant",
        "teacher.ema=0",
    ];
    for more in [
        &[][..],
        &["filter.mode=mask"],
        &["batch.updates=2", "batch.warmup_steps=5"],
        &["method.kind=uda"],
        &["method.kind=refixmatch"],
        &["method.kind=simmatch"],
        &["method.kind=simmatch-v2"],
        &["method={ kind = \"defixmatch\", threshold = 0.3 }"],
        &["method={ kind = \"adawac\" }"],
        &["regularise.refine=0.5", "regularise.refine_steps=10"],
        &["teacher.lag=2"],
        &[
            "scenario.phases=2",
            "scenario.phase_samples=1024",
            "regularise.anchor={ kind = \"ewc\", at = \"phases\", weight = 0.1 }",
        ],
    ] {
        let of = |workers: &str| {
            let state = tempfile::tempdir().unwrap();
            run_in(state.path(), &with(&[&plain[..], &[workers], more].concat()));
            parameters(state.path())
        };
        let [one, two, three] = ["workers=1", "workers=2", "workers=3"].map(of);
        let first = run_first(&plain, more);
        let norm = |one: &[f32], other: &[f32]| -> f32 {
            one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f32>().sqrt()
        };
        let moved = norm(&one, &first);
        assert!(moved > 0.1, "{more:?}: it learned: {moved}");
        for other in [two, three] {
            let apart = norm(&one, &other);
            assert!(apart < 1e-3 * moved, "{more:?}: {apart} apart of {moved}");
        }
    }
}

/// Returns the weights after one step.
fn run_first(plain: &[&str], more: &[&str]) -> Vec<f32> {
    let state = tempfile::tempdir().unwrap();
    let first = ["epoch.steps=1", "stop.epochs=1", "checkpoint.steps=1", "batch.warmup_steps=0"];
    run_in(state.path(), &with(&[plain, more, &first].concat()));
    parameters(state.path())
}

#[test]
fn the_same_number_of_workers_ends_with_the_same_bits() {
    for more in [
        &["workers=2"][..],
        &["workers=4", "teacher.lag=3", "flow.window=8"],
        &["workers=3", "filter.mode=mask", "method.kind=shrinkmatch"],
        &["workers=2", "labels.rate=0.5", "labels.delay=100", "filter.gate=true"],
        &["workers=2", "method={ kind = \"comatch\" }"],
        &["workers=3", "filter.mode=mask", "method={ kind = \"remixmatch\" }"],
        &["workers=2", "method={ kind = \"vat\" }"],
        &["workers=2", "method={ kind = \"abc\" }"],
        &["workers=2", "method={ kind = \"rdcr\" }", "labels.correct=true"],
    ] {
        assert_eq!(weights_of(&with(more)), weights_of(&with(more)), "{more:?}");
    }
    let of_window = |window: &str| weights_of(&with(&["workers=2", window]));
    assert_eq!(of_window("flow.window=1"), of_window("flow.window=16"));
    let of_workers = |workers: &str| weights_of(&with(&[workers]));
    assert_ne!(of_workers("workers=1"), of_workers("workers=2"), "views are drawn per worker");
}

#[test]
fn a_state_does_not_depend_on_the_number_of_workers() {
    let job = |workers: &str, epochs: &str| {
        with(&[workers, epochs, "checkpoint.steps=8", "labels.rate=0.5", "labels.delay=100"])
    };
    let whole = tempfile::tempdir().unwrap();
    let end = run_in(whole.path(), &job("workers=2", "stop.epochs=3"));
    let goes_on = |workers: &str| {
        let state = tempfile::tempdir().unwrap();
        run_in(state.path(), &job("workers=2", "stop.epochs=2"));
        let options = Options { state: Some(state.path().into()), ..Options::default() };
        let summary =
            run(&job(workers, "stop.epochs=3"), &options, Arc::new(AtomicBool::new(false))).unwrap();
        assert_eq!((summary.steps, summary.workers.to_string()), (24, workers.replace("workers=", "")));
        assert!(summary.accuracy.unwrap() > 0.5);
        summary.weights_sha256
    };
    assert_eq!(goes_on("workers=2"), end, "as if it had never stopped");
    assert_ne!(goes_on("workers=1"), end);
    goes_on("workers=3");
}

#[test]
fn a_worker_that_fails_ends_the_job_with_its_name() {
    let job = with(&["workers=2"]);
    let mut prepared = prepared(&job);
    // Worker 1 comes from another step than worker 0: it has no weights for the first.
    let state = tempfile::tempdir().unwrap();
    run_in(state.path(), &with(&["workers=2", "stop.epochs=1", "checkpoint.steps=8"]));
    let options = Options { state: Some(state.path().into()), ..Options::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let later = prepare(Parts::default(), &job, &options, stop).unwrap();
    prepared.stages.workers = later.stages.workers.clone();
    drop(later);
    let error = flow::run(prepared.stages).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("teach on worker 1"), "{error}");
    assert!(error.to_string().contains("at step 0"), "{error}");
}

#[test]
fn a_worker_that_cannot_start_ends_the_job() {
    let job = with(&["workers=2", "device=cuda:63"]);
    let stop = Arc::new(AtomicBool::new(false));
    let Err(error) = prepare(Parts::default(), &job, &Options::default(), stop) else { panic!("it started") };
    assert_eq!(error.exit_code(), 2, "{error}");
}

/// All that is known of samples is worker 0's: the state has the same sections.
#[test]
fn checkpoints_have_the_same_sections() {
    let names = |workers: &str| {
        let state = tempfile::tempdir().unwrap();
        run_in(state.path(), &with(&[workers, "stop.epochs=1", "checkpoint.steps=8", "ledger.retain=100"]));
        let step = newest_step(state.path()).unwrap();
        let file = state.path().join(format!("step-{step:012}/state.bin"));
        let sections = sluicebox::engine::checkpoint::unpack(&std::fs::read(file).unwrap()).unwrap();
        Sections::from(sections).by_name().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names("workers=1"), names("workers=2"));
}

/// The report says of each worker what it did: all of them together made views of each sample once.
#[test]
fn the_report_has_a_row_per_worker() {
    let reports = |workers: &str| -> Vec<Report> {
        let state = tempfile::tempdir().unwrap();
        run_in(state.path(), &with(&[workers, "stop.epochs=2", "flow.window=2"]));
        let history = History::read(state.path()).unwrap();
        (1..=2).map(|epoch| history.report(epoch).unwrap().unwrap()).collect()
    };
    assert!(reports("workers=1").iter().all(|report| report.workers.is_empty()));
    for report in reports("workers=3") {
        let names: Vec<&str> = report.workers.iter().map(|worker| worker.name.as_str()).collect();
        assert_eq!(names, ["0", "1", "2"]);
        let seconds = report.job.seconds.unwrap();
        let samples: Vec<f64> =
            report.workers.iter().map(|worker| worker.meters.samples_per_s.unwrap() * seconds).collect();
        // 8 steps of 101 samples, in parts of 34, 34 and 33; up to 2 steps in flight are of the next epoch.
        let (least, most) = (samples.iter().copied().fold(f64::MAX, f64::min), samples.iter().sum::<f64>());
        assert!(most <= 101.0 * 10.0 + 1.0 && least >= 33.0 * 6.0, "{samples:?}");
        let busy = report.workers.iter().map(|worker| worker.meters.busy_fraction.unwrap());
        assert!(busy.sum::<f64>() > 0.1, "{:?}", report.workers);
        for worker in &report.workers {
            let [busy, waits] =
                [worker.meters.busy_fraction, worker.meters.wait_fraction].map(Option::unwrap);
            assert!(busy >= 0.0 && waits > 0.0 && busy + waits <= 1.0 + 1e-9, "{worker:?}");
            assert_eq!(worker.meters.exchanged_per_step_mib, None, "threads of one process");
        }
    }
}

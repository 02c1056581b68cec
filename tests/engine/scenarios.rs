//! Scenarios: order of the samples, arrival of labels, and the meters of phases.

use crate::support::{output, prepared, root, sluicebox, write_csv};
use serde_json::Value;
use sluicebox::job::Job;
use sluicebox_stream::microbatch::batcher::Next;
use std::process::Stdio;
use std::time::Duration;

/// Two classes per phase, 8 steps of 16 samples each.
const PHASES: [&str; 6] = [
    "scenario.phases=5",
    "scenario.phase_samples=128",
    "batch.unlabelled=16",
    "batch.labelled=8",
    "epoch.steps=4",
    "stop.epochs=10",
];

fn phases_job(more: &[&str]) -> Job {
    let fixed = ["device=cpu", "precision=f32", "threads=1"];
    let sets: Vec<String> = PHASES.iter().chain(&fixed).chain(more).map(|set| set.to_string()).collect();
    Job::load(&root().join("pipelines/digits.toml"), &sets).unwrap()
}

/// Returns the classes of the samples and of the new labelled samples, step by step.
fn flow(job: &Job) -> Vec<(Vec<i32>, Vec<i64>)> {
    let mut feed = prepared(job).stages.feed;
    let mut steps = Vec::new();
    while let Next::MicroBatch(chunk) = feed.cut_next().unwrap() {
        if !chunk.info.barrier {
            let labelled = chunk.labelled.map_or(Vec::new(), |labelled| labelled.classes);
            steps.push((chunk.info.notes.truth.reveal().to_vec(), labelled));
        }
    }
    steps
}

fn sorted(mut classes: Vec<i64>) -> Vec<i64> {
    classes.sort();
    classes
}

#[test]
fn phases_give_their_classes_and_labels_in_time() {
    let steps = flow(&phases_job(&[]));
    assert_eq!(steps.len(), 40);
    for (at, (truth, labelled)) in steps.iter().enumerate() {
        let own = [2 * (at / 8) as i64, 2 * (at / 8) as i64 + 1];
        assert!(truth.iter().all(|class| own.contains(&i64::from(*class))), "step {at}: {truth:?}");
        let expected = if at % 8 == 0 { own.map(|class| [class; 4]).concat() } else { Vec::new() };
        assert_eq!(sorted(labelled.clone()), expected, "step {at}");
    }
}

#[test]
fn phases_come_again_but_their_labels_do_not() {
    let job = phases_job(&[
        "scenario.recurring=true",
        "scenario.phases=2",
        "scenario.order=[\"9\",\"8\",\"7\",\"6\",\"5\",\"4\",\"3\",\"2\",\"1\",\"0\"]",
    ]);
    let steps = flow(&job);
    for (at, (truth, labelled)) in steps.iter().enumerate() {
        let high = (at / 8) % 2 == 0;
        assert!(truth.iter().all(|class| (*class >= 5) == high), "step {at}: {truth:?}");
        assert_eq!(labelled.len(), if at == 0 || at == 8 { 20 } else { 0 }, "step {at}");
    }
}

#[test]
fn imbalance_is_that_of_the_formula_and_noise_that_of_its_part() {
    let steps = flow(&phases_job(&[
        "scenario.phases=0",
        "scenario.imbalance=10.0",
        "scenario.label_noise=0.5",
        "source.labelled_per_class=20",
        "stop.epochs=100",
    ]));
    let mut counts = [0.0; 10];
    steps.iter().flat_map(|(truth, _)| truth).for_each(|class| counts[*class as usize] += 1.0);
    let whole: f64 = (0..10).map(|class| 10f64.powf(-f64::from(class) / 9.0)).sum();
    for (class, count) in counts.iter().enumerate() {
        let expected = 6400.0 * 10f64.powf(-(class as f64) / 9.0) / whole;
        assert!(
            (count - expected).abs() < 5.0 * expected.sqrt() + 0.1 * expected,
            "{class}: {count}, {expected}"
        );
    }
    // Labelled samples come class by class in random order, so wrong labels show in the counts only.
    let clean = flow(&phases_job(&["scenario.phases=0", "source.labelled_per_class=20"]));
    let wrong = steps[0].1.iter().zip(&clean[0].1).filter(|(noisy, clean)| noisy != clean).count();
    assert!((70..130).contains(&wrong), "{wrong} of 200");
}

#[test]
fn foreign_samples_are_of_no_class_and_change_no_other() {
    let (some, none) = (flow(&phases_job(&["scenario.foreign=0.5"])), flow(&phases_job(&[])));
    let all: Vec<(i32, i32)> = some
        .iter()
        .zip(&none)
        .flat_map(|(some, none)| some.0.iter().copied().zip(none.0.iter().copied()))
        .collect();
    let foreign = all.iter().filter(|(class, _)| *class == -1).count();
    assert!((250..390).contains(&foreign), "{foreign} of {}", all.len());
    assert!(all.iter().all(|(class, before)| *class == -1 || class == before));
    assert!(some.iter().zip(&none).all(|(some, none)| some.1 == none.1), "labelled samples stay");
    assert!(
        flow(&phases_job(&["scenario.foreign=1.0"]))
            .iter()
            .all(|step| step.0.iter().all(|class| *class == -1))
    );
}

#[test]
fn labels_can_be_imbalanced_otherwise_than_the_stream() {
    let steps = flow(&phases_job(&[
        "scenario.phases=0",
        "scenario.imbalance=20.0",
        "scenario.reversed=true",
        "scenario.labelled_imbalance=20.0",
        "source.labelled_per_class=40",
    ]));
    let mut labels = [0; 10];
    steps[0].1.iter().for_each(|class| labels[*class as usize] += 1);
    assert_eq!(labels, [40, 29, 21, 15, 11, 8, 5, 4, 3, 2]);
    let mut counts = [0; 10];
    steps.iter().flat_map(|(truth, _)| truth).for_each(|class| counts[*class as usize] += 1);
    assert!(counts[9] > 5 * counts[0], "{counts:?}");
}

#[test]
fn drift_of_a_domain_is_there_in_its_phase_only() {
    let still = "scenario.drift={ noise = 0.0 }";
    let domain = ["scenario.split=domain", "scenario.phases=2"];
    let values = |drift: &str| {
        let mut feed = prepared(&phases_job(&[&domain[..], &[drift]].concat())).stages.feed;
        let mut all = Vec::new();
        while let Next::MicroBatch(chunk) = feed.cut_next().unwrap() {
            all.push(chunk.values);
        }
        all
    };
    let (plain, turned) = (values(still), values("scenario.drift={ rotation_degrees = 90.0 }"));
    assert_eq!(plain[..8], turned[..8]);
    assert!((8..40).all(|step| plain[step] != turned[step]));
}

fn summary(arguments: &[&str]) -> (Vec<Value>, Value) {
    let (code, stdout, stderr) = output(arguments);
    assert_eq!(code, 0, "{stderr}");
    let mut lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines, last)
}

fn arguments(more: &[&'static str]) -> Vec<&'static str> {
    // The full learning rate is reached within these few steps.
    let rate = ["schedule.kind=constant", "schedule.warmup_steps=20"];
    let fixed = ["device=cpu", "precision=f32", "threads=1", "checkpoint.steps=3"];
    let sets = PHASES.into_iter().chain(fixed).chain(rate).chain(more.iter().copied());
    let sets = sets.flat_map(|set| ["--set", set]);
    ["run", "pipelines/digits.toml", "--log", "json"].into_iter().chain(sets).collect()
}

#[test]
fn what_is_said_of_phases_follows_from_the_evaluations() {
    let (reports, summary) = summary(&arguments(&["memory.capacity=8"]));
    assert_eq!(reports.len(), 10);
    let rows: Vec<Vec<f64>> = reports
        .iter()
        .map(|report| {
            report["phases"].as_array().unwrap().iter().map(|p| p["accuracy"].as_f64().unwrap()).collect()
        })
        .collect();
    let sizes: Vec<usize> = rows.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "phases that have begun");
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // R[i][j]: the second evaluation of each phase is its last.
    let r: Vec<&Vec<f64>> = rows.iter().skip(1).step_by(2).collect();
    let best = |j: usize| (j..4).map(|i| r[i][j]).fold(f64::MIN, f64::max);
    let least = |j: usize| rows[2 * (j + 1)..].iter().map(|row| row[j]).fold(f64::MAX, f64::min);
    let of = |each: &dyn Fn(usize) -> f64| mean(&(0..4).map(each).collect::<Vec<f64>>());
    let anytime: Vec<f64> = rows.iter().map(|row| mean(row)).collect();
    let min_accuracy = of(&least);
    for (key, expected) in [
        ("forgetting", of(&|j| best(j) - r[4][j])),
        ("backward_transfer", of(&|j| r[4][j] - r[j][j])),
        ("average_anytime_accuracy", mean(&anytime)),
        ("min_accuracy", min_accuracy),
        ("worst_case_accuracy", r[4][4] / 5.0 + 0.8 * min_accuracy),
    ] {
        let found = summary[key].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{key}: {found}, not {expected}");
        assert_eq!(reports[9][key].as_f64().unwrap(), found, "{key}");
    }
    assert_eq!(summary["phase_accuracy"].as_array().unwrap().len(), 4, "the last phase does not end");
    for (at, (row, expected)) in summary["phase_accuracy"].as_array().unwrap().iter().zip(&r).enumerate() {
        assert_eq!((&row["visit"], &row["phase"]), (&at.into(), &at.into()));
        assert_eq!(&row["accuracy"], &Value::from((*expected).clone()), "R[{at}]");
    }
    assert!(summary["forgetting"].as_f64().unwrap() > 0.1, "8 labelled samples replay nothing");
    let passes = reports[9]["student_samples"].as_f64().unwrap() / 640.0;
    assert_eq!(summary["student_passes_per_sample"].as_f64().unwrap(), passes);
    let (_, plain) = self::summary(&[
        "run",
        "pipelines/digits.toml",
        "--log",
        "json",
        "--set",
        "stop.epochs=1",
        "--set",
        "epoch.steps=2",
    ]);
    assert!(plain["forgetting"].is_null() && plain["min_accuracy"].is_null());
    assert_eq!(plain["average_anytime_accuracy"], plain["accuracy"], "one evaluation, one phase");
}

#[test]
fn a_phase_is_evaluated_where_it_ends_whatever_the_epoch() {
    let of = |more: &[&'static str]| {
        let end = ["memory.capacity=8", "stop.epochs=0", "stop.samples=640"];
        summary(&arguments(&[&end[..], more].concat())).1
    };
    let (aligned, odd) = (of(&["epoch.steps=8"]), of(&["epoch.steps=7"]));
    assert_eq!(aligned["weights_sha256"], odd["weights_sha256"], "an epoch changes no weights");
    assert_eq!(aligned["phase_accuracy"].as_array().unwrap().len(), 4);
    for key in ["phase_accuracy", "forgetting", "backward_transfer"] {
        assert_eq!(aligned[key], odd[key], "{key}");
    }
    // One epoch is the whole job: every phase but the last ends within it.
    let long = of(&["epoch.steps=100"]);
    for key in ["phase_accuracy", "forgetting", "backward_transfer"] {
        assert_eq!(aligned[key], long[key], "{key}");
    }
    let never = of(&["report.evaluate_epochs=0"]);
    assert!(
        never["phase_accuracy"].as_array().unwrap().is_empty() && never["forgetting"].is_null(),
        "{never}"
    );
    // A phase that ends in the middle of a step is evaluated after that step.
    let ragged = of(&["scenario.phase_samples=100", "epoch.steps=7"]);
    let rows = ragged["phase_accuracy"].as_array().unwrap();
    let sizes: Vec<usize> = rows.iter().map(|row| row["accuracy"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 2, 3, 4]);
}

#[test]
fn the_near_future_is_tested_once_an_epoch() {
    // Digits in random order: consecutive labels carry no information, so the next step is the near
    // future.
    let more = ["scenario.phases=0", "batch.unlabelled=128", "epoch.steps=10", "stop.epochs=4"];
    let (reports, summary) = summary(&arguments(&more));
    assert!(reports[0]["near_future_accuracy"].is_null(), "nothing was tested yet");
    assert_eq!(summary["near_future_shift"], 0);
    let future = summary["near_future_accuracy"].as_f64().unwrap();
    // Three teachers, each on 128 samples.
    assert!((future * 384.0 - (future * 384.0).round()).abs() < 1e-9, "{future}");
    // In phases of 128 samples earlier labels help until the phase is over.
    let phases = ["scenario.recurring=true", "batch.unlabelled=128", "epoch.steps=10", "stop.epochs=4"];
    let (_, phased) = self::summary(&arguments(&phases));
    assert_eq!(phased["near_future_shift"], 128, "{phased}");
}

#[test]
fn a_killed_job_goes_on_in_its_phase() {
    let more = [
        "scenario.drift={ period_samples = 300.0, rotation_degrees = 40.0, noise = 0.1, prior = 1.0 }",
        "scenario.imbalance=3.0",
        "scenario.label_noise=0.1",
        "scenario.recurring=true",
        "labels.rate=0.1",
        "labels.delay=40",
        "stop.epochs=20",
    ];
    let arguments = arguments(&more);
    let without_time = |state: Option<&str>| {
        let state: Vec<&str> = state.into_iter().flat_map(|state| ["--state", state]).collect();
        let (_, mut found) = summary(&[&arguments[..], &state].concat());
        let found = found.as_object_mut().unwrap();
        for key in ["samples_per_s", "seconds", "checkpoints", "peak_rss_mib"] {
            found.remove(key);
        }
        found.clone()
    };
    let whole = without_time(None);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_str().unwrap().to_string();
    let mut draw = 12345u64;
    for _ in 0..6 {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut command = sluicebox();
        command.args(&arguments).args(["--state", &state]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(200 + (draw >> 33) % 700));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    assert_eq!(without_time(Some(&state)), whole);
}

#[test]
fn a_scenario_that_cannot_be_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    write_csv(&path, 500, &[]);
    let path = format!("source.path={}", path.display());
    let (digits, rows) = ("pipelines/digits.toml", "pipelines/insects.toml");
    let cases: [(&str, &[&str], &str); 9] = [
        (digits, &["scenario.phases=12"], "scenario.phases is 12, but there are 10 classes"),
        (digits, &["scenario.phases=1"], "1 is neither 0 (none) nor from 2 to 1000"),
        (digits, &["scenario.phase=5"], "unknown key `phase`; did you mean `phases`?"),
        (digits, &["scenario.recurring=true"], "it needs phases"),
        (digits, &["scenario.phases=2", "scenario.order=[\"a\"]"], "it must name each class once"),
        (digits, &["scenario.imbalance=0.5"], "0.5 must be from 1 to 1000000"),
        (digits, &["scenario.drift={ shift = 1.0 }"], "scenario.drift.shift is for vectors"),
        (rows, &[&path, "scenario.drift={ rotation_degrees = 9.0 }"], "rotation_degrees is for images"),
        ("pipelines/tcp.toml", &["scenario.phases=2"], "does not know the classes of its samples"),
    ];
    for (job, sets, reason) in cases {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let arguments: Vec<&str> = ["run", job].into_iter().chain(sets).collect();
        let (code, _, stderr) = output(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

//! A job on the device ends with the weights that it has on the CPU, and no step waits for the device.

use crate::operations_log::between;
use crate::running::{Ended, On, command, output, run};
use crate::support::{root, write_csv, write_idx};
use sluicebox_learn::method::METHODS;

/// Settings of a short job that accepts pseudo-labels from its first steps.
const SHORT: [&str; 9] = [
    "epoch.steps=7",
    "stop.epochs=1",
    "batch.labelled=8",
    "batch.unlabelled=24",
    "teacher.ema=0.5",
    "schedule.warmup_steps=0",
    "report.fetch_steps=2",
    "report.held_out=50",
    "filter.mode=mask",
];
/// One step in flight: the ledger's statistics reach the filter after one step, as they do on the CPU.
const IN_TURN: [&str; 2] = ["flow.window=1", "report.fetch_steps=1"];

const DIGITS: &str = "pipelines/digits.toml";

/// Runs a job on the CPU and on the device, and compares them. Returns that on the device; none where the device
/// cannot be built.
fn same(job: &str, sets: &[&str]) -> Option<Ended> {
    let sets = [&SHORT[..], sets].concat();
    let on_device = run(On::Device, job, &sets)?;
    let on_cpu = run(On::Cpu, job, &sets)?;
    for key in [
        "steps",
        "samples_seen",
        "accuracy",
        "accepted_fraction",
        "late_labels",
        "skipped_updates",
        "weights_sha256",
    ] {
        assert_eq!(on_device.summary[key], on_cpu.summary[key], "{key} of {job} {sets:?}");
    }
    assert_eq!(on_device.summary["device"], "cuda:0");
    assert_eq!(on_device.stderr.matches("Warning").count(), 0, "{}", on_device.stderr);
    Some(on_device)
}

/// Asserts that in the steps of a job nothing waits for the device but its fetches, one in `every` steps, and, in jobs whose
/// `answers` are not the network's alone, the copy of its probabilities to the host, one a step.
fn waits_for_fetches(job: &Ended, every: usize, answers: bool) {
    let (operations, steps) = between(&job.operations);
    let others: Vec<_> = operations.iter().filter(|one| one.waits && !one.is_fetch_wait()).collect();
    assert!(others.len() <= if answers { steps } else { 0 }, "{others:?}");
    let fetches = operations.iter().filter(|one| one.is_fetch_wait()).count();
    assert!(fetches <= steps.div_ceil(every), "{fetches} waits for fetches in {steps} steps");
}

/// [`same`], in jobs whose steps wait for their fetches alone.
fn same_without_waits(job: &str, sets: &[&str]) -> Option<Ended> {
    let ended = same(job, sets)?;
    waits_for_fetches(&ended, 2, false);
    Some(ended)
}

/// [`same`] in jobs with a ledger, in turn.
fn same_with_ledger(job: &str, sets: &[&str]) -> Option<Ended> {
    let ended = same(job, &[sets, &IN_TURN].concat())?;
    waits_for_fetches(&ended, 1, false);
    Some(ended)
}

/// The same in jobs with late labels, whose answers are corrected.
fn same_with_answers(job: &str, sets: &[&str]) -> Option<Ended> {
    let ended = same(job, &[sets, &IN_TURN].concat())?;
    waits_for_fetches(&ended, 1, true);
    Some(ended)
}

#[test]
fn every_method() {
    for entry in METHODS.entries {
        let method = format!("method={{ kind = \"{}\" }}", entry.name);
        let views = (entry.build)(&method_of(&method)).unwrap().views();
        let same = if views.ledger_stats { same_with_ledger } else { same_without_waits };
        if same(DIGITS, &[&method]).is_none() {
            return;
        }
    }
}

#[test]
fn skipped_updates() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("rows.csv");
    write_csv(&csv, 600, &[]);
    let source = format!("source={{ kind = \"csv\", path = {csv:?}, labelled_first = 60 }}");
    let path = root().join("crates/sluicebox-learn/tests/golden/torchscript-sometimes.pt");
    let model = format!("model={{ kind = \"torchscript\", path = {path:?} }}");
    let views = ["views={ weak = [], labelled = [], strong = [{ kind = \"jitter\" }] }", "epoch.steps=12"];
    for optimiser in ["sgd", "adamw"] {
        let optimiser = format!("optimiser={{ kind = \"{optimiser}\", learning_rate = 0.02 }}");
        let sets = [&[source.as_str(), &model, &optimiser], &views[..]].concat();
        let Some(ended) = same_without_waits(DIGITS, &sets) else { return };
        let skipped = ended.summary["skipped_updates"].as_u64().unwrap();
        assert!((1..12).contains(&skipped), "{skipped}");
    }
}

fn method_of(set: &str) -> sluicebox_core::config::registry::Spec {
    let text = format!("source.kind = \"digits\"\n{set}");
    sluicebox::job::Job::parse("test", "test", text, &[]).unwrap().method
}

#[test]
fn late_labels_a_gate_and_answers() {
    let late = ["labels.rate=0.6", "labels.delay=20", "filter.gate={ evidence = 5 }", "method.threshold=0.2"];
    let Some(ended) = same_with_answers(DIGITS, &late) else { return };
    assert!(ended.summary["late_labels"].as_u64().unwrap() > 40, "{}", ended.summary);
    same_with_answers("pipelines/digits-ten-labels.toml", &late);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    write_csv(&path, 700, &[]);
    let source = format!("source.path={}", path.display());
    let optimiser = "optimiser={ kind = \"sgd\" }";
    let rows = ["source.labelled_first=60", "labels.rate=0.6", "labels.delay=20", optimiser, &source];
    same_with_answers("pipelines/insects.toml", &rows);
}

#[test]
fn a_rejected_sample_is_left_out_where_the_job_says_so() {
    // How many samples pass is what each step waits for.
    same(DIGITS, &["filter.mode=filter", "method.threshold=0.2"]);
}

#[test]
fn mixing_regularisers_and_another_optimiser() {
    for mixup in ["{ alpha = 0.5 }", "{ alpha = 0.5, cut = true }"] {
        let mixup = format!("regularise.mixup={mixup}");
        if same_without_waits(DIGITS, &[&mixup, "method.threshold=0.2"]).is_none() {
            return;
        }
    }
    let terms = [
        "optimiser={ kind = \"adamw\" }",
        "regularise.entropy=0.1",
        "regularise.prior=0.1",
        "regularise.center=0.01",
        "regularise.spectral=0.01",
        "regularise.l2_init=0.01",
        "regularise.clip_gradient=1.0",
        "regularise.label_smoothing=0.1",
    ];
    same_without_waits(DIGITS, &terms);
}

#[test]
fn a_network_of_the_users() {
    let model = "model={ kind = \"torchscript\", path = \"examples/torchscript/digits-cnn.pt\" }";
    same_without_waits(DIGITS, &[model]);
}

#[test]
fn images_in_colour_and_randaugment() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = |count: usize| (0..count * 784).map(|at| (at * 7 % 251) as u8).collect::<Vec<u8>>();
    let classes = |count: usize| (0..count).map(|at| (at % 10) as u8).collect::<Vec<u8>>();
    for (name, count) in [("train", 400), ("t10k", 60)] {
        let path = |what: &str| folder.path().join(format!("{name}-{what}"));
        write_idx(&path("images-idx3-ubyte"), &[count as u32, 28, 28], &pixels(count));
        write_idx(&path("labels-idx1-ubyte"), &[count as u32], &classes(count));
    }
    let source = format!("source.path={}", folder.path().display());
    same_without_waits("pipelines/fashion.toml", &[&source, "epoch.steps=5", "batch.unlabelled=8"]);
}

#[test]
fn more_workers_than_gpus_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(command) = command(On::Device, DIGITS, &["device=cuda", "workers=2"]) else { return };
    let (code, _, stderr) = output(command, folder.path());
    assert_eq!(code, 2, "{stderr}");
    let sentence = "workers = 2: each has its own GPU with device = \"cuda\", but this machine has 1";
    assert!(stderr.contains(sentence), "{stderr}");
}

//! Jobs with a ledger on the device, with the settings that a job has by default: results are read a step later, and
//! the ledger's statistics reach the filter a step later than on the CPU.

use crate::operations_log::between;
use crate::running::{On, command, output, run, wait};
use std::process::Stdio;
use std::time::{Duration, Instant};

const FLEXMATCH: &str = "pipelines/flexmatch.toml";
const SHORT: [&str; 7] = [
    "epoch.steps=9",
    "stop.epochs=2",
    "batch.labelled=8",
    "batch.unlabelled=24",
    "teacher.ema=0.5",
    "report.held_out=50",
    "labels.delay=20",
];

#[test]
fn they_end_and_wait_once_a_step() {
    let late = ["labels.rate=0.6", "filter.gate={ evidence = 5 }"];
    let jobs = [(FLEXMATCH, &[][..]), ("pipelines/digits.toml", &late), (FLEXMATCH, &late)];
    for (job, sets) in jobs {
        let Some(ended) = run(On::Device, job, &[&SHORT, sets].concat()) else { return };
        assert_eq!((&ended.summary["steps"], &ended.summary["epochs"]), (&18.into(), &2.into()));
        // Of one epoch, so that no evaluation lies between the steps.
        let one = run(On::Device, job, &[&SHORT, sets, &["stop.epochs=1"]].concat()).unwrap();
        let (operations, steps) = between(&one.operations);
        let others: Vec<_> = operations.iter().filter(|one| one.waits && !one.is_fetch_wait()).collect();
        // Where answers are corrected, the network's probabilities are copied to the host.
        let answers = if sets.is_empty() { 0 } else { steps };
        assert!(others.len() <= answers, "{job} {sets:?}: {others:?}");
        let fetches = operations.iter().filter(|one| one.is_fetch_wait()).count();
        assert_eq!((fetches, steps), (6, 6));
    }
}

#[test]
fn a_longer_window_makes_longer_fetches() {
    let sets = [&SHORT[..], &["epoch.steps=18", "stop.epochs=1", "flow.window=5"]].concat();
    let Some(ended) = run(On::Device, FLEXMATCH, &sets) else { return };
    assert_eq!(ended.summary["steps"], 18);
    let (operations, steps) = between(&ended.operations);
    let fetches = operations.iter().filter(|one| one.is_fetch_wait()).count();
    assert_eq!((fetches, steps), (3, 15), "4 steps a fetch");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |sets: &[&str]| Some(output(command(On::Device, FLEXMATCH, sets)?, folder.path()));
    let Some((code, _, stderr)) = refused(&["report.fetch_steps=16"]) else { return };
    assert_eq!(code, 2, "{stderr}");
    let wanted =
        "report.fetch_steps = 16 needs flow.window = 17 or more in a job with a ledger on a GPU, but it is 2";
    assert!(stderr.contains(wanted), "{stderr}");
    let sets = [&SHORT[..], &["report.fetch_steps=3", "flow.window=4"]].concat();
    assert_eq!(run(On::Device, FLEXMATCH, &sets).unwrap().summary["steps"], 18);
}

#[test]
fn a_signal_ends_them() {
    let sets = [&SHORT[..], &["stop.epochs=0", "labels.rate=0.6"]].concat();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let state = tempfile::tempdir().unwrap();
        let Some(mut command) = command(On::Device, FLEXMATCH, &sets) else { return };
        command.arg("--state").arg(state.path()).arg("--log").arg("json");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The first report says that steps are done.
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert!(line.contains("epoch"), "{line}");
        let signalled = Instant::now();
        // SAFETY: the process is this test's child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
        assert_eq!(wait(&mut child), 0);
        assert!(signalled.elapsed() < Duration::from_secs(60), "{:?}", signalled.elapsed());
    }
}

//! Whatever happens to a process, all end soon and say why; what was saved goes on.

use crate::cluster::{Ended, Process, free_port, small, start_all, start_one};
use crate::relay::{self, kind};
use sluicebox::cluster::ALL_END;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Within this all processes end once one is gone or has failed. [`ALL_END`] counts from the moment at which a process sees it, and
/// supposes that a process which has nothing to wait for gets a core; where tests take more cores than there are, it may wait for
/// one, so they allow twice the time.
const SOON: Duration = ALL_END.saturating_mul(2);

/// Asserts that a process has ended soon with exit code 1 and a sentence, and prints how long it took.
fn ended_soon(case: &str, end: &Ended, sentence: &str) {
    assert_eq!(end.code, Some(1), "{case}: {end:?}");
    assert!(end.said.contains(sentence), "{case}: `{sentence}`: {end:?}");
    assert!(end.took < SOON, "{case}: {end:?}");
    println!("{case}: ended after {:?}", end.took);
}

/// A job that would run for long.
fn long(workers: usize, more: &[&str]) -> Vec<String> {
    small(workers, &[&["--set", "stop.epochs=100000", "--set", "report.evaluate_epochs=0"], more].concat())
}

fn started(arguments: &[String], processes: usize, folder: &Path) -> Vec<Process> {
    let all = start_all(arguments, processes, &folder.join("hosts"));
    all[0].wait_for("all processes are there");
    std::thread::sleep(Duration::from_millis(500)); // some steps
    all
}

#[test]
fn a_killed_process_ends_all_and_is_named() {
    for killed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let mut all = started(&long(3, &[]), 3, folder.path());
        all.remove(killed).signal(libc::SIGKILL);
        for end in all.into_iter().map(Process::end) {
            let sentence = format!("error: process {killed} at 127.0.0.1:");
            ended_soon(&format!("SIGKILL of process {killed}"), &end, &sentence);
        }
    }
}

#[test]
fn a_process_in_a_long_operation_ends_without_it() {
    // A step takes far longer than the limit, and is in its first half: the teacher scores.
    let long = ["batch.unlabelled=30000", "model={ kind = \"wide-resnet\" }"];
    let long: Vec<&str> = long.iter().flat_map(|set| ["--set", set]).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut all = start_all(&small(2, &long), 2, &folder.path().join("hosts"));
    all[0].wait_for("all processes are there");
    all[1].wait_for("this is process 1 of 2");
    std::thread::sleep(Duration::from_secs(2));
    all.remove(1).signal(libc::SIGKILL);
    let end = all.remove(0).end();
    ended_soon(
        "SIGKILL of process 1 in a long operation of process 0",
        &end,
        "error: process 1 at 127.0.0.1:",
    );
}

#[test]
fn a_stopped_process_is_noticed() {
    for stopped in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let mut all = started(&long(2, &[]), 2, folder.path());
        let stopped_one = all.remove(stopped);
        stopped_one.signal(libc::SIGSTOP);
        let end = all.remove(0).end();
        assert_eq!(end.code, Some(1), "{end:?}");
        let sentence = format!("error: process {stopped} at ");
        assert!(end.said.contains(&sentence) && end.said.contains("no sign of life for 10 s"), "{end:?}");
        assert!(end.took < Duration::from_secs(20), "{end:?}");
        stopped_one.signal(libc::SIGCONT);
        let end = stopped_one.end();
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.said.contains(&format!("error: process {} at ", 1 - stopped)), "{end:?}");
    }
}

#[test]
fn an_operator_that_fails_is_named_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let csv = folder.path().join("rows.csv");
    crate::support::write_csv(&csv, 2000, &[]);
    let rows = std::fs::read_to_string(&csv).unwrap();
    std::fs::write(&csv, rows + &"what is this?\n".repeat(3000)).unwrap();
    let source = format!("source={{ kind = \"csv\", path = {csv:?} }}");
    let sets = ["model={ kind = \"mlp\" }", "views={ weak = [], labelled = [], strong = [] }", &source];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let arguments = long(2, &[&sets[..], &["--state", state.to_str().unwrap()]].concat());
    for process in start_all(&arguments, 2, &folder.path().join("hosts")) {
        let end = process.end();
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.said.contains("error: operator \"source\" failed at step"), "{end:?}");
    }
}

/// When a shape was changed.
static CHANGED: OnceLock<Instant> = OnceLock::new();

/// Gives the samples that a part trains on another shape, of as many numbers: libtorch throws, and the stage panics.
fn wrong_shape(kind: u8, body: &mut [u8]) {
    if kind == kind::LEARN {
        // After type and number of dimensions: samples, channels, height, width.
        assert_eq!((body[1], body[17], body[25], body[33]), (4, 1, 8, 8));
        body.swap(17, 25);
        CHANGED.get_or_init(Instant::now);
    }
}

#[test]
fn an_operator_that_panics_in_another_process_ends_all_soon() {
    let ends = through_relay(wrong_shape, |_, _| ());
    let took = CHANGED.get().unwrap().elapsed(); // both have ended
    for end in ends {
        let sentence = "on worker 1\" failed at step 0: ";
        ended_soon("panic of an operator of process 1", &Ended { took, ..end }, sentence);
    }
}

#[test]
fn all_started_again_go_on_to_the_same_end() {
    let sets = ["--set", "stop.epochs=6", "--set", "checkpoint.steps=8", "--set", "report.evaluate_epochs=0"];
    let folder = tempfile::tempdir().unwrap();
    let state = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let arguments = |name: &str| small(3, &[&sets[..], &["--state", &state(name)]].concat());
    let hosts = folder.path().join("hosts");
    let ends: Vec<_> = start_all(&arguments("whole"), 2, &hosts).into_iter().map(Process::end).collect();
    let whole = ends[0].weights();
    let arguments = arguments("killed");
    for killed in [0, 1, 0] {
        let mut all = start_all(&arguments, 2, &hosts);
        all[0].wait_for("all processes are there");
        std::thread::sleep(Duration::from_millis(300));
        all[killed].signal(libc::SIGKILL);
        all.drain(..).for_each(|process| drop(process.end()));
    }
    let all = [start_one(&arguments, 1, &hosts), start_one(&arguments, 0, &hosts)];
    let ends = all.map(Process::end);
    assert_eq!(ends[1].weights(), whole, "as if nothing had been killed");
    assert_eq!(ends[0].code, Some(0));
}

/// Runs a job of two processes with a relay between them, and returns how both have ended.
fn through_relay(down: relay::Change, up: relay::Change) -> [Ended; 2] {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let state = folder.path().join("state");
    let sets = ["checkpoint.steps=8", "method.threshold=0"].map(|set| ["--set", set]).concat();
    let sets = [&sets[..], &["--state", state.to_str().unwrap()]].concat();
    let arguments = small(2, &[&["--processes", "2", "--join-at", &address], &sets[..]].concat());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let head = Process::of(&arguments);
    head.wait_for("process 0 awaits");
    let other = Process::of(&["join", &relay::start(&address, down, up)]);
    [head.end(), other.end()]
}

#[test]
fn workers_whose_weights_differ_are_found_where_a_state_is_saved() {
    // What process 0 gets of each sum is somewhat larger: no number looks wrong.
    let larger = |kind: u8, body: &mut [u8]| {
        if kind == kind::SUM {
            // After type, number of dimensions, and length.
            body[17..].chunks_mut(4).for_each(|number| number[2] |= 0x40);
        }
    };
    let ends = through_relay(|_, _| (), larger);
    for end in &ends {
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.said.contains("worker 1's weights differ from those of worker 0"), "{end:?}");
        assert!(end.said.contains("error: operator \"learn\" failed at step 7"), "{end:?}");
    }
}

#[test]
fn a_worker_that_fails_in_another_process_is_named() {
    let ends = through_relay(
        |kind, body| {
            if kind == kind::LEARN {
                body[0] = 99; // no type of numbers
            }
        },
        |_, _| (),
    );
    for end in &ends {
        assert_eq!(end.code, Some(1), "{end:?}");
        assert!(end.said.contains("operator \"tasks of worker 1\" failed at step 0"), "{end:?}");
        assert!(end.said.contains("a message between processes is damaged"), "{end:?}");
    }
    assert!(ends[0].said.contains("error: process 1 at 127.0.0.1:"), "{ends:?}");
}

#[test]
fn frames_that_make_no_sense_end_the_job() {
    let ends = through_relay(
        |_, _| (),
        |kind, body| {
            if kind == kind::SUM {
                body[0] = 1; // whole numbers
            }
        },
    );
    for end in &ends {
        assert_eq!(end.code, Some(1), "{end:?}");
    }
    assert!(ends[0].said.contains("operator \"learn\" failed at step 0"), "{ends:?}");
}

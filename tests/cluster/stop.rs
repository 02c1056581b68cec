//! SIGTERM or SIGINT to any process ends the job in order, at any time.

use crate::cluster::{Ended, LIMIT, Process, free_port, run_all, small, start_all, start_one, write_hosts};
use sluicebox::engine::checkpoint::newest_step;
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn ended_in_order(end: &Ended, sentence: &str) {
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.said.contains(sentence), "`{sentence}`: {end:?}");
    println!("`{sentence}`: {:?} after the signal", end.took);
}

#[test]
fn all_end_in_order_whichever_process_is_asked() {
    for asked in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let sets = ["--set", "stop.epochs=100000", "--set", "checkpoint.steps=8"];
        let more = [&sets[..], &["--state", state.to_str().unwrap()]].concat();
        let all = start_all(&small(3, &more), 3, &folder.path().join("hosts"));
        let began = Instant::now();
        while newest_step(&state).is_none_or(|step| step == 0) {
            assert!(began.elapsed() < LIMIT, "{}", all[0].said());
            std::thread::sleep(Duration::from_millis(20));
        }
        all[asked].signal(libc::SIGTERM);
        let ends: Vec<Ended> = all.into_iter().map(Process::end).collect();
        for (process, end) in ends.iter().enumerate() {
            assert_eq!(end.code, Some(0), "asked {asked}: process {process}: {end:?}");
        }
        assert_eq!(newest_step(&state), ends[0].summary()["steps"].as_u64(), "with a checkpoint of the end");
    }
}

#[test]
fn process_0_that_waits_for_others_ends_and_so_do_they() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let mut all = start_all(&small(3, &[]), 3, &folder.path().join("hosts"));
        all.pop(); // it never comes
        all[0].wait_for("process 1 has come");
        all[1].wait_for("it waits for the others");
        all[0].signal(signal);
        let other = all.pop().unwrap().end();
        let head = all.pop().unwrap().end();
        let sentence =
            "the job was asked to stop before all of its processes had come: it ends without a step";
        ended_in_order(&head, sentence);
        assert_eq!(head.summary()["steps"], 0);
        assert!(!head.said.contains("warning") && !head.said.contains("error"), "{head:?}");
        ended_in_order(&other, "the job was asked to stop before all processes had come");
    }
}

#[test]
fn a_job_that_is_stopped_while_it_waits_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (state, hosts) = (folder.path().join("state"), folder.path().join("hosts"));
    let whole = run_all(&small(2, &[]), 2).weights();
    let arguments = |epochs: &str| {
        small(2, &["--state", state.to_str().unwrap(), "--set", &format!("stop.epochs={epochs}")])
    };
    let first = start_all(&arguments("1"), 2, &hosts);
    assert!(first.into_iter().all(|process| process.end().code == Some(0)));
    let saved = newest_step(&state);
    write_hosts(&hosts, 2);
    let waits = start_one(&arguments("3"), 0, &hosts);
    waits.wait_for("process 0 awaits");
    waits.signal(libc::SIGTERM);
    assert_eq!(waits.end().code, Some(0));
    assert_eq!(newest_step(&state), saved);
    let all = start_all(&arguments("3"), 2, &hosts);
    let ends: Vec<Ended> = all.into_iter().map(Process::end).collect();
    assert_eq!(ends[0].weights(), whole);
}

#[test]
fn another_process_that_waits_leaves_and_process_0_goes_on_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let arguments = small(3, &[]);
    let mut all = start_all(&arguments, 3, &hosts);
    all.pop(); // it comes later
    all[0].wait_for("process 1 has come");
    all[1].wait_for("it waits for the others");
    all[1].signal(libc::SIGTERM);
    let left = all.pop().unwrap().end();
    ended_in_order(&left, "this process was asked to stop before all processes had come");
    all[0].wait_for("has left again");
    let others = [start_one(&arguments, 1, &hosts), start_one(&arguments, 2, &hosts)];
    assert_eq!(all.pop().unwrap().end().code, Some(0));
    others.into_iter().for_each(|other| assert_eq!(other.end().code, Some(0)));
}

#[test]
fn a_process_that_does_not_reach_process_0_can_be_stopped() {
    let limit = ["--start-timeout", "1h"];
    let nobody = format!("127.0.0.1:{}", free_port());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let never_answers = silent.local_addr().unwrap().to_string();
    for address in [&nobody, &never_answers] {
        let joins = Process::of(&[&["join", address][..], &limit].concat());
        let _held = match *address == never_answers {
            true => Some(silent.accept().unwrap()),
            false => {
                joins.wait_for("is not reached yet: Connection refused");
                None
            }
        };
        joins.signal(libc::SIGTERM);
        let sentence = format!("this process was asked to stop before process 0 at {address} was reached");
        ended_in_order(&joins.end(), &sentence);
    }
}

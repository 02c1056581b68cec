//! Processes find each other in any order of starts and deaths, and within a limit.

use crate::cluster::{Process, small, start_all, start_one, write_hosts};
use std::time::Duration;

const SHORT: [&str; 2] = ["--start-timeout", "2s"];

#[test]
fn who_does_not_come_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let limit = ["--start-timeout", "12s"]; // process 1 must come within it, also on a busy machine
    let mut all = start_all(&small(3, &limit), 3, &hosts);
    drop(all.pop());
    let ends: Vec<_> = all.into_iter().map(Process::end).collect();
    let last = std::fs::read_to_string(&hosts).unwrap().lines().last().unwrap().to_string();
    let sentence = format!("error: process 2 ({last}) did not come to 127.0.0.1:");
    for end in &ends {
        assert_eq!(end.code, Some(2), "{end:?}");
        assert!(end.said.contains(&sentence) && end.said.contains("within 12 s"), "{end:?}");
    }
}

#[test]
fn a_process_0_that_does_not_come_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let head = write_hosts(&hosts, 2);
    let end = start_one(&small(2, &SHORT), 1, &hosts).end();
    assert_eq!(end.code, Some(2), "{end:?}");
    let sentence = format!("error: process 0 at {head} was not reached within 2 s: Connection refused");
    assert!(end.said.contains(&sentence), "{end:?}");
}

#[test]
fn any_order_of_starts_and_deaths_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    write_hosts(&hosts, 3);
    let arguments = small(3, &[]);
    let start = |process| start_one(&arguments, process, &hosts);
    let others = [start(2), start(1)];
    let head = start(0);
    head.wait_for("all processes are there");
    let weights = head.end().weights();
    others.into_iter().for_each(|other| assert_eq!(other.end().code, Some(0)));
    // Processes 0 and 1 have met; 0 dies and comes again, 1 dies and comes again, then 2 comes.
    let (head, first) = (start(0), start(1));
    head.wait_for("process 1 has come");
    drop(head);
    first.wait_for("trying again");
    let head = start(0);
    head.wait_for("process 1 has come");
    drop(first);
    head.wait_for("has left again");
    let others = [start(1), start(2)];
    assert_eq!(head.end().weights(), weights);
    others.into_iter().for_each(|other| assert_eq!(other.end().code, Some(0)));
}

#[test]
fn a_storm_of_deaths_in_the_beginning_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let arguments = small(4, &[]);
    let mut all = start_all(&arguments, 4, &hosts);
    let mut draw = 7u64;
    for _ in 0..12 {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let process = (draw >> 60) as usize % 4;
        std::thread::sleep(Duration::from_millis(draw >> 56 & 127));
        all[process].signal(libc::SIGKILL);
        // A supervisor starts all that have ended anew.
        for (process, one) in all.iter_mut().enumerate() {
            if one.child.try_wait().unwrap().is_some() {
                *one = start_one(&arguments, process, &hosts);
            }
        }
    }
    // And goes on doing so until all have ended well.
    let mut ended = [false; 4];
    let began = std::time::Instant::now();
    while !ended.iter().all(|ended| *ended) {
        assert!(began.elapsed() < crate::cluster::LIMIT, "{}", all[0].said());
        for process in 0..4 {
            match all[process].child.try_wait().unwrap() {
                Some(status) if status.success() => ended[process] = true,
                Some(_) => all[process] = start_one(&arguments, process, &hosts),
                None => {}
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

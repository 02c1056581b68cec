//! SIGTERM to any process ends the job in order.

use crate::cluster::{Process, small, start_all};
use sluicebox::engine::checkpoint::newest_step;
use std::time::Duration;

#[test]
fn all_end_in_order_whichever_process_is_asked() {
    for asked in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let more = ["--set", "stop.epochs=100000", "--state", state.to_str().unwrap()];
        let all = start_all(&small(3, &more), 3, &folder.path().join("hosts"));
        all[0].wait_for("all processes are there");
        std::thread::sleep(Duration::from_millis(500));
        all[asked].signal(libc::SIGTERM);
        for (process, end) in all.into_iter().map(Process::end).enumerate() {
            assert_eq!(end.code, Some(0), "asked {asked}: process {process}: {end:?}");
        }
        assert!(newest_step(&state).unwrap() > 0, "a checkpoint was written");
    }
}

#[test]
fn a_process_that_waits_for_others_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    for asked in 0..2 {
        let mut all = start_all(&small(3, &[]), 3, &hosts);
        all.pop(); // it never comes
        all[0].wait_for("process 1 has come");
        all[asked].signal(libc::SIGTERM);
        let other = all.remove(1 - asked);
        let end = all.remove(0).end();
        assert_eq!(end.code, Some(1 - asked as i32), "{end:?}");
        assert!(end.said.contains("before"), "{end:?}");
        if asked == 0 {
            let end = other.end();
            assert_eq!(end.code, Some(1), "{end:?}");
            assert!(end.said.contains("was asked to stop before all of its processes had come"), "{end:?}");
        } else {
            other.wait_for("has left again");
        }
    }
}

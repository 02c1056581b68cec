//! A job that waits for samples: labels take effect, and a part of it that fails ends it.

use crate::running::{Running, fed_job, lines};
use crate::support::{root, sluicebox};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn written(folder: &Path, job: &str) -> PathBuf {
    let path = folder.join("job.toml");
    std::fs::write(&path, job).unwrap();
    path
}

/// Waits for the end of a job that ends by itself, and returns its summary.
fn summary(job: &mut Running) -> serde_json::Value {
    let (status, stdout) = job.end();
    assert!(status.success(), "{}", job.said());
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// Returns the teacher's weights in the newest checkpoint, once it is of step `step` or later.
fn weights(job: &Running, state: &Path, step: u64) -> Vec<u8> {
    assert_eq!(job.post("/control/checkpoint", "").status, 200);
    let newest = || {
        let folders = std::fs::read_dir(state).ok()?.flatten().map(|entry| entry.path());
        let newest = folders.filter(|path| path.to_string_lossy().contains("/step-")).max()?;
        let of: u64 = newest.to_str()?.rsplit_once("step-")?.1.parse().ok()?;
        (of >= step).then(|| std::fs::read(newest.join("model.safetensors")).ok())?
    };
    job.wait("a checkpoint", newest)
}

#[test]
fn labels_take_effect_on_an_idle_stream_and_move_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // The learning rate falls with each step that the schedule counts.
    let more = "[schedule]\nkind = \"inverse-sqrt\"\nwarmup_steps = 2\n[stop]\nsamples = 40\n";
    let path = written(folder.path(), &fed_job(more));
    let mut job = Running::start(&path, &state);
    job.feed(0..32);
    job.wait_for_step(1);
    let before = weights(&job, &state, 2);
    let steps = job.step();
    for id in 0..3 {
        assert_eq!(job.post("/labels", &json!({ "id": id, "class": "3" }).to_string()).status, 200);
        job.wait_for_step(steps + 1 + id); // nobody sends a sample
    }
    assert!(weights(&job, &state, job.step() + 1) == before, "a step without samples changed the weights");
    job.signal("KILL");
    job.end();

    // The steps are cut again as they were, and the next samples are trained on.
    let mut job = Running::start(&path, &state);
    job.feed(32..40);
    let summary = summary(&mut job);
    assert_eq!((&summary["samples_seen"], &summary["label_count"]), (&json!(40), &json!(43)));
    // The same samples with all labels before the second step: the same weights, although there were
    // other numbers of empty steps.
    let again = folder.path().join("again");
    let mut job = Running::start(&path, &again);
    job.feed(0..32);
    job.wait_for_step(1);
    let labels: String = (0..3).map(|id| json!({ "id": id, "class": "3" }).to_string()).collect();
    assert_eq!(job.post("/labels", &labels).status, 200);
    job.wait_for_step(2);
    assert_eq!(weights(&job, &again, 3), before);
    job.feed(32..40);
    assert!(job.end().0.success());
}

#[test]
fn a_job_whose_log_fails_while_it_waits_ends_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("faulty_disk.so");
    let source = root().join("tests/support/faulty_disk.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: there is no C compiler (cc)");
        return;
    }
    for paused in [false, true] {
        let state = folder.path().join(format!("state-{paused}"));
        let switch = folder.path().join(format!("fails-{paused}"));
        let path = written(folder.path(), &fed_job("[log]\ndurability = \"fsync\"\n[stop]\nsamples = 40\n"));
        let mut command = sluicebox();
        command.env("LD_PRELOAD", &library).env("FAULTY_DISK", &switch);
        let mut job = Running::of(command, &path, &state);
        job.feed(0..32);
        job.wait_for_step(1);
        if paused {
            assert_eq!(job.post("/control/pause", "").status, 200);
        }
        std::thread::sleep(Duration::from_millis(100)); // now it waits
        std::fs::write(&switch, "").unwrap();
        // Not acknowledged, whatever the answer is.
        if let Ok(answer) = job.try_post("/samples", &lines(32..40)) {
            assert_eq!(answer.status, 500, "{}", answer.body);
        }
        // Until it has ended, it does not say that it is well.
        while let Ok(health) = job.try_get("/healthz") {
            assert_eq!((health.status, &health.body["status"]), (503, &json!("failed")), "{}", health.body);
            assert!(
                health.body["reason"].as_str().unwrap().contains("Input/output error"),
                "{}",
                health.body
            );
        }
        let (status, _) = job.end();
        assert_eq!(status.code(), Some(1), "{}", job.said());
        assert!(job.said().contains("Input/output error"), "{}", job.said());
        // Nothing that was acknowledged is lost.
        std::fs::remove_file(&switch).unwrap();
        let mut job = Running::start(&path, &state);
        if paused {
            assert_eq!(job.post("/control/resume", "").status, 200); // a pause outlives the process
        }
        job.feed(32..40);
        assert_eq!(summary(&mut job)["samples_seen"], 40);
    }
}

#[test]
fn a_job_without_file_descriptors_serves_or_ends() {
    let folder = tempfile::tempdir().unwrap();
    let log = "[log]\nmax_bytes = 67108864\n";
    let path = written(folder.path(), &fed_job(log));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sluicebox")]);
    let mut job = Running::of(command, &path, &folder.path().join("state"));
    let address = job.address().trim_start_matches("http://").to_string();
    job.wait_for("may open 64 files only");
    let mut held = Vec::new();
    let mut next = 0;
    let ended = job.wait("the job runs out of file descriptors", || {
        held.extend(std::net::TcpStream::connect(&address));
        if let Ok(answer) = job.try_post("/samples", &lines(next..next + 8))
            && answer.status == 200
        {
            next += 8;
        }
        let said = job.said();
        (said.contains("connections cannot be accepted") || said.contains("failed at step")).then_some(said)
    });
    drop(held);
    if !ended.contains("failed at step") {
        // The connections are gone: it takes samples as before, or ends. It does not only look alive.
        let well = job.wait("it works again, or ends", || {
            let ended = job.said().contains("failed at step");
            let well =
                job.try_post("/samples", &lines(next..next + 8)).is_ok_and(|answer| answer.status == 200);
            (ended || well).then_some(well)
        });
        if well {
            next += 8;
            job.signal("TERM");
        }
    }
    let expected = if job.said().contains("failed at step") { 1 } else { 0 };
    assert_eq!(job.end().0.code(), Some(expected), "{}", job.said());
    // What was acknowledged is kept.
    let path = written(folder.path(), &fed_job(&format!("{log}[stop]\nsamples = {next}\n")));
    let mut job = Running::start(&path, &folder.path().join("state"));
    assert_eq!(summary(&mut job)["samples_seen"], next);
}

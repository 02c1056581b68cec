//! A disk without space: feeders are held back, a checkpoint that cannot be written is tried again, and
//! nothing is lost.

use crate::running::{Running, fed_job, lines};
use crate::support::{root, sluicebox};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A small file system in memory, in a mount namespace of its own.
struct SmallDisk {
    holder: Child,
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one; none where that is not permitted.
    fn new(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && exec sleep 1000");
        let mut holder = Command::new("unshare");
        holder.args(["-rm", "sh", "-c", &script]).arg(folder.path());
        let mut holder =
            holder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        if line.trim() != "mounted" {
            let _ = holder.wait();
            println!("skipped: a file system cannot be mounted here (unshare -rm)");
            return None;
        }
        let disk = Self { holder, folder };
        let entered = disk.enter("true").status().is_ok_and(|status| status.success());
        if !entered {
            println!("skipped: the namespace of a mounted file system cannot be entered (nsenter)");
        }
        entered.then_some(disk)
    }

    /// Returns the path at which this process sees it.
    fn seen(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.folder.path().strip_prefix("/").unwrap())
    }

    /// Returns a command that sees it at the path of its folder.
    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &holder, "--", program]);
        command.current_dir(root());
        command
    }

    fn run(&self, job: &Path) -> Running {
        let state = self.folder.path().join("state");
        Running::of(self.enter(env!("CARGO_BIN_EXE_sluicebox")), job, &state)
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(self.seen()).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Fills the disk until `left` bytes are free.
    fn fill(&self, left: u64) {
        let began = Instant::now();
        loop {
            let more = self.free().saturating_sub(left);
            if more < 4096 {
                break;
            }
            // Each in a file of its own: nothing is free for a moment meanwhile.
            let number = std::fs::read_dir(self.seen()).unwrap().count();
            let _ = std::fs::write(self.seen().join(format!("ballast-{number}")), vec![1; more as usize]);
            assert!(began.elapsed() < Duration::from_secs(60), "the disk cannot be filled");
        }
    }

    fn free_all(&self) {
        for entry in std::fs::read_dir(self.seen()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("ballast-") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn written(folder: &Path, job: &str) -> PathBuf {
    let path = folder.join("job.toml");
    std::fs::write(&path, job).unwrap();
    path
}

fn checkpoints(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten(); // it may not be there yet
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("step-"));
    names.sort();
    names
}

/// A job that reads digits for ever, in steps of so many.
fn digits_job(batch: usize, more: &str) -> String {
    format!(
        "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n[source]\nkind = \"digits\"\n\
         [batch]\nlabelled = 8\nunlabelled = {batch}\n[model]\nkind = \"mlp\"\nhidden = [32]\n\
         [epoch]\nsteps = 20\n[stop]\nepochs = 0\n[checkpoint]\nsteps = 20\n[report]\nevaluate_epochs = 0\n\
         [server]\nlisten = \"127.0.0.1:0\"\n{more}"
    )
}

#[test]
fn feeders_are_held_back_while_the_disk_is_short_and_what_is_acknowledged_is_trained() {
    let Some(disk) = SmallDisk::new(48) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &fed_job("[log]\nmax_bytes = 67108864\n[stop]\nsamples = 96\n"));
    let mut job = disk.run(&path);
    job.feed(0..32);
    job.wait_for_step(1);
    assert_eq!(job.get("/healthz").body["status"], "ok");
    assert_eq!(job.post("/control/pause", "").status, 200);
    job.feed(32..64);
    disk.fill(8 << 20);
    let held = job.wait("feeders are held back", || {
        let answer = job.post("/samples", &lines(64..65));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((held.status, held.retry_after.as_deref()), (429, Some("1")));
    assert!(held.body["error"].as_str().unwrap().contains("MB free"), "{}", held.body);
    assert_eq!(job.post("/labels", &json!({ "id": 1, "class": "3" }).to_string()).status, 429);
    let health = job.get("/healthz");
    assert_eq!((health.status, &health.body["status"]), (200, &json!("troubled")));
    assert!(health.body["troubles"]["disk"].as_str().unwrap().contains("MB free"), "{}", health.body);
    // What is in the log is trained on meanwhile, and a checkpoint is written.
    assert_eq!(job.post("/control/resume", "").status, 200);
    job.wait_for_step(2);
    let before = checkpoints(&disk.seen().join("state"));
    assert_eq!(job.post("/control/checkpoint", "").status, 200);
    job.wait("a checkpoint", || (checkpoints(&disk.seen().join("state")) != before).then_some(()));
    // Without any space the job waits, and does not end.
    disk.fill(0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(job.post("/samples", &lines(64..65)).status, 429);
    assert_eq!(job.get("/healthz").body["status"], "troubled");
    assert!(job.child.try_wait().unwrap().is_none());
    assert_eq!(job.said().matches("feeders are held back").count(), 1, "{}", job.said());
    disk.free_all();
    // At first sample 64 may have been taken.
    job.feed(64..96);
    let (status, stdout) = job.end();
    assert!(status.success(), "{}", job.said());
    assert!(job.said().contains("feeders go on"), "{}", job.said());
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["samples_seen"], 96);
}

#[test]
fn predictions_wait_for_space_and_each_is_written_once() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let folder = tempfile::tempdir().unwrap();
    let predictions = disk.folder.path().join("predictions");
    let sink = format!("[[sink]]\nkind = \"predictions\"\npath = \"{}\"\n", predictions.display());
    let mut job = disk.run(&written(folder.path(), &digits_job(1, &sink)));
    job.wait_for_step(40);
    disk.fill(0);
    job.wait_for("the job is held");
    let health = job.get("/healthz").body;
    assert_eq!(health["status"], "troubled");
    assert!(health["troubles"]["predictions"].as_str().unwrap().contains("No space left"), "{health}");
    disk.free_all();
    job.wait_for("the job goes on");
    let step = job.step();
    job.wait_for_step(step + 5);
    let seen = job.stop()["samples_seen"].as_u64().unwrap();
    let text = std::fs::read_to_string(disk.seen().join("predictions")).unwrap();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    let mut ids: Vec<u64> = text.lines().map(id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((text.lines().count() as u64, ids.len() as u64), (seen, seen));

    // A job that is to stop waits no longer, and says why it could not save.
    let mut job = disk.run(&folder.path().join("job.toml"));
    job.wait_for("resuming from step");
    job.wait_for_step(step + 10);
    disk.fill(0);
    job.wait_for("the job is held");
    job.signal("TERM");
    assert_eq!(job.end().0.code(), Some(1));

    // On a full disk a start says what is wrong.
    disk.fill(0);
    let job = disk.run(&folder.path().join("job.toml"));
    job.wait("it says what is wrong", || {
        let said = job.said().to_lowercase();
        ["no space left", "disk is full"].iter().any(|says| said.contains(says)).then_some(())
    });
    drop(job);
    disk.free_all();
    let mut job = disk.run(&folder.path().join("job.toml"));
    job.wait_for_step(step + 15);
    job.stop();
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_tried_again_while_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (state, reports) = (folder.path().join("state"), folder.path().join("reports.jsonl"));
    let sink = format!("[[sink]]\nkind = \"jsonl\"\npath = \"{}\"\n", reports.display());
    let path = written(folder.path(), &digits_job(32, &sink));
    // The limit on a file's size stands for a full disk. By default it would end the process.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sluicebox")]);
    let mut job = Running::of(command, &path, &state);
    let limit = |job: &Running, bytes: Option<u64>| {
        let pid = Pid::from_raw(job.child.id() as i32);
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    };
    job.wait("a checkpoint", || checkpoints(&state).first().cloned());
    limit(&job, Some(1000));
    job.wait_for("cannot write a checkpoint; the one before it is intact");
    let kept = checkpoints(&state);
    assert!(!kept.is_empty());
    let health = job.get("/healthz");
    assert_eq!((health.status, &health.body["status"]), (200, &json!("troubled")));
    assert!(health.body["troubles"]["checkpoint"].as_str().unwrap().contains("File too large"));
    let step = job.step();
    job.wait_for_step(step + 60); // it goes on, past further checkpoints that are due
    job.wait_for("fails, and misses events until it works again");
    assert_eq!(checkpoints(&state), kept);
    assert_eq!(job.said().matches("cannot write a checkpoint").count(), 1, "it is said once");
    let failures = job.get("/metrics").body.to_string();
    assert!(failures.contains("sluicebox_checkpoint_failures_total"), "{failures}");
    limit(&job, None);
    job.wait_for("checkpoints are written again");
    job.wait_for("works again");
    job.wait("all is well", || (job.get("/healthz").body["status"] == "ok").then_some(()));
    let summary = job.stop();
    // No report is torn.
    let text = std::fs::read_to_string(&reports).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    // A job that ends without its last checkpoint has not succeeded.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sluicebox")]);
    let mut job = Running::of(command, &path, &state);
    job.wait_for(&format!("resuming from step {}", summary["steps"]));
    job.wait_for_step(summary["steps"].as_u64().unwrap() + 5);
    limit(&job, Some(1000));
    job.signal("TERM");
    let (status, stdout) = job.end();
    assert_eq!((status.code(), stdout.contains("weights_sha256")), (Some(1), false));
    // The same command goes on from what is kept.
    let mut job = Running::of(sluicebox(), &path, &state);
    job.wait_for("resuming from step");
    job.wait_for_step(summary["steps"].as_u64().unwrap() + 1);
    job.stop();
}

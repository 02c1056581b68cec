//! A job that is fed, labelled and killed: acknowledged samples are trained on once, in the order
//! of the write-ahead log, and the result equals that of a run over the same log that was never
//! killed.
//!
//! The same holds where the job has several processes, and random ones of them are killed.
//!
//! `scripts/fault-matrix` and `scripts/cluster-soak` run this with more kills.

use crate::support::{output, sluicebox};
use serde_json::{Value, json};
use sluicebox_core::sample::Block;
use sluicebox_stream::ingest::block;
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Returns a job with two fed sources, and the digits for the first labels and for evaluation.
/// Partial batches, checkpoints every few steps and late labels cover everything that a restart
/// must repeat.
fn job(samples: u64, port: u16) -> String {
    let fed = "shape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\n\
               classes = [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
    format!(
        "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n\
         [[source]]\nkind = \"digits\"\nweight = 0\n\
         [[source]]\nkind = \"http\"\n{fed}\n\
         [[source]]\nkind = \"tcp\"\nweight = 0.5\nlisten = \"127.0.0.1:{port}\"\n{fed}\n\
         [batch]\nlabelled = 8\nunlabelled = 32\nmax_wait = \"20ms\"\n\
         [model]\nkind = \"mlp\"\nhidden = [32]\n\
         [method]\nkind = \"fixmatch\"\nthreshold = 0.6\n\
         [views]\nweak = []\nstrong = [{{ kind = \"noise\", deviation = 0.2 }}]\n\
         [teacher]\nema = 0.9\n\
         [epoch]\nsteps = 10\nseconds = 0.5\n[stop]\nsamples = {samples}\n\
         [checkpoint]\nsteps = 3\n[server]\nlisten = \"127.0.0.1:0\"\n"
    )
}

/// Address at which the job listens; empty while it is down.
type Address = Arc<Mutex<String>>;

/// Workers of a job of several processes, two in each.
const WORKERS: [&str; 4] = ["--workers", "4", "--processes", "2"];

/// Starts the job and follows its log for the address.
fn start(job: &Path, state: &Path, address: &Address, more: &[&str]) -> Child {
    let arguments = ["run", job.to_str().unwrap(), "--state", state.to_str().unwrap(), "--log", "json"];
    let mut command = sluicebox();
    command.args(arguments).args(more).arg("--summary").arg(state.with_extension("summary"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr: ChildStderr = child.stderr.take().unwrap();
    let address = address.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(found) = line["text"].as_str().and_then(|text| text.strip_prefix("listening at ")) {
                *address.lock().unwrap() = found.to_string();
            }
        }
    });
    child
}

/// The processes of a job, each with what starts it.
struct Processes<'a> {
    children: Vec<Child>,
    start: Vec<Box<dyn Fn() -> Child + 'a>>,
}

impl<'a> Processes<'a> {
    fn of(start: Vec<Box<dyn Fn() -> Child + 'a>>) -> Self {
        Self { children: start.iter().map(|start| start()).collect(), start }
    }

    /// Starts whoever has ended again, at once, for some time: so that a process comes while others still end. Returns whether
    /// process 0 has ended well.
    fn supervise(&mut self, time: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < time {
            for at in 0..self.children.len() {
                match self.children[at].try_wait().unwrap() {
                    Some(end) if at == 0 && end.success() => return true,
                    Some(end) if !end.success() => self.children[at] = (self.start[at])(),
                    _ => {}
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn kill(&mut self, victim: usize) {
        self.children[victim].kill().unwrap(); // SIGKILL
    }
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

/// Posts until the job acknowledges, across kills of the job.
fn post(address: &Address, path: &str, body: &str, over: &AtomicBool) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) {
        assert!(began.elapsed() < Duration::from_secs(120), "{path} is not taken");
        let found = address.lock().unwrap().clone();
        let sent = agent.post(format!("{found}{path}")).content_type("application/x-ndjson").send(body);
        match sent {
            Ok(answer) if answer.status() == 200 => return,
            Ok(answer) => assert_eq!(answer.status(), 429, "{path}"),
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

/// Returns the class that a sample is sent with: every fifth has one.
fn sent_class(id: u64) -> Option<u64> {
    (id % 5 == 2).then_some(id % 10)
}

fn sample(id: u64) -> Value {
    let mut state = id;
    let values: Vec<u64> = (0..64).map(|_| draw(&mut state) % 17).collect();
    json!({ "id": id, "values": values, "label": sent_class(id) })
}

/// Returns the summary of a job that has ended.
fn summary(state: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(state.with_extension("summary")).unwrap()).unwrap()
}

/// Returns the values that must not depend on how often the job was killed.
fn lasting(summary: &Value) -> BTreeMap<&str, &Value> {
    let keys = ["epochs", "steps", "samples_seen", "accepted_fraction", "student_samples", "accuracy"];
    let more = ["label_count", "weights_sha256"];
    keys.into_iter().chain(more).map(|key| (key, &summary[key])).collect()
}

/// Feeds, labels and kills a job, or a process of it, then runs its log again without kills in one process.
fn soak(kills: u64, samples: u64, processes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("soak.toml");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A third of the samples comes over TCP, with ids of their own.
    let posted = samples - samples / 3;
    std::fs::write(&path, job(samples, port)).unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("samples.ndjson");
    let lines: String = (posted..samples).map(|id| format!("{}\n", sample(id))).collect();
    std::fs::write(&file, lines).unwrap();
    let to = format!("127.0.0.1:{port}");
    let feed =
        ["feed", &to, file.to_str().unwrap(), "--client-id", "soak", "--batch", "7", "--rate", "900/s"];
    let mut feed = sluicebox().args(feed).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let address = Address::default();
    let over = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));

    // Each feeder sends every third block of samples; a label comes before its sample, with it, or
    // after it.
    let feeders: Vec<_> = (0..3u64)
        .map(|feeder| {
            let (address, over, acknowledged) = (address.clone(), over.clone(), acknowledged.clone());
            std::thread::spawn(move || {
                let mut state = feeder;
                let mut first = feeder * 11;
                while first < posted && !over.load(Ordering::Relaxed) {
                    let ids = first..posted.min(first + 11);
                    let lines: String = ids.clone().map(|id| format!("{}\n", sample(id))).collect();
                    post(&address, "/samples", &lines, &over);
                    acknowledged.fetch_add(ids.end - ids.start, Ordering::Relaxed);
                    let other = first.saturating_sub(40) + draw(&mut state) % 80;
                    let label = json!({ "id": other, "class": draw(&mut state) % 10 });
                    post(&address, "/labels", &label.to_string(), &over);
                    first += 33;
                    std::thread::sleep(Duration::from_millis(draw(&mut state) % 30));
                }
            })
        })
        .collect();

    let mut chance = 7;
    let meeting =
        format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let several = [&WORKERS[..], &["--join-at", &meeting]].concat();
    let more = if processes > 1 { &several[..] } else { &[] };
    let mut all: Vec<Box<dyn Fn() -> Child>> = vec![Box::new(|| start(&path, &state, &address, more))];
    for _ in 1..processes {
        let join = || sluicebox().args(["join", &meeting]).stderr(Stdio::null()).spawn().unwrap();
        all.push(Box::new(join));
    }
    let mut all = Processes::of(all);
    for kill in 0..kills {
        let ended = all.supervise(Duration::from_millis(150 + draw(&mut chance) % 450));
        assert!(!ended, "the job ended after {kill} kills");
        all.kill(draw(&mut chance) as usize % processes);
    }
    assert!(all.supervise(Duration::from_secs(600)), "the job ends");
    let killed = summary(&state);
    over.store(true, Ordering::Relaxed);
    feeders.into_iter().for_each(|feeder| feeder.join().unwrap());
    assert_eq!(killed["samples_seen"], samples);
    assert!(acknowledged.load(Ordering::Relaxed) >= posted - 33, "the job had more than was acknowledged");
    let _ = feed.kill(); // it may have had its last acknowledgement, or the job may have ended first
    feed.wait().unwrap();

    // The log holds each sample once, with the label that it was sent with.
    let log = Wal::open(&state.join("log"), &identity(&state), &LogSettings::default()).unwrap();
    let mut held = Vec::new();
    for stream in [1, 2] {
        let mut records = log.reader(stream, 0);
        while let Some((_, payload)) = records.read().unwrap() {
            let Block { ids, classes, .. } = block(&payload).unwrap();
            let class = |at: usize| classes.iter().find(|one| one.at as usize == at).map(|one| one.class);
            held.extend(ids.into_iter().enumerate().map(|(at, id)| (id, class(at).map(u64::from))));
        }
    }
    log.close();
    drop(log);
    held.sort();
    assert_eq!(held, (0..samples).map(|id| (id, sent_class(id))).collect::<Vec<_>>());

    // A run over the same log that is never killed gives the same result.
    let again = folder.path().join("again");
    std::fs::create_dir(&again).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(state.join("log")).arg(&again).status();
    assert!(copied.unwrap().success());
    let arguments = ["run", path.to_str().unwrap(), "--state", again.to_str().unwrap(), "--log", "json"];
    let workers = ["--workers", "4"];
    let (code, stdout, stderr) =
        output(&[&arguments[..], if processes > 1 { &workers } else { &[] }].concat());
    assert_eq!(code, 0, "{stderr}");
    let whole: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(lasting(&killed), lasting(&whole));
    assert!(killed["label_count"].as_u64().unwrap() > 60, "late labels were learned from");
}

/// Returns the identity of the job that owns the log.
fn identity(state: &Path) -> String {
    let refused = Wal::open(&state.join("log"), "nobody", &LogSettings::default()).err().unwrap().to_string();
    let (_, rest) = refused.split_once("its samples are ").unwrap();
    rest.split_once(", this job's").unwrap().0.to_string()
}

#[test]
fn a_killed_job_ends_as_one_that_was_not() {
    let kills = kills().unwrap_or(6);
    soak(kills, 600 * kills, 1);
    println!("{kills} kills");
}

#[test]
fn a_job_whose_processes_are_killed_ends_as_one_that_was_not() {
    let kills = kills().unwrap_or(4);
    soak(kills, 400 * kills, 2);
    println!("{kills} kills of a process");
}

fn kills() -> Option<u64> {
    std::env::var("SLUICEBOX_KILLS").ok().and_then(|kills| kills.parse().ok())
}

#[test]
fn an_idle_job_makes_room_in_an_old_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idle.toml");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&path, format!("{}[log]\nmax_age = \"1s\"\n", job(80, port))).unwrap();
    let (address, over) = (Address::default(), AtomicBool::new(false));
    let state = folder.path().join("state");
    let mut child = start(&path, &state, &address, &[]);
    for first in [0, 40] {
        let lines: String = (first..first + 40).map(|id| format!("{}\n", sample(id))).collect();
        post(&address, "/samples", &lines, &over);
        // By now all of it is consumed, and older than the log's age limit.
        std::thread::sleep(Duration::from_millis(1500));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(summary(&state)["samples_seen"], 80);
}

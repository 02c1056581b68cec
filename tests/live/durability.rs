//! What is acknowledged after a restart is trained on once, whatever the state folder has lost before; what is gone is
//! said, and no id is given twice. The predictions are the witness: a line for each sample.

use crate::support::{output, sluicebox};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Samples of a step.
const BATCH: usize = 32;

/// A job in a folder of its own: fed over HTTP, 32 samples per step, a checkpoint every 5 steps. Samples that fill no
/// step wait for ever.
struct Rig {
    folder: tempfile::TempDir,
    sets: Vec<String>,
}

impl Rig {
    fn new(sets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let predictions = folder.path().join("predictions");
        let text = format!(
            "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n\
             [[source]]\nkind = \"digits\"\nweight = 0\n\
             [[source]]\nkind = \"http\"\nshape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\n\
             classes = [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n\
             [batch]\nlabelled = 8\nunlabelled = {BATCH}\nmax_wait = \"1h\"\n\
             [model]\nkind = \"mlp\"\nhidden = [8]\n\
             [views]\nweak = []\nstrong = [{{ kind = \"noise\", deviation = 0.2 }}]\n\
             [epoch]\nsteps = 10\n[stop]\nepochs = 0\n[checkpoint]\nsteps = 5\n\
             [server]\nlisten = \"127.0.0.1:0\"\n\
             [[sink]]\nkind = \"predictions\"\npath = \"{}\"\n",
            predictions.display()
        );
        std::fs::write(folder.path().join("job.toml"), text).unwrap();
        Self { folder, sets: sets.iter().flat_map(|set| ["--set".into(), set.to_string()]).collect() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("state/log")
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let [job, state] = ["job.toml", "state"].map(|name| self.path(name).display().to_string());
        let fixed = ["run", &job, "--state", &state, "--log", "json"].map(String::from);
        fixed.into_iter().chain(self.sets.clone()).chain(more.iter().map(|more| more.to_string())).collect()
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut child = sluicebox()
            .args(self.arguments(more))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "text": line }));
                heard.lock().unwrap().push(line["text"].as_str().unwrap_or_default().to_string());
            }
        });
        let mut running = Running { child, said, address: String::new() };
        running.address = until("the job listens", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", running.said());
            let said = running.said.lock().unwrap();
            said.iter().find_map(|line| line.strip_prefix("listening at ").map(str::to_string))
        });
        running
    }

    /// Runs a job that ends at once; returns what it said on stderr.
    fn refused(&self, more: &[&str]) -> String {
        let arguments = self.arguments(more);
        let (code, _, stderr) = output(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, 2, "{stderr}");
        stderr
    }

    /// Returns the ids in a file of predictions, in order.
    fn ids(&self, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        let id = |line: &str| serde_json::from_str::<Value>(line).ok()?["id"].as_u64();
        text.lines().filter_map(id).collect()
    }

    /// Waits until there are predictions of `count` samples, each once.
    fn predicted(&self, running: &Running, count: usize) -> Vec<u64> {
        let began = Instant::now();
        loop {
            let ids = self.ids("predictions");
            if ids.len() >= count {
                let different: BTreeSet<&u64> = ids.iter().collect();
                assert_eq!(
                    (ids.len(), different.len()),
                    (count, count),
                    "each sample once: {}",
                    running.said()
                );
                return ids;
            }
            let late = began.elapsed() > Duration::from_secs(120);
            assert!(!late, "{} of {count} were trained on: {}", ids.len(), running.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        let inside = std::fs::read_dir(self.path("state")).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> =
            inside.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("step-")).collect();
        found.sort();
        found
    }
}

struct Running {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Running {
    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60)));
        let agent: ureq::Agent = config.http_status_as_error(false).build().into();
        let sent =
            agent.post(format!("{}{path}", self.address)).content_type("application/x-ndjson").send(body);
        let mut answer = sent.unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Posts samples without ids; returns the ids that they were given.
    fn feed(&self, count: u64) -> Vec<u64> {
        let lines: String = (0..count).map(|number| format!("{}\n", values(number))).collect();
        let (status, answer) = self.post("/samples", &lines);
        assert_eq!((status, &answer["accepted"]), (200, &json!(count)), "{answer}");
        let first = answer["first_id"].as_u64().unwrap();
        (first..first + count).collect()
    }

    /// Posts samples that have ids; returns the answer.
    fn feed_named(&self, ids: std::ops::Range<u64>) -> (u16, Value) {
        let lines: String =
            ids.map(|id| format!("{}\n", json!({ "id": id, "values": values(id) }))).collect();
        self.post("/samples", &lines)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the job as an operator does.
    fn end(mut self) -> String {
        let signal = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(signal.unwrap().success());
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
        self.said()
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn values(seed: u64) -> Value {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % 17
    };
    (0..64).map(|_| draw()).collect::<Vec<u64>>().into()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

/// Changes the used part of the log's journal.
fn harm_journal(log: &Path, harm: impl Fn(&mut Vec<u8>, usize)) {
    let path = log.join("0.jnl");
    let mut bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    harm(&mut bytes, used);
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
}

/// Runs the job with 640 samples that were trained on and 16 that wait, harms the log, and checks that 64 further
/// samples are trained on, and that ids stay unique. Returns what the second run said.
fn lose_and_feed(rig: &Rig, harm: impl Fn(&Rig), more: &[&str]) -> String {
    let running = rig.start(&[]);
    let mut given: Vec<u64> = Vec::new();
    for count in [64, 128, 64, 64] {
        given.extend(running.feed(count));
    }
    rig.predicted(&running, 320);
    copy(&rig.log(), &rig.path("older"));
    for count in [100, 120, 100, 16] {
        given.extend(running.feed(count));
    }
    rig.predicted(&running, 640);
    until("a checkpoint of step 20", || {
        rig.path("state/step-000000000020/manifest.json").exists().then_some(())
    });
    running.kill();
    harm(rig);
    let running = rig.start(more);
    given.extend(running.feed(48));
    given.extend(running.feed(16));
    let different: BTreeSet<&u64> = given.iter().collect();
    assert_eq!(different.len(), given.len(), "an id was given twice");
    let ids = rig.predicted(&running, 704);
    assert!(ids.iter().all(|id| given.contains(id)));
    assert!(running.said().contains("resuming from step 20"), "{}", running.said());
    let said = running.end();
    // A further restart has nothing to say, and goes on.
    let running = rig.start(&[]);
    running.feed(64);
    rig.predicted(&running, 768);
    let again = running.end();
    assert!(!again.contains("are gone"), "{again}");
    said
}

#[test]
fn a_log_whose_end_is_cut_goes_on() {
    let rig = Rig::new(&[]);
    let cut = |rig: &Rig| harm_journal(&rig.log(), |bytes, used| bytes.truncate(used * 6 / 10));
    let said = lose_and_feed(&rig, cut, &[]);
    assert!(said.contains("the log ends with record") && said.contains("are in the checkpoint"), "{said}");
    assert!(said.contains("acknowledged samples, labels and steps are gone"), "{said}");
}

#[test]
fn a_log_whose_end_is_zeroed_goes_on() {
    let rig = Rig::new(&[]);
    let zero = |rig: &Rig| harm_journal(&rig.log(), |bytes, used| bytes[used * 9 / 10..used].fill(0));
    let said = lose_and_feed(&rig, zero, &[]);
    assert!(said.contains("New records are numbered from"), "{said}");
}

#[test]
fn a_log_that_was_deleted_or_replaced_by_an_older_copy_goes_on() {
    let rig = Rig::new(&[]);
    let said = lose_and_feed(&rig, |rig| std::fs::remove_dir_all(rig.log()).unwrap(), &[]);
    assert!(said.contains("there are no records in the log, but"), "{said}");
    // Then its checkpoints are lost as well: what it has trained on is in neither.
    rig.checkpoints().iter().for_each(|checkpoint| std::fs::remove_dir_all(checkpoint).unwrap());
    let before = rig.ids("predictions");
    let told = rig.refused(&[]);
    assert!(told.contains("the log begins with record") && told.contains("--fresh"), "{told}");
    assert_eq!(rig.ids("predictions"), before);
    let running = rig.start(&["--fresh"]);
    running.feed(32);
    rig.predicted(&running, 32);
    running.end();
    assert_eq!(rig.ids("predictions.aside-1"), before);

    let rig = Rig::new(&[]);
    let older = |rig: &Rig| {
        std::fs::remove_dir_all(rig.log()).unwrap();
        std::fs::rename(rig.path("older"), rig.log()).unwrap();
    };
    lose_and_feed(&rig, older, &[]);
}

#[test]
fn with_fsync_a_loss_must_be_accepted() {
    let rig = Rig::new(&["log.durability=fsync"]);
    let cut = |rig: &Rig| {
        harm_journal(&rig.log(), |bytes, used| bytes.truncate(used / 2));
        let told = rig.refused(&[]);
        assert!(told.contains("--accept-loss") && told.contains("are gone"), "{told}");
    };
    lose_and_feed(&rig, cut, &["--accept-loss"]);
}

#[test]
fn a_damaged_log_can_be_forgotten_and_the_weights_stay() {
    let rig = Rig::new(&[]);
    let flip = |rig: &Rig| {
        harm_journal(&rig.log(), |bytes, used| bytes[used / 2] ^= 0x10);
        let told = rig.refused(&[]);
        assert!(told.contains("the log is damaged") && told.contains("--forget-log"), "{told}");
        let told = rig.refused(&["--forget-log", "--fresh"]);
        assert!(told.contains("cannot be used with"), "{told}");
    };
    let said = lose_and_feed(&rig, flip, &["--forget-log"]);
    assert!(said.contains("deleted, because of --forget-log") && said.contains("are gone"), "{said}");
    assert!(!rig.path("state/log.forgotten").exists());
    let empty = Rig::new(&[]);
    let told = empty.refused(&["--forget-log"]);
    assert!(told.contains("there is no checkpoint"), "{told}");
}

#[test]
fn ids_are_known_after_the_log_is_gone() {
    let rig = Rig::new(&[]);
    let running = rig.start(&[]);
    assert_eq!(running.feed_named(0..170).0, 200);
    rig.predicted(&running, 160);
    running.end();
    // 160 are in the checkpoint, 10 were in the log only.
    std::fs::remove_dir_all(rig.log()).unwrap();
    let running = rig.start(&[]);
    let (status, answer) = running.feed_named(0..192);
    assert_eq!((status, &answer["repeated"]), (200, &json!(160)), "{answer}");
    rig.predicted(&running, 192);
    let (status, answer) = running.post("/samples", &json!({ "id": 7, "values": values(8) }).to_string());
    assert_eq!(status, 409, "{answer}");
    running.end();
}

#[test]
fn predictions_of_others_are_moved_aside() {
    let rig = Rig::new(&[]);
    let foreign = "{\"id\":1}\n{\"id\":2}\n";
    std::fs::write(rig.path("predictions"), foreign).unwrap();
    let running = rig.start(&[]);
    assert!(running.said().contains("predictions.aside-1"), "{}", running.said());
    running.feed(64);
    rig.predicted(&running, 64);
    // Killed before its first checkpoint, it knows its own lines.
    running.kill();
    let running = rig.start(&[]);
    rig.predicted(&running, 64);
    running.end();
    assert!(!rig.path("predictions.aside-2").exists());
    // The same state with another path at which there is something.
    std::fs::write(rig.path("other"), foreign).unwrap();
    let other = format!("sink=[{{kind=\"predictions\",path=\"{}\"}}]", rig.path("other").display());
    let running = rig.start(&["--set", &other]);
    running.feed(32);
    until("32 lines", || (rig.ids("other").len() == 32).then_some(()));
    running.end();
    assert_eq!(rig.ids("predictions").len(), 64);
    for aside in ["predictions.aside-1", "other.aside-1"] {
        assert_eq!(std::fs::read_to_string(rig.path(aside)).unwrap(), foreign);
    }
    // A file that was replaced by another one since.
    std::fs::write(rig.path("other"), foreign.repeat(1000)).unwrap();
    let running = rig.start(&["--set", &other]);
    running.feed(32);
    until("32 lines", || (rig.ids("other").len() == 32).then_some(()));
    running.end();
    assert_eq!(rig.ids("other.aside-2").len(), 2000);
}

//! The demo and the samples, as somebody meets them who has just installed the command.

use crate::support::{Running, output, root};
use crate::terminal::Terminal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// A demo in a folder, and the address of its page.
struct Demo {
    running: Running,
    page: String,
}

impl Demo {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicebox"));
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(["demo", "--set", "threads=1", "--set", "epoch.steps=2", "--log", "json"]).args(more);
        // No browser opens in a test, whatever desktop it runs on: stdout is a pipe.
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
        let page = said.find_map(|line| Some(line.split_once("look at ")?.1.split(',').next()?.to_string()));
        // What it says must be read on, or its pipe would fill.
        let mut rest = child.stderr.take().unwrap();
        std::thread::spawn(move || rest.read_to_end(&mut Vec::new()));
        Self { running: Running(child), page: page.unwrap() }
    }

    fn report(&self) -> Option<Value> {
        let mut answer = agent().get(format!("{}report.json", self.page)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap())
            .ok()
            .filter(|report| *report != Value::Null)
    }

    /// Waits until a report says so.
    fn wait(&self, what: &str, says: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        while !self.report().as_ref().is_some_and(&says) {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", self.report());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Interrupts it, and returns its summary.
    fn end(mut self) -> Value {
        let child = &mut self.running.0;
        let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        let last = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).last().unwrap();
        assert!(child.wait().unwrap().success());
        serde_json::from_str(&last).unwrap()
    }
}

#[test]
fn the_demo_feeds_labels_and_shows_itself_in_an_empty_folder_until_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    // The usual port may be taken, here or by another test: the demo says where it is instead.
    let _taken = TcpListener::bind("127.0.0.1:7878");
    let demo = Demo::start(folder.path(), &[]);
    assert_ne!(demo.page, "http://127.0.0.1:7878/");
    demo.wait("late labels", |report| report["late_labels"].as_f64() > Some(0.0));
    let mut page = agent().get(&demo.page).call().unwrap();
    assert!(page.body_mut().read_to_string().unwrap().contains("<html"));
    let summary = demo.end();
    assert!(
        summary["samples_seen"].as_u64() > Some(1000) && summary["late_labels"].as_u64() > Some(0),
        "{summary}"
    );
    assert!(summary["accuracy"].as_f64() > Some(0.3), "{summary}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn the_demo_opens_a_browser_where_there_is_a_desktop() {
    let folder = tempfile::tempdir().unwrap();
    let (browser, opened) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    std::fs::write(&browser, format!("#!/bin/sh\necho \"$1\" > {}\n", opened.display())).unwrap();
    std::fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--set", "threads=1"];
    let desktop = [("DISPLAY", ":9"), ("PATH", path.as_str())];
    let mut terminal = Terminal::new(env!("CARGO_BIN_EXE_sluicebox"), &arguments, &desktop);
    let began = Instant::now();
    while !std::fs::read_to_string(&opened).is_ok_and(|page| page.starts_with("http://127.0.0.1:")) {
        assert!(began.elapsed() < PATIENCE, "{}", terminal.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    terminal.press("\u{3}");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn the_demo_keeps_what_it_learned_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let again = ["--state", "kept", "--listen", "127.0.0.1:0"];
    let demo = Demo::start(folder.path(), &again);
    demo.wait("an epoch", |report| report["samples"].as_f64() > Some(0.0));
    demo.end();
    let state = folder.path().join("kept");
    let (code, stdout, stderr) = output(&["eval", state.to_str().unwrap()]);
    assert!(code == 0 && stdout.contains("397"), "{stdout}{stderr}");
    let (code, _, stderr) = output(&["demo", "--state", state.to_str().unwrap()]);
    assert!(code == 2 && stderr.contains("a job has been here"), "{stderr}");
}

#[test]
fn an_address_of_the_demo_that_is_taken_is_refused_with_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = output(&["demo", "--listen", &address]);
    assert!(code == 2 && stderr.contains("the address is in use by"), "{stderr}");
    let (code, _, stderr) = output(&["demo", "--listen", "page"]);
    assert!(code == 2 && stderr.contains("--listen page: expected an address and a port"), "{stderr}");
}

#[test]
fn samples_feed_the_jobs_of_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = output(&["sample", "digits", "-n", "300"]);
    assert_eq!((code, stdout.lines().count()), (0, 300));
    let file = folder.path().join("digits.ndjson");
    std::fs::write(&file, stdout).unwrap();
    let client =
        Command::new(env!("CARGO_BIN_EXE_sluicebox")).args(["sample", "digits", "-n", "300"]).output();
    assert_eq!(client.unwrap().stdout, std::fs::read(&file).unwrap());
    let source = format!(
        "[source]\nkind = \"files\"\npath = \"{}\"\nshape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\n\
         classes = [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n[views]\nweak = \
         [{{ kind = \"affine\" }}]\nstrong = [{{ kind = \"affine\" }}]\n[batch]\nlabelled = 8\nunlabelled = 16\n\
         [epoch]\nsteps = 2\n[stop]\nepochs = 2\n",
        file.display()
    );
    let job = folder.path().join("job.toml");
    std::fs::write(&job, source).unwrap();
    let (code, stdout, stderr) = output(&["run", job.to_str().unwrap(), "--set", "threads=1"]);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert!(summary["label_count"].as_u64() > Some(0), "{summary}");
    for job in ["http", "tcp"] {
        let text = std::fs::read_to_string(root().join(format!("pipelines/{job}.toml"))).unwrap();
        assert!(text.contains("scale = 0.0625"), "{job}.toml does not take pixels from 0 to 16");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_samples() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicebox"));
    command.args(["sample", "digits", "-n", "1000000000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut first = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"id\":0,"), "{first}");
    assert!(running.0.wait().unwrap().success());
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

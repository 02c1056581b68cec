//! `serve`: the page of a job that does not run.

use crate::browser::Browser;
use crate::running::Running;
use crate::support::{output, sluicebox};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

const SMALL: [&str; 5] =
    ["epoch.steps=5", "checkpoint.steps=5", "device=cpu", "threads=1", "labels.rate=0.05"];

/// Runs a job of so many epochs with its state in `state`.
fn run(state: &Path, epochs: u64, more: &[&str]) {
    let mut arguments = vec!["run", "pipelines/digits.toml", "--state", state.to_str().unwrap()];
    let stop = format!("stop.epochs={epochs}");
    SMALL.iter().chain(more).chain([&stop.as_str()]).for_each(|set| arguments.extend(["--set", set]));
    let (code, _, said) = output(&arguments);
    assert_eq!(code, 0, "{said}");
}

/// A running `serve`. It is killed when it is dropped.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn of(arguments: &[&Path]) -> Self {
        let mut child = sluicebox()
            .arg("serve")
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("is shown at")).unwrap();
        let (_, url) = line.split_once("is shown at ").unwrap();
        Self { url: url.split('/').take(3).collect::<Vec<_>>().join("/"), child }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent: ureq::Agent = agent.into();
        let mut answer = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or_default())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_job_that_has_ended_is_shown_and_nothing_can_be_asked_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let [state, other] = ["state", "other"].map(|name| folder.path().join(name));
    run(&state, 6, &[]);
    run(&other, 9, &["seed=4"]);
    let serving = Serving::of(&[&state, &other]);
    let about = serving.get("/about.json").1;
    assert_eq!((&about["job"], &about["fed"]), (&"digits".into(), &false.into()));
    let report = serving.get("/report.json").1;
    assert_eq!((&report["epoch"], &report["ended_ms"]), (&6.into(), &about["ended_ms"]));
    assert_eq!(report["confusions"].as_array().map(Vec::is_empty), Some(false));
    assert_eq!(serving.get("/verdicts.json").1.as_array().unwrap().len(), 5);
    assert_eq!(serving.get("/history.json").1.as_array().unwrap().len(), 6);
    assert_eq!(serving.get("/progress.json").1["over"], true);
    assert_eq!(serving.get("/runs.json").1[0]["name"], other.to_str().unwrap());
    assert_eq!(serving.get("/history.json?run=1").1.as_array().unwrap().len(), 9);
    let (code, refused) = serving.get("/history.json?run=2");
    assert!(code == 400 && refused["error"].as_str().unwrap().contains("no such run"), "{refused}");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for path in ["/control/stop", "/samples", "/labels", "/predict"] {
        let mut answer = agent.post(format!("{}{path}", serving.url)).send("").unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status() == 404 && text.contains("this job does not run"), "{path}: {text}");
    }
    // The address is taken: the message says by whom.
    let address = serving.url.trim_start_matches("http://");
    let (code, _, said) = output(&["serve", state.to_str().unwrap(), "--listen", address]);
    assert!(code == 2 && said.contains("in use by the job `digits`"), "{said}");

    let Some(browser) = Browser::start() else { return };
    browser.resize(1280, 900);
    browser.goto(&format!(
        "{}/#run=1&axis=samples&smoothing=0.6&charts=accuracy~network_accuracy,samples_per_s",
        serving.url
    ));
    browser.until("document.querySelector('#lost').textContent.startsWith('This job ended at ')");
    browser.until("document.title.startsWith('ended at ') && document.body.classList.contains('dead')");
    browser.until("document.querySelector('#range').textContent === 'epochs 1 to 6'");
    browser.until("document.querySelectorAll('#plots figure').length === 2");
    browser.until("document.querySelectorAll('#plots .numbers li').length === 3");
    browser.until("document.querySelector('#other').value === '1' && document.querySelector('#axis').value === 'samples'");
    browser.until("document.querySelectorAll('#verdicts li').length === 5");
    browser.until("document.querySelector('#pause').hidden && document.querySelector('#stop').hidden");
    assert_eq!(browser.errors(false), Vec::<String>::new());
}

#[test]
fn a_comparison_is_shown_with_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (variant, seed) in [("a", "seed-0"), ("a", "seed-1"), ("b", "seed-0")] {
        run(&out.join(variant).join(seed), 2, &[]);
    }
    std::fs::write(out.join("plan.json"), "{}").unwrap();
    let serving = Serving::of(&[&out]);
    let runs = serving.get("/runs.json").1;
    let names: Vec<PathBuf> =
        runs.as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap().into()).collect();
    assert_eq!(names, [out.join("a/seed-1"), out.join("b/seed-0")]);
    assert_eq!(serving.get("/about.json").1["state"], out.join("a/seed-0").to_str().unwrap());
}

#[test]
fn what_cannot_be_shown_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |state: &Path| {
        let (code, _, said) = output(&["serve", state.to_str().unwrap(), "--listen", "0"]);
        assert_eq!(code, 2, "{said}");
        said
    };
    assert!(told(&folder.path().join("none")).contains("does not exist"));
    assert!(told(folder.path()).contains("there is no history in this folder"));
    let state = folder.path().join("state");
    let job = folder.path().join("job.toml");
    let text = "device = \"cpu\"\nthreads = 1\n[source]\nkind = \"digits\"\n[epoch]\nsteps = 5\n";
    std::fs::write(&job, text).unwrap();
    let running = Running::start(&job, &state);
    running.wait("an epoch", || state.join("history.db").exists().then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    let said = told(&state);
    assert!(said.contains("this job is running (process") && said.contains("sluicebox watch"), "{said}");
}

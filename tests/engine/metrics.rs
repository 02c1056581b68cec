//! Prometheus text, checked by Prometheus' own programs where they are installed.

use crate::reports::{NASTY, full};
use crate::support;
use serde_json::Value;
use sluicebox::serve::http::metrics::{CLASSES, render};
use sluicebox_core::report::{About, Progress, Report};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn about() -> About {
    let [job, method, device, version] = ["di\"gits", "fixmatch", "cpu", "0.1.0"].map(str::to_string);
    About { job, method, device, version, started_ms: 1_790_000_000_000, ..About::default() }
}

fn rendered(report: &Report) -> String {
    let progress = Progress { epoch: report.epoch + 1, done: 3, of: 4, ..Progress::default() };
    render(&about(), &progress, &[], Some(report)).unwrap()
}

/// Returns whether an external program is installed; prints that the test is skipped where it is not.
fn installed(program: &str) -> bool {
    let probe = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = probe.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no {program} (Debian's package prometheus has it)");
    }
    there
}

/// Returns the output of `promtool check metrics`; empty if there is no complaint.
fn promtool(text: &str) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    format!("{}{}", String::from_utf8_lossy(&said), if output.status.success() { "" } else { "failed" })
}

#[test]
fn promtool_finds_no_fault_in_a_full_report() {
    if installed("promtool") {
        assert_eq!(promtool(&rendered(&full(7, &NASTY))), "");
        let bad = "# TYPE sluicebox_x counter\nsluicebox_x 1\n";
        assert_ne!(promtool(bad), "", "it looks at what it is given");
    }
}

#[test]
fn before_the_first_report_it_says_what_the_job_is() {
    let text = render(&about(), &Progress::default(), &[], None).unwrap();
    assert!(text.contains("sluicebox_info{name=\"di\\\"gits\",method=\"fixmatch\""), "{text}");
    assert!(!text.contains("sluicebox_samples_total"), "{text}");
}

#[test]
fn what_waits_in_each_partition_is_told_at_any_time() {
    let backlog = [(("clicks".to_string(), 0), 5), (("clicks".to_string(), 12), 0)];
    let text = render(&about(), &Progress::default(), &backlog, None).unwrap();
    assert!(text.contains("sluicebox_partition_lag{topic=\"clicks\",partition=\"0\"} 5\n"), "{text}");
    assert!(text.contains("sluicebox_partition_lag{topic=\"clicks\",partition=\"12\"} 0\n"), "{text}");
    assert!(!rendered(&full(1, &["a"])).contains("sluicebox_partition_lag"));
}

#[test]
fn what_is_not_known_is_left_out_and_nan_is_not() {
    let mut report = full(1, &["a"]);
    report.job.accuracy = None;
    report.job.labelled_loss = Some(f64::NAN);
    let text = rendered(&report);
    assert!(!text.contains("sluicebox_accuracy_ratio"), "{text}");
    assert!(text.contains("\nsluicebox_labelled_loss NaN\n"), "{text}");
}

#[test]
fn classes_beyond_the_bound_are_left_out_and_counted() {
    let names: Vec<String> = (0..CLASSES + 44).map(|class| format!("class {class}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = rendered(&full(1, &names));
    assert_eq!(text.matches("sluicebox_class_judged{").count(), CLASSES);
    assert!(text.contains("\nsluicebox_classes_left_out 44\n"), "{text}");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves one text under every path until the test process ends.
fn serve(text: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream: TcpStream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let length = text.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    address
}

/// Starts a real Prometheus that scrapes `target` every second, and returns its address.
fn prometheus(folder: &Path, target: &str) -> (Running, String) {
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n- job_name: sluicebox\n  static_configs: [{{ targets: ['{target}'] }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={free}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Running(child), format!("http://{free}"))
}

/// Queries until there is a result: labels and values.
fn query(prometheus: &str, expression: &str) -> Vec<(Value, f64)> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = ureq::get(format!("{prometheus}/api/v1/query")).query("query", expression).call();
        let answer: Option<Value> = answer.ok().and_then(|mut answer| answer.body_mut().read_json().ok());
        let rows = answer.and_then(|answer| answer["data"]["result"].as_array().cloned()).unwrap_or_default();
        if !rows.is_empty() {
            let value = |row: &Value| row["value"][1].as_str().and_then(|value| value.parse().ok());
            return rows.iter().map(|row| (row["metric"].clone(), value(row).unwrap())).collect();
        }
        assert!(Instant::now() < deadline, "no answer to {expression}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_real_prometheus_scrapes_a_full_report() {
    if !installed("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = full(7, &NASTY);
    let target = serve(rendered(&report)).to_string();
    let (_running, prometheus) = prometheus(folder.path(), &target);
    let samples = query(&prometheus, "sluicebox_samples_total");
    assert_eq!(samples[0].1, report.job.samples.unwrap());
    let judged = query(&prometheus, "sluicebox_class_judged");
    let label = |row: &(Value, f64)| row.0["class"].as_str().unwrap_or_default().to_string();
    let mut classes: Vec<String> = judged.iter().map(label).collect();
    let mut nasty = NASTY.map(str::to_string);
    classes.sort();
    nasty.sort();
    assert_eq!(classes, nasty);
    for expression in asked().0 {
        // A rate needs two scrapes.
        let expression = expression.replace("$job", "sluicebox").replace("$instance", ".*");
        assert!(!query(&prometheus, &expression.replace("$__rate_interval", "1m")).is_empty());
    }
}

#[test]
fn a_running_job_is_scraped() {
    let mut command = support::sluicebox();
    command.args(["run", "pipelines/digits.toml", "--listen", "127.0.0.1:0", "--set", "stop.epochs=0"]);
    command.args(["--set", "device=cpu", "--set", "threads=1", "--set", "epoch.steps=5"]);
    let mut job = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(job.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = { said }.find_map(|line| Some(line.split_once("listening at ")?.1.to_string())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let text = loop {
        let mut answer = ureq::get(format!("{url}/metrics")).call().unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let text = answer.body_mut().read_to_string().unwrap();
        if text.contains("sluicebox_samples_total") {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(text.contains("sluicebox_info{name=\"digits\",method=\"fixmatch\",device=\"cpu\""), "{text}");
    if installed("promtool") {
        assert_eq!(promtool(&text), "");
    }
    if installed("prometheus") {
        let folder = tempfile::tempdir().unwrap();
        let (_running, prometheus) = prometheus(folder.path(), url.trim_start_matches("http://"));
        let scraped = query(&prometheus, "sluicebox_samples_total")[0].1;
        let report: Value =
            ureq::get(format!("{url}/report.json")).call().unwrap().body_mut().read_json().unwrap();
        let (now, epoch) = (report["samples"].as_f64().unwrap(), 5.0 * 128.0);
        assert!(scraped >= epoch && scraped <= now && scraped % epoch == 0.0, "{scraped} of {now}");
    }
}

/// Returns the dashboard's queries to Prometheus: those of panels and of variables.
fn asked() -> (Vec<String>, Vec<String>) {
    let dashboard = std::fs::read_to_string(support::root().join("docs/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query");
    let of_panels: Vec<String> = targets.map(|target| text(&target["expr"])).collect();
    (of_panels, queries.map(|variable| text(&variable["definition"])).collect())
}

#[test]
fn the_dashboard_asks_for_nothing_that_is_not_told() {
    let text = rendered(&full(1, &NASTY));
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let told: Vec<&str> = told.iter().filter_map(|line| line.split(' ').next()).collect();
    let (panels, variables) = asked();
    assert!(panels.len() > 60 && variables.len() == 2);
    for expression in panels.iter().chain(&variables) {
        let names = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names: Vec<&str> = names.filter(|name| name.starts_with("sluicebox_")).collect();
        assert!(!names.is_empty(), "{expression}");
        names.iter().for_each(|name| assert!(told.contains(name), "{name} in {expression}"));
    }
}

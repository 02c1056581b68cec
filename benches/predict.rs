//! Claim: predictions are answered while the job trains, with a p99 latency within two student steps.
//!
//!     cargo bench --bench predict
//!
//! Starts the digits job with a server, sends requests of one sample each from several clients at
//! once, and compares with the steps of the same time.

#![allow(missing_docs)]
mod allocator;
#[path = "../tests/support/mod.rs"]
mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::sluicebox;

/// Requests per client.
const REQUESTS: usize = 500;
/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(2);

fn main() {
    allocator::keep_freed_memory();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().to_str().expect("a path of text").to_string();
    let sets = ["server.listen=127.0.0.1:0", "stop.epochs=0", "epoch.steps=20", "report.evaluate_epochs=0"];
    let mut command = sluicebox();
    command.args(["run", "pipelines/digits.toml", "--log", "json", "--state", &state]);
    command.args(sets.iter().flat_map(|set| ["--set", *set]));
    let mut job = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the job starts");
    let said = BufReader::new(job.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    let address =
        { said }.find_map(|line| Some(line.split_once("listening at ")?.1.split('"').next()?.to_string()));
    let address = address.expect("the job listens");
    let mut epochs = BufReader::new(job.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    for _ in 0..5 {
        epochs.next(); // warm-up
    }
    let epochs = std::thread::spawn(move || epochs.collect::<Vec<String>>());
    let idle = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let quiet_s = idle.elapsed().as_secs_f64();
    for clients in [1, 4, 16] {
        let began = Instant::now();
        let asking = (0..clients).map(|_| {
            let address = address.clone();
            std::thread::spawn(move || ask(&address))
        });
        let asking: Vec<_> = asking.collect();
        let mut all_ms: Vec<f64> =
            asking.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        all_ms.sort_by(f64::total_cmp);
        let at = |part: f64| all_ms[((all_ms.len() - 1) as f64 * part) as usize];
        println!(
            "{clients:>2} clients: {:>6.0} predictions/s, p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
            all_ms.len() as f64 / began.elapsed().as_secs_f64(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    job.kill().expect("the job ends");
    job.wait().expect("the job ends");
    let steps_ms: Vec<f64> = epochs.join().expect("epochs").iter().map(|line| step_ms(line)).collect();
    let split = steps_ms.iter().scan(0.0, |sum, ms| {
        *sum += 20.0 * ms / 1000.0;
        Some(*sum)
    });
    let alone = split.take_while(|sum| *sum < quiet_s).count();
    let mean = |steps: &[f64]| steps.iter().sum::<f64>() / steps.len().max(1) as f64;
    println!(
        "a student step: {:.2} ms while nobody asks, {:.2} ms while predictions are answered",
        mean(&steps_ms[..alone]),
        mean(&steps_ms[alone..])
    );
}

fn step_ms(line: &str) -> f64 {
    let report: Value = serde_json::from_str(line).expect("a report");
    1000.0 * report["seconds"].as_f64().expect("seconds") / 20.0
}

/// Returns the latencies of one client, in ms.
fn ask(address: &str) -> Vec<f64> {
    let agent = ureq::agent();
    let body = format!("[{}]", vec!["7"; 64].join(","));
    let ask = |_| {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        let url = format!("{address}/predict");
        let answer = agent.post(url).content_type("application/x-ndjson").send(&body).expect("an answer");
        assert_eq!(answer.status(), 200);
        1000.0 * began.elapsed().as_secs_f64()
    };
    (0..REQUESTS).map(ask).collect()
}

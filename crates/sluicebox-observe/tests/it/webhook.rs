//! The webhook: what happens is told once, also by a server that is away or busy for a while, and the job never waits.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::observers::{Event, Observers};
use sluicebox_core::report::{About, Mark, MarkKind};
use sluicebox_observe::sink::webhook;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Far longer than any attempt takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers requests with these codes, then with 200. Returns its address and the requests.
fn server(codes: &'static [u16]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, requests) = channel();
    std::thread::spawn(move || {
        let mut codes = codes.iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut bytes = [0; 4096];
            // A head, then a body of the length that it names.
            while !is_whole(&text) {
                let read = stream.read(&mut bytes).unwrap();
                text += std::str::from_utf8(&bytes[..read]).unwrap();
                if read == 0 {
                    break;
                }
            }
            let code = codes.next().copied().unwrap_or(200);
            let answer = format!("HTTP/1.1 {code} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if told.send(text).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn observed(url: &str, more: &str) -> Observers {
    let options: toml::Table = toml::from_str(&format!("url = \"{url}\"\n{more}")).unwrap();
    let spec = Spec { kind: "webhook".into(), options };
    let about = About { job: "digits".into(), version: "1".into(), ..About::default() };
    let observers = Observers::default();
    observers.add(webhook::build(&spec, &about).unwrap()).unwrap();
    observers
}

fn mark(kind: MarkKind, step: u64) -> Event {
    Event::Mark(Arc::new(Mark {
        at_ms: 7,
        epoch: 2,
        step,
        kind,
        text: "the teacher's features have moved".into(),
    }))
}

fn body(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn alarms_are_told_and_checkpoints_are_not() {
    let (url, requests) = server(&[]);
    let observers = observed(&url, "");
    observers.notify(&mark(MarkKind::Checkpoint, 1));
    observers.notify(&mark(MarkKind::Drift, 2));
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1"), "{request}");
    let expected = serde_json::json!({
        "job": "digits", "version": "1", "kind": "drift", "epoch": 2, "step": 2, "at_ms": 7,
        "text": "the teacher's features have moved",
    });
    assert_eq!(body(&request), expected);
    observers.end();
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (url, requests) = server(&[503, 429, 200, 404]);
    let observers = observed(&url, "");
    observers.notify(&mark(MarkKind::Drift, 1));
    observers.notify(&mark(MarkKind::Gate, 2));
    observers.notify(&mark(MarkKind::Alarm, 3));
    let steps: Vec<_> =
        (0..5).map(|_| body(&requests.recv_timeout(PATIENCE).unwrap())["step"].clone()).collect();
    assert_eq!(steps, [1, 1, 1, 2, 3]);
}

#[test]
fn a_failure_is_told_before_the_job_is_gone() {
    let (url, requests) = server(&[503]);
    let observers = observed(&url, "");
    observers.notify(&mark(MarkKind::Failure, 9));
    observers.end();
    let kinds: Vec<_> = requests.try_iter().map(|request| body(&request)["kind"].clone()).collect();
    assert_eq!(kinds, ["failure", "failure"]);
}

#[test]
fn a_server_that_never_answers_costs_the_job_no_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap(); // it accepts nothing
    let observers = observed(&format!("http://{}/", listener.local_addr().unwrap()), "retry_for = \"1s\"");
    let began = Instant::now();
    (0..100_000).for_each(|step| observers.notify(&mark(MarkKind::Drift, step)));
    assert!(began.elapsed() < PATIENCE);
    assert!(observers.dropped() > 90_000, "the queue is bounded");
}

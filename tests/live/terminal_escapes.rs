//! Text of strangers on the operator's terminal: nothing in it steers the terminal, at any level of the log.

use crate::support::{Running, output, sluicebox};
use sluicebox_stream::protocol::{self, Rejection, Reply};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Clears the screen, sets the title, writes backwards: raw, as C1, as bidirectional controls.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;evil\u{7}\r\u{9b}2J\u{7f}\u{8}\u{202e}\u{2066}dog";

#[track_caller]
fn harmless(what: &str, text: &str) {
    let steers = |letter: char| {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || letter.is_control() && letter != '\n' && letter != '\t'
    };
    let bad = text.lines().find(|line| line.contains(steers));
    assert!(bad.is_none(), "{what}: {bad:?}");
}

fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn post(address: &str, path: &str, kind: &str, body: &str) -> String {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n");
    exchange(address, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn names_of_classes_and_bad_requests_steer_no_terminal() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_str().unwrap();
        let toml = |text: &str| text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>();
        let evil = toml(EVIL);
        let mut command = sluicebox();
        command.args(["run", "pipelines/http.toml", "--state", state, "--log", &format!("{format},trace")]);
        let classes = format!("source.classes=[\"{evil}\", \"{evil}2\", \"cat\"]");
        let name = format!("name=\"{evil}\"");
        for set in
            ["server.listen=127.0.0.1:0", "device=cpu", "threads=1", "batch.unlabelled=20", "epoch.steps=1"]
                .into_iter()
                .chain([classes.as_str(), name.as_str()])
        {
            command.args(["--set", set]);
        }
        let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
        let (mut said, mut line) = (String::new(), String::new());
        while !line.contains("listening at http://") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "{said}");
            said += &line;
        }
        let address = line.split_once("listening at http://").unwrap().1;
        let address: String =
            address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let reading = std::thread::spawn(move || {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).unwrap();
            rest
        });

        let samples: String = (0..40)
            .map(|id| {
                format!("{{\"id\": {id}, \"values\": {:?}, \"label\": {}}}\n", vec![id % 17; 64], id % 3)
            })
            .collect();
        assert!(post(&address, "/samples", "application/x-ndjson", &samples).starts_with("HTTP/1.1 200"));
        let json = serde_json::to_string(EVIL).unwrap();
        let label = post(
            &address,
            "/labels",
            "application/json",
            &format!("{{\"id\": 1, \"class\": {}}}", json.replace("dog", "dgo")),
        );
        assert!(label.starts_with("HTTP/1.1 400") && label.contains("unknown class"), "{label}");
        post(
            &address,
            "/samples",
            &format!("text/{}", EVIL.replace(['\r', '\u{7f}'], "").replace(char::is_control, "\t")),
            "x",
        );
        post(&address, "/samples", "application/x-ndjson", &format!("{{{json}: 1}}"));
        let (code, out, err) = output(&["label", &address, &format!("1={EVIL}x")]);
        assert_eq!(code, 2, "{err}");
        harmless("label", &(out + &err));
        let metrics = loop {
            let metrics = exchange(
                &address,
                &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
            );
            if metrics.contains("sluicebox_class_") {
                break metrics.split_once("\r\n\r\n").unwrap().1.to_string();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        harmless("/metrics", &metrics);
        assert!(metrics.contains("\\\\u001b[2J") && metrics.contains("class=\"cat\""), "{metrics}");
        let (code, out, err) = output(&["watch", &address, "--once"]);
        assert_eq!(code, 0, "{err}");
        harmless("watch", &(out + &err));

        assert!(Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().unwrap().success());
        let mut rows = String::new();
        child.0.stdout.take().unwrap().read_to_string(&mut rows).unwrap();
        assert!(child.0.wait().unwrap().success());
        said += &reading.join().unwrap();
        harmless("stderr", &said);
        harmless("stdout", &rows);
        assert!(said.contains("refused with 400: unknown class"), "{said}");
        assert!(said.contains("u001b[2J") && rows.contains("u001b[2J"), "{rows}");
        for arguments in [vec!["eval", state], vec!["eval", "--json", state], vec!["watch", state, "--once"]]
        {
            let (_, out, err) = output(&arguments);
            harmless(&arguments.join(" "), &(out + &err));
        }
    }
}

/// Accepts connections and answers each with the protocol's first bytes and a rejection.
fn rejecting(rejection: Rejection) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let reply = protocol::record(&Reply::Rejected(rejection.clone()));
            let _ = stream.write_all(&[&protocol::preamble()[..], &reply].concat());
        }
    });
    address
}

#[test]
fn what_a_job_answers_a_feeder_steers_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("samples.ndjson");
    std::fs::write(&file, "[1, 2]\n").unwrap();
    for passing in [false, true] {
        let text = format!("go away {EVIL}");
        let address = rejecting(Rejection { reason: "evil".into(), text, passing });
        let retry = if passing { "1s" } else { "0s" };
        let (code, out, err) = output(&["feed", &address, file.to_str().unwrap(), "--retry-for", retry]);
        assert_eq!(code, if passing { 1 } else { 2 }, "{err}");
        harmless("feed", &(out + &err));
        assert!(err.contains("go away \\u001b[2J"), "{err}");
    }
}

//! The server's status routes: access, requests and event streams. Observing a job does not change
//! its result.

use crate::showing::{Rig, about, report, rig, rig_of};
use crate::support;
use crate::support::output;
use serde_json::{Value, json};
use sluicebox::serve::http::Limits;
use sluicebox_core::report::About;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A status, headers in lower case, and a body.
struct Answer(u16, String, String);

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.2).unwrap_or_else(|error| panic!("{error}: {}", self.2))
    }

    fn refuses(&self, status: u16, says: &str) {
        let told = self.json();
        assert!(self.0 == status && told["error"].as_str().unwrap().contains(says), "{}: {told}", self.0);
    }
}

/// Sends requests to a rig.
trait Client {
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer;
    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream;
    fn events(&self) -> Events;
    fn refused(&self, reason: &str) -> u64;

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[])
    }

    fn post(&self, path: &str) -> Answer {
        self.send("POST", path, &[])
    }
}

impl Client for Rig {
    /// Sends a request with the given headers.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = self.open(method, path, headers);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer(head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_string())
    }

    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        stream
    }

    fn events(&self) -> Events {
        let mut lines = BufReader::new(self.open("GET", "/events", &[]));
        let mut head = String::new();
        lines.read_line(&mut head).unwrap();
        Events { status: head[9..12].parse().unwrap(), lines }
    }

    fn refused(&self, reason: &str) -> u64 {
        self.refusals.read().get(reason).copied().unwrap_or(0)
    }
}

/// Iterator over the events of a stream.
struct Events {
    status: u16,
    lines: BufReader<TcpStream>,
}

impl Iterator for Events {
    type Item = (String, Value);

    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(said) = line.strip_prefix("event: ") {
                name = said.trim().to_string();
            } else if let Some(said) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(said).unwrap()));
            }
        }
    }
}

#[test]
fn everything_that_is_shown() {
    let rig = rig();
    assert_eq!(rig.get("/report.json").json(), Value::Null);
    for epoch in 1..=3 {
        rig.shown.epoch(epoch);
    }
    rig.shown.line("all is well");
    assert_eq!(rig.get("/about.json").json(), serde_json::to_value(about()).unwrap());
    let told: Value = serde_json::from_str(&serde_json::to_string(&report(3)).unwrap()).unwrap();
    assert!(rig.get("/report.json").json() == told, "it is told as it is");
    assert_eq!(rig.get("/report.json?epoch=3").json()["epoch"], 3);
    rig.get("/report.json?epoch=x").refuses(400, "epoch");
    let meters = rig.get("/meters.json").json();
    let accuracy = meters["job"].as_array().unwrap().iter().find(|meter| meter["name"] == "accuracy");
    let expected = json!({
        "name": "accuracy", "label": "accuracy", "kind": "gauge", "unit": "share", "better": "higher",
        "group": "quality", "help": "Accuracy of the job's answers on held-out samples."
    });
    assert_eq!(accuracy, Some(&expected));
    for part in ["classes", "operators", "sources", "phases", "reasons"] {
        assert!(!meters[part].as_array().unwrap().is_empty(), "{part}");
    }
    let progress = rig.get("/progress.json").json();
    assert_eq!(
        progress,
        json!({"epoch": 4, "done": 0, "of": 100, "paused": false, "waiting": false, "over": false})
    );
    assert_eq!(rig.get("/lines.json").json()[0]["text"], "all is well");
    let wall = rig.get("/wall.json").json();
    assert_eq!(wall["accepted"].as_array().unwrap().len(), 12);
    let first = &wall["disagreeing"][0];
    assert!(first["image"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"), "{first}");
    assert_eq!((&first["id"], &first["given"], &first["truth"]), (&json!(1), &json!(1), &json!(3)));
    let health = rig.get("/healthz").json();
    assert_eq!((&health["job"], &health["pid"]), (&json!(about().job), &json!(std::process::id())));
    assert_eq!((&health["state"], &health["log_bytes"]), (&json!("state"), &Value::Null));
}

#[test]
fn health_says_what_is_wrong() {
    let rig = rig();
    let health = |status, word: &str, troubles: Value, reason: Value| {
        let answer = rig.get("/healthz");
        assert_eq!(answer.0, status);
        let body = answer.json();
        assert_eq!((&body["status"], &body["troubles"]), (&json!(word), &troubles));
        assert_eq!(body["reason"], reason);
    };
    health(200, "ok", json!({}), Value::Null);
    let of_job = &rig.shown.status.controls.health;
    of_job.trouble("checkpoint", "no space");
    health(200, "troubled", json!({"checkpoint": "no space"}), Value::Null);
    of_job.works("checkpoint");
    health(200, "ok", json!({}), Value::Null);
    of_job.fail("the log cannot be written");
    health(503, "failed", json!({}), json!("the log cannot be written"));
}

#[test]
fn what_is_wrong_with_a_question_for_the_history_is_told() {
    let rig = rig();
    for (query, says) in [
        ("points=0", "1 to 2000"),
        ("points=2001", "1 to 2000"),
        ("from=9&to=3", "from=9"),
        ("from=-1", "from"),
        ("meters=accuracy,nonsense", "unknown meter `nonsense`"),
        ("until=4", "until"),
    ] {
        rig.get(&format!("/history.json?{query}")).refuses(400, says);
    }
    assert_eq!(rig.get("/history.json?from=3&to=9&points=2000").json(), json!([]));
}

#[test]
fn the_page_and_how_browsers_are_to_treat_it() {
    let rig = rig();
    let page = rig.get("/");
    assert!(page.0 == 200 && page.1.contains("content-type: text/html") && page.2.contains("<h1"));
    for path in ["/", "/page/main.js", "/about.json", "/nothing"] {
        let head = rig.get(path).1;
        for wanted in [
            "default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(wanted), "{path}: no {wanted} in {head}");
        }
    }
}

#[test]
fn a_job_is_asked() {
    let rig = rig();
    let controls = &rig.shown.status.controls;
    assert_eq!(rig.post("/control/pause").json()["paused"], true);
    assert!(controls.is_paused());
    assert_eq!(rig.post("/control/resume").json()["paused"], false);
    assert!(!controls.is_paused() && !controls.is_stopped());
    assert_eq!(rig.post("/control/checkpoint").0, 200);
    assert!(controls.take_checkpoint());
    assert_eq!(rig.post("/control/stop").0, 200);
    assert!(controls.is_stopped());
    rig.post("/control/explode").refuses(404, "pause, resume, checkpoint and stop");
    rig.get("/control/pause").refuses(405, "POST");

    let forgetful = rig_of(About { state: None, ..about() }, None, Limits::default());
    forgetful.post("/control/checkpoint").refuses(409, "--state");
    forgetful.post("/labels").refuses(409, "--state");
    forgetful.post("/samples").refuses(404, "source.kind");
}

#[test]
fn strangers_may_not_ask() {
    let open = rig();
    let own = format!("http://{}", open.address);
    let post = |headers: &[(&str, &str)]| open.send("POST", "/control/pause", headers);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", ""] {
        post(&[("Origin", origin)]).refuses(403, "may not");
    }
    post(&[("Host", "evil.example")]).refuses(403, "not this machine");
    post(&[("Host", "evil.example"), ("Origin", "http://evil.example")]).refuses(403, "not this machine");
    post(&[("Sec-Fetch-Site", "cross-site")]).refuses(403, "another site");
    for (host, path) in [("evil.example", "/"), ("evil.example", "/events"), ("evil.example", "/report.json")]
    {
        open.send("GET", path, &[("Host", host)]).refuses(403, "not this machine");
    }
    let embeds = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    open.send("GET", "/events", &embeds).refuses(403, "another site");
    let follows = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")];
    assert_eq!(open.send("GET", "/", &follows).0, 200);
    assert!(!open.shown.status.controls.is_paused());
    assert_eq!(post(&[("Origin", &own)]).0, 200);
    assert!(open.shown.status.controls.is_paused());
    assert_eq!((open.refused("origin"), open.refused("host")), (6, 5));

    let closed = rig_of(about(), Some("secret"), Limits::default());
    for path in ["/about.json", "/report.json", "/events", "/wall.json", "/healthz"] {
        closed.get(path).refuses(401, "a token is needed");
    }
    closed.post("/control/pause").refuses(401, "a token is needed");
    let wrong = [("Authorization", "Bearer wrong")];
    closed.send("POST", "/control/pause", &wrong).refuses(401, "token is wrong");
    let evil = [("Authorization", "Bearer secret"), ("Origin", "http://evil.example")];
    closed.send("POST", "/control/pause", &evil).refuses(403, "may not");
    assert!(!closed.shown.status.controls.is_paused());
    let right = [("Authorization", "Bearer secret")];
    assert_eq!(closed.send("POST", "/control/pause", &right).0, 200);
    assert!(closed.shown.status.controls.is_paused());
    // The page itself is the same for everyone, and asks for the token.
    assert_eq!((closed.get("/").0, closed.get("/page/main.js").0), (200, 200));
    closed.post("/").refuses(405, "POST /samples");
}

#[test]
fn events_come_as_they_happen_and_end_with_the_server() {
    let mut rig = rig();
    rig.shown.epoch(1);
    let mut events = rig.events();
    assert_eq!(events.status, 200);
    let (name, first) = events.next().unwrap();
    assert_eq!((name.as_str(), &first["epoch"]), ("report", &json!(1)));
    let (name, progress) = events.next().unwrap();
    assert_eq!((name.as_str(), &progress["epoch"]), ("progress", &json!(2)));
    rig.shown.line("one");
    rig.shown.line("two");
    assert_eq!(events.next().unwrap().1["text"], "one");
    assert_eq!(events.next().unwrap().1["text"], "two");
    rig.post("/control/pause");
    assert_eq!(events.next().unwrap().1["paused"], true);
    // Many reports in quick succession are merged: only the newest is sent.
    let began = Instant::now();
    (2..=500).for_each(|epoch| rig.shown.epoch(epoch));
    let mut told = 0;
    while events.next().unwrap().1["epoch"] != 501 {
        told += 1;
    }
    assert!(told <= 2 + 2 * began.elapsed().as_millis() / 250, "{told} events");
    rig.shown.line("the end");
    rig.server.take().unwrap().stop();
    let rest: Vec<Value> = events.map(|(_, content)| content).collect();
    assert_eq!(rest[0]["text"], "the end", "{rest:?}");
}

#[test]
fn too_many_streams_are_sent_away_and_places_come_free() {
    let limits = Limits { streams: 4, ..Limits::default() };
    let rig = rig_of(about(), None, limits);
    let held: Vec<Events> = (0..4).map(|_| rig.events()).collect();
    assert!(held.iter().all(|events| events.status == 200));
    let refused = rig.get("/events");
    refused.refuses(503, "too many streams");
    assert!(refused.1.contains("retry-after: 1"));
    let statuses: Vec<u16> = (0..300)
        .map(|_| {
            // Some of these connect while earlier ones are still being closed.
            let mut answer = String::new();
            let _ = rig.open("GET", "/events", &[]).read_to_string(&mut answer);
            answer.get(9..12).map_or(503, |status| status.parse().unwrap())
        })
        .collect();
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!(rig.get("/about.json").0, 200, "others are served all the same");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.events().status != 200 {
        assert!(Instant::now() < deadline, "no place comes free");
    }
}

#[test]
fn who_stops_reading_is_cut_off_and_holds_nothing() {
    let limits = Limits { write_wait: Duration::from_millis(500), streams: 1, ..Limits::default() };
    let rig = rig_of(about(), None, limits);
    let stalled = rig.open("GET", "/events", &[]);
    let long = "x".repeat(1 << 20);
    let deadline = Instant::now() + Duration::from_secs(30);
    // Unread events fill the sockets; then the stalled client's place goes to the next one.
    while rig.events().status != 200 {
        rig.shown.line(&long);
        std::thread::sleep(Duration::from_millis(50));
        assert!(Instant::now() < deadline, "its place is not given away");
    }
    drop(stalled);
}

#[test]
fn a_stop_does_not_wait_for_those_who_look_on() {
    let limits = Limits { stop_wait: Duration::from_secs(300), ..Limits::default() };
    let mut rig = rig_of(about(), None, limits);
    let streams: Vec<Events> = (0..8).map(|_| rig.events()).collect();
    let began = Instant::now();
    rig.server.take().unwrap().stop();
    // The server waits for requests in progress, but not for streams.
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
    for events in streams {
        events.for_each(drop);
    }
}

#[test]
fn a_job_that_is_only_looked_at_ends_as_one_that_is_not() {
    let job = ["run", "pipelines/digits.toml", "--set", "epoch.steps=8", "--set", "stop.epochs=2"];
    let small = [&job[..], &["--set", "device=cpu", "--set", "precision=f32", "--set", "threads=1"]].concat();
    let end = |more: &[&str]| {
        let (code, told, said) = output(&[&small[..], more].concat());
        assert_eq!(code, 0, "{said}");
        let summary: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        (summary["weights_sha256"].clone(), summary["samples_seen"].clone(), said)
    };
    let (weights, samples, said) = end(&[]);
    assert!(!said.contains("listening"), "{said}");
    let (looked_at, as_many, said) = end(&["--listen", "127.0.0.1:0"]);
    assert!(said.contains("listening at http://127.0.0.1:") && said.contains("open http://"), "{said}");
    assert_eq!((weights, samples), (looked_at, as_many));
}

#[test]
fn a_job_says_whose_its_address_is() {
    let mut command = support::sluicebox();
    command.args(["run", "pipelines/digits.toml", "--listen", "127.0.0.1:0", "--set", "stop.epochs=0"]);
    command.args(["--set", "device=cpu", "--set", "threads=1"]);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(first.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
    let url = said.filter_map(|line| Some(line.split_once("listening at ")?.1.to_string())).next().unwrap();
    let taken = url.trim_start_matches("http://");
    let (code, _, said) = output(&["run", "pipelines/digits.toml", "--listen", taken]);
    let whose = format!("in use by the job `digits` (process {})", first.id());
    assert!(code == 2 && said.contains(&whose) && said.contains("--listen 127.0.0.1:0"), "{said}");

    // The job keeps nothing, so it takes no labels; the page and predictions are available.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let labels = agent.post(format!("{url}/labels")).send("{\"id\": 1, \"class\": 1}").unwrap();
    assert_eq!(labels.status(), 409);
    let page = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(page.contains("<h1"));
    assert_eq!(agent.post(format!("{url}/control/stop")).send_empty().unwrap().status(), 200);
    first.kill().unwrap();
    first.wait().unwrap();
}

//! The server over real sockets: what each route accepts, refuses and answers.

use crate::showing::shown;
use crate::support;
use base64::Engine as _;
use serde_json::{Value, json};
use sluicebox::serve::http::{Limits, Served, Server, start_within};
use sluicebox::serve::predictor::Predictor;
use sluicebox_client::labels::Client;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::health::Health;
use sluicebox_core::report::About;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Block, Dtype, Format, Label, SampleClass, Shape};
use sluicebox_core::sample_id::{GIVEN_IDS, SampleId};
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::messages::{CorrectedTeacher, Weights};
use sluicebox_learn::model::MODELS;
use sluicebox_learn::published::Published;
use sluicebox_learn::stages::teacher::Inference;
use sluicebox_learn::weights::Replica;
use sluicebox_stream::auth::Access;
use sluicebox_stream::decode::Form;
use sluicebox_stream::ingest::LabelMessage;
use sluicebox_stream::ingest::{Ingest, LABELS, block, content, given_id};
use sluicebox_stream::pace::Patience;
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings as Settings;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::{Device, Tensor};

pub const NDJSON: &str = "application/x-ndjson";
const RAW: &str = "application/octet-stream";

/// A server with its log and predictor, but without a job.
pub struct Rig {
    pub ingest: Arc<Ingest>,
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    pub url: String,
}

#[derive(Default)]
pub struct Options {
    pub settings: Settings,
    pub access: Access,
    pub limits: Limits,
    pub predictor: Option<Predictor>,
    /// There is no source for `POST /samples`.
    pub no_source: bool,
    pub form: Form,
}

pub fn pixels() -> Format {
    Format {
        shape: Shape::Image { channels: 1, height: 2, width: 2 },
        dtype: Dtype::U8,
        scale: 1.0 / 255.0,
        classes: vec!["cat".into(), "dog".into()],
    }
}

pub fn numbers() -> Format {
    Format {
        shape: Shape::Vector { features: 2 },
        dtype: Dtype::F32,
        scale: 1.0,
        classes: vec!["cat".into(), "dog".into(), "emu".into()],
    }
}

pub fn rig(folder: &Path, format: Format, options: Options) -> Rig {
    let log = Wal::open(folder, "test", &options.settings).unwrap();
    let ingest = Arc::new(Ingest::new(log, format, 1).unwrap());
    if !options.no_source {
        ingest.http.set(0).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scheme = if options.access.certificate.is_some() { "https" } else { "http" };
    let form = Arc::new(options.form);
    let served = Served { predictor: options.predictor, form, ..served(&ingest, options.access) };
    let server = start_within(options.limits, runtime.handle(), "127.0.0.1:0", served).unwrap();
    let url = format!("{scheme}://{}", server.address);
    Rig { ingest, runtime, server: Some(server), url }
}

/// Returns what a server needs from a job that takes samples and labels.
fn served(ingest: &Arc<Ingest>, access: Access) -> Served {
    Served {
        status: shown(About::default()).status,
        format: ingest.format().clone(),
        form: Arc::default(),
        ingest: Some(ingest.clone()),
        predictor: None,
        others: Vec::new(),
        access: Arc::new(access),
        refusals: ingest.refusals.clone(),
    }
}

impl Rig {
    pub fn post(&self, path: &str, kind: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = agent().post(format!("{}{path}", self.url));
        if !kind.is_empty() {
            request = request.header("Content-Type", kind);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body).unwrap())
    }

    pub fn samples(&self, text: &str) -> Answer {
        self.post("/samples", NDJSON, &[], text.as_bytes())
    }

    pub fn labels(&self, text: &str) -> Answer {
        self.post("/labels", NDJSON, &[], text.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        answer(agent().get(format!("{}{path}", self.url)).call().unwrap())
    }

    /// Returns ids and values of the stream's samples in the log.
    pub fn stored(&self) -> (Vec<u64>, Vec<u8>) {
        stored(self.ingest.log())
    }

    /// Returns the labels that came with samples, then those that came by themselves.
    pub fn stored_labels(&self) -> Vec<Label> {
        let (mut samples, mut labels) = (self.ingest.log().reader(0, 0), self.ingest.log().reader(LABELS, 0));
        let sent = std::iter::from_fn(|| samples.read().unwrap()).flat_map(|(sequence, payload)| {
            let Block { ids, classes, .. } = block(&payload).unwrap();
            let id = move |at: usize| ids.get(at).copied().unwrap_or(given_id(sequence, at));
            let label = move |one: SampleClass| Label { id: id(one.at as usize), class: Some(one.class) };
            classes.into_iter().map(label)
        });
        let late = std::iter::from_fn(|| labels.read().unwrap());
        sent.chain(late.flat_map(|(_, payload)| content::<Vec<Label>>(&payload).unwrap())).collect()
    }

    pub fn refused(&self, reason: &str) -> u64 {
        self.ingest.refused().get(reason).copied().unwrap_or(0)
    }

    /// Stops everything, as in an orderly end of the process.
    pub fn close(mut self) {
        self.server.take().unwrap().stop();
        self.ingest.log().close();
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

fn stored(log: &Wal) -> (Vec<u64>, Vec<u8>) {
    let mut reader = log.reader(0, 0);
    let mut all = (Vec::new(), Vec::new());
    while let Some((_, payload)) = reader.read().unwrap() {
        let block = block(&payload).unwrap();
        all.0.extend(block.ids);
        all.1.extend(block.bytes);
    }
    all
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    /// Checks the status and the text of the error.
    pub fn refuses(&self, status: u16, says: &str) {
        let said = self.body["error"].as_str().unwrap_or_default();
        assert!(self.status == status && said.contains(says), "{self:?}");
        assert_eq!(self.retry_after.is_some(), matches!(status, 429 | 503), "{self:?}");
    }
}

pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

pub fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_string());
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    Answer { status: response.status().as_u16(), retry_after, body }
}

/// Sends raw bytes and returns the answer's text, as far as it arrives.
fn raw(rig: &Rig, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(rig.url.trim_start_matches("http://")).unwrap();
    let _ = stream.write_all(request); // the server may have answered before it read all
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = rig(folder.path(), pixels(), Options::default());
    let answer = first.samples("{\"values\": [0,1,2,3]}\n\n[[4,5],[6,7]]\n{\"base64\": \"CAkKCw==\"}\n");
    assert_eq!(answer.status, 200, "{answer:?}");
    let ids = [GIVEN_IDS, GIVEN_IDS + 1, GIVEN_IDS + 2];
    assert_eq!(answer.body, json!({"accepted": 3, "repeated": 0, "first_id": ids[0], "ids": ids}));
    let body = json!({"accepted": 1, "repeated": 0, "first_id": 7, "ids": [7]});
    let named = "{\"id\": 7, \"values\": [9,9,9,9], \"label\": \"dog\"}";
    assert_eq!(first.samples(named).body, body);
    assert_eq!(first.labels("{\"id\": 8, \"class\": 0}").body, json!({"accepted": 1}));
    first.close();

    let again = rig(folder.path(), pixels(), Options::default());
    let expected: Vec<u8> = (0..12).chain([9; 4]).collect();
    assert_eq!(again.stored(), (vec![7], expected));
    let labels = [Label { id: 7, class: Some(1) }, Label { id: 8, class: Some(0) }];
    assert_eq!(again.stored_labels(), labels);
    // A sample sent on both sides of the restart is taken once.
    let body = json!({"accepted": 0, "repeated": 1, "first_id": 7, "ids": [7]});
    assert_eq!(again.samples(named).body, body);
    again.samples("{\"id\": 7, \"values\": [9,9,9,8]}").refuses(409, "id 7 was used before");
    assert_eq!(again.refused("id-reused"), 1);
    assert_eq!(again.stored().1.len(), 16);
    again.close();
}

#[test]
fn raw_bytes_npy_and_json_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options::default());
    let floats = [1.5f32, -2.0, 3.0, 4.0];
    let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = [("X-Shape", "2,2"), ("X-Dtype", "f32"), ("X-Ids", "5, 6")];
    let answer = rig.post("/samples", RAW, &shape, &bytes);
    assert_eq!(answer.body, json!({"accepted": 2, "repeated": 0, "first_id": 5, "ids": [5, 6]}));
    let answer = rig.post("/samples", "", &[("X-Shape", "2,2"), ("X-Dtype", "u8")], &[1, 2, 3, 4]);
    assert_eq!(answer.body["accepted"], 2, "{answer:?}");

    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16 + 1).to_le_bytes());
    npy.extend(format!("{header}\n").bytes().chain(bytes.iter().copied()));
    let answer = rig.post("/samples", "application/x-npy", &[("X-Ids", "5,6")], &npy);
    assert_eq!(answer.body["repeated"], 2, "{answer:?}");
    rig.post("/samples", "application/x-npy", &[], &npy[..npy.len() - 1]).refuses(400, "truncated");

    let json = "application/json";
    for (body, count) in [
        ("[1, 2]", 1),
        ("[[1, 2], [3, 4]]", 2),
        ("[{\"values\": [1, 2]}, {\"values\": [3, 4], \"label\": 0}]", 2),
        ("{\n \"values\": [1,\n 2]\n}\n", 1),
        ("{\"values\": [1, 2]}\n{\"values\": [3, 4]}", 2),
    ] {
        let answer = rig.post("/samples", json, &[], body.as_bytes());
        assert_eq!(answer.body["accepted"], count, "{body}: {answer:?}");
    }
    rig.post("/samples", json, &[], b"[[1, 2], [3, 4, 5]]").refuses(400, "sample 2: ");
    rig.post("/samples", json, &[], b"[1, 2, 3]").refuses(400, "more than 2 values");
    rig.close();
}

#[test]
fn of_a_bad_request_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options::default());
    for (line, says) in [
        ("[1, 2, 3]", "more than 2 values"),
        ("[NaN, 1]", "NaN"),
        ("{\"value\": [1, 2]}", "unknown key `value`"),
        ("{\"values\": [1, 2], \"label\": \"cow\"}", "unknown class `cow`"),
        ("{\"values\": [1, 2], \"id\": 4503599627370496}", "4503599627370496"),
        ("{\"values\": [1, 2], \"id\": 3}", "either every sample"),
        ("{\"values\": [1,", "not JSON"),
    ] {
        let answer = rig.samples(&format!("[1, 2]\n{line}\n[3, 4]"));
        answer.refuses(400, says);
        assert_eq!(answer.body["line"], 2, "{answer:?}");
    }
    rig.samples("{\"id\": 1, \"values\": [1, 2]}\n{\"id\": 1, \"values\": [1, 3]}").refuses(409, "id 1 ");
    rig.samples(" \n").refuses(400, "no sample");
    for (kind, headers, body, status, says) in [
        ("text/plain", vec![], "[1, 2]", 415, "application/x-ndjson"),
        (NDJSON, vec![("Content-Encoding", "br")], "[1, 2]", 415, "`br` is not supported: send gzip, zstd"),
        (NDJSON, vec![("Content-Encoding", "gzip, gzip")], "[1, 2]", 415, "`gzip, gzip`"),
        (NDJSON, vec![("Content-Encoding", "gzip")], "[1, 2]", 400, "not packed as"),
        (RAW, vec![("X-Dtype", "f32")], "12345678", 400, "X-Shape"),
        (RAW, vec![("X-Shape", "1,2")], "12345678", 400, "X-Dtype"),
        ("", vec![], "[1, 2]", 415, "no content type"),
        (RAW, vec![("X-Shape", "1,3"), ("X-Dtype", "f32")], "12345678", 400, "8 bytes"),
        (RAW, vec![("X-Shape", "1,8"), ("X-Dtype", "u8")], "12345678", 400, "8 values instead of 2"),
        (RAW, vec![("X-Shape", "9223372036854775807,9"), ("X-Dtype", "f32")], "12", 400, "2 bytes"),
        (RAW, vec![("X-Shape", "1,2"), ("X-Dtype", "f32"), ("X-Ids", "1,2")], "12345678", 400, "2 ids"),
        (RAW, vec![("X-Shape", "1,2"), ("X-Dtype", "f32"), ("X-Ids", "")], "12345678", 400, "an id is empty"),
        (RAW, vec![("X-Shape", "1,2"), ("X-Dtype", "f32")], "\0\0\u{0}\u{0}\0\0\u{0}\0", 200, ""),
        ("application/x-npy", vec![], "nothing like it", 400, "NPY"),
    ] {
        let answer = rig.post("/samples", kind, &headers, body.as_bytes());
        match status {
            200 => assert_eq!(answer.status, 200, "{answer:?}"),
            _ => answer.refuses(status, says),
        }
    }
    let nan = f32::NAN.to_le_bytes().repeat(2);
    rig.post("/samples", RAW, &[("X-Shape", "1,2"), ("X-Dtype", "f32")], &nan).refuses(400, "NaN");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&nan);
    rig.samples(&format!("{{\"base64\": \"{base64}\"}}")).refuses(400, "NaN");
    rig.post("/samples?idz=1", NDJSON, &[], b"[1, 2]").refuses(400, "idz");
    assert_eq!(rig.stored().1.len(), 8, "only the one good request");
    rig.close();
}

#[test]
fn bodies_may_be_packed_up_to_the_size_of_a_body() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { body_bytes: 1 << 20, ..Limits::default() };
    let rig = rig(folder.path(), numbers(), Options { limits, ..Options::default() });
    let gzip = |text: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    };
    let post = |body: &[u8]| rig.post("/samples", NDJSON, &[("Content-Encoding", "gzip")], body);
    let taken = post(&gzip("[1, 2]\n[3, 4]\n".repeat(100).as_bytes()));
    assert_eq!(taken.body["accepted"], 200, "{taken:?}");
    // Nothing of a bomb, or of a body that is cut off, is taken.
    let bomb = gzip("[1, 2]\n".repeat(1 << 20).as_bytes());
    assert!(bomb.len() < 1 << 16);
    post(&bomb).refuses(413, "more than 1048576 bytes once it is unpacked");
    let whole = gzip("[1, 2]\n".repeat(1000).as_bytes());
    post(&whole[..whole.len() - 5]).refuses(400, "cannot be unpacked");
    assert_eq!(rig.stored().1.len(), 200 * 8);
    rig.close();
}

#[test]
fn where_a_class_is_called_like_a_number_numbers_are_names() {
    let folder = tempfile::tempdir().unwrap();
    let classes = ["cat", "1", "7"].map(String::from).to_vec();
    let rig = rig(folder.path(), Format { classes, ..numbers() }, Options::default());
    let body = "[{\"id\": 1, \"class\": 1}, {\"id\": 2, \"class\": \"7\"}, {\"id\": 3, \"class\": 7}]";
    assert_eq!(rig.labels(body).body, json!({"accepted": 3}));
    let class = |id, class| Label { id, class: Some(class) };
    assert_eq!(rig.stored_labels(), [class(1, 1), class(2, 2), class(3, 2)]);
    rig.labels("{\"id\": 4, \"class\": 0}").refuses(400, "unknown class `0`");
    rig.samples("{\"values\": [3, 4], \"label\": 2}").refuses(400, "unknown class `2`");
    rig.close();
}

#[test]
fn labels_are_taken_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options::default());
    let several =
        "{\"id\": 1, \"class\": \"dog\"}\n{\"id\": 2, \"class\": 0}\n\n{\"id\": 3, \"class\": null}";
    assert_eq!(rig.labels(several).body, json!({"accepted": 3}));
    assert_eq!(
        rig.labels("[{\"id\": 4, \"class\": \"emu\"}, {\"id\": 5, \"class\": 2}]").body["accepted"],
        2
    );
    assert_eq!(rig.labels("{\n  \"id\": 6,\n  \"class\": \"2\"\n}\n").body["accepted"], 1);
    let class = |id, class| Label { id, class };
    let expected = [
        class(1, Some(1)),
        class(2, Some(0)),
        class(3, None),
        class(4, Some(2)),
        class(5, Some(2)),
        class(6, Some(2)),
    ];
    assert_eq!(rig.stored_labels(), expected);
    for (line, says) in [
        (
            "{\"id\": 9, \"class\": \"cow\"}",
            "unknown class `cow`; did you mean `cat`? (known: cat, dog, emu)",
        ),
        ("{\"id\": 9, \"class\": 3}", "unknown class `3`"),
        ("{\"id\": 9, \"class\": -1}", "unknown class `-1`"),
        ("{\"id\": 9, \"class\": [1]}", "expected a class: its name, its number or null"),
        ("{\"id\": 9}", "missing field `class`"),
        ("{\"id\": 1.5, \"class\": 1}", "expected an id: a whole number of 64 bits, or a text"),
        ("{\"id\": 9, \"class\": 1, \"sure\": true}", "unknown field `sure`"),
        ("cat", "expected value"),
    ] {
        let answer = rig.labels(&format!("{{\"id\": 8, \"class\": 1}}\n{line}\n"));
        answer.refuses(400, says);
        assert_eq!(answer.body["line"], 2, "{answer:?}");
    }
    rig.labels("[{\"id\": 8, \"class\": 1}, {\"id\": 9, \"class\": \"cow\"}]")
        .refuses(400, "label 2: unknown class");
    rig.labels("").refuses(400, "no label");
    assert_eq!(rig.stored_labels(), expected);
    assert_eq!(rig.refused("bad-label"), 10);
    rig.close();
}

#[test]
fn health_and_unknown_paths() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options { no_source: true, ..Options::default() });
    let health = rig.get("/healthz");
    assert_eq!(
        (health.status, &health.body["status"], &health.body["step"]),
        (200, &json!("ok"), &Value::Null)
    );
    rig.get("/nothing").refuses(404, "POST /samples");
    rig.post("/sample", NDJSON, &[], b"[1, 2]").refuses(404, "POST /samples");
    rig.get("/samples").refuses(405, "POST /samples");
    rig.samples("[1, 2]").refuses(404, "source.kind");
    rig.post("/predict", NDJSON, &[], b"[1, 2]").refuses(404, "no predictions");
    rig.close();
}

#[test]
fn strangers_are_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let open = rig(folder.path(), numbers(), Options::default());
    let host = open.url.trim_start_matches("http://").to_string();
    for origin in ["http://evil.example", "null", "https://127.0.0.1:1"] {
        open.post("/samples", NDJSON, &[("Origin", origin)], b"[1, 2]").refuses(403, "may not");
    }
    let own = open.post("/samples", NDJSON, &[("Origin", &open.url)], b"[1, 2]");
    assert_eq!(own.status, 200, "{own:?}");
    let get = answer(
        agent().get(format!("{}/healthz", open.url)).header("Origin", "http://evil.example").call().unwrap(),
    );
    assert_eq!(get.status, 200);
    // A page whose own host name resolves to this machine (DNS rebinding) is recognised by the name.
    let rebound = format!("GET /healthz HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n", 80);
    assert!(raw(&open, rebound.as_bytes()).starts_with("HTTP/1.1 403"));
    let local = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", 80);
    assert!(raw(&open, local.as_bytes()).starts_with("HTTP/1.1 200"), "{host}");
    assert_eq!((open.refused("origin"), open.refused("host")), (3, 1));
    open.close();

    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(Some("secret".into()), None);
    let closed = rig(folder.path(), numbers(), Options { access, ..Options::default() });
    closed.samples("[1, 2]").refuses(401, "a token is needed");
    closed.get("/healthz").refuses(401, "a token is needed");
    closed
        .post("/samples", NDJSON, &[("Authorization", "Bearer wrong")], b"[1, 2]")
        .refuses(401, "token is wrong");
    closed.post("/samples", NDJSON, &[("Authorization", "Basic secret")], b"[1, 2]").refuses(401, "needed");
    let admitted = closed.post("/samples", NDJSON, &[("Authorization", "bearer secret")], b"[1, 2]");
    assert_eq!(admitted.status, 200, "{admitted:?}");
    assert_eq!((closed.refused("token"), closed.stored().1.len()), (4, 8));
    closed.close();
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        body_bytes: 1000,
        body_patience: Patience { usual: Duration::from_millis(300), wanted: Duration::from_millis(300) },
        header_wait: Duration::from_millis(300),
        ..Limits::default()
    };
    let rig = rig(folder.path(), numbers(), Options { limits, ..Options::default() });
    rig.samples(&"[1, 2]\n".repeat(1000)).refuses(413, "larger than 1000 bytes");
    // A body without an announced length that is too long; one that never ends; a head that never ends.
    let head = "POST /samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n";
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let endless = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(4));
    assert!(raw(&rig, endless.as_bytes()).starts_with("HTTP/1.1 413"));
    let asks = format!("{head}Expect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    assert!(raw(&rig, asks.as_bytes()).starts_with("HTTP/1.1 413"), "and not: go on");
    let slow = raw(&rig, format!("{head}Content-Length: 14\r\n\r\n[1, 2]\n[3").as_bytes());
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    let silent = raw(&rig, b"POST /samples HTTP/1.1\r\nHost: loc");
    assert!(!silent.contains("200"), "{silent}");
    let idle = raw(&rig, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(idle.starts_with("HTTP/1.1 200"), "and then closed: {idle}");
    assert!(raw(&rig, b"\x16\x03\x01garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
    // A client that disconnects in the middle of a body.
    let mut gone = TcpStream::connect(rig.url.trim_start_matches("http://")).unwrap();
    gone.write_all(format!("{head}Content-Length: 14\r\n\r\n[1, 2]\n[3").as_bytes()).unwrap();
    drop(gone);
    assert_eq!(rig.samples("[1, 2]").status, 200);
    assert_eq!(rig.stored().1.len(), 8);
    assert_eq!((rig.refused("too-large"), rig.refused("slow")), (3, 1));
    rig.close();
}

#[test]
fn too_many_at_once_are_told_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let minute = Duration::from_secs(60);
    let body_patience = Patience { usual: minute, wanted: minute };
    let limits = Limits { requests: 1, connections: 2, body_patience, ..Limits::default() };
    let rig = rig(folder.path(), numbers(), Options { limits, ..Options::default() });
    let address = rig.url.trim_start_matches("http://").to_string();
    let mut first = TcpStream::connect(&address).unwrap();
    let head = "POST /samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 6\r\n\r\n";
    // `100 Continue` shows that the server has begun to read the body.
    let waits = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    first.write_all(waits.as_bytes()).unwrap();
    let mut heard = [0; 12];
    first.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"HTTP/1.1 100");
    let mut second = TcpStream::connect(&address).unwrap();
    second.write_all(format!("{head}[1, 2]").as_bytes()).unwrap();
    second.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"HTTP/1.1 503");
    assert!(raw(&rig, b"").starts_with("HTTP/1.1 503"), "a third connection");
    drop(second);
    first.write_all(b"[1, 2]").unwrap();
    let mut rest = vec![0; 64];
    while !String::from_utf8_lossy(&rest).contains("HTTP/1.1 200") {
        let read = first.read(&mut heard).unwrap();
        assert!(read > 0);
        rest.extend(&heard[..read]);
    }
    assert_eq!(rig.refused("busy"), 2);
    rig.close();
}

#[test]
fn a_full_log_asks_for_patience_and_then_takes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { max_bytes: 8 << 20, ..Settings::default() };
    let rig = rig(folder.path(), numbers(), Options { settings, ..Options::default() });
    let values = vec![0u8; 3 << 20];
    let shape = format!("{},2", values.len() / 8);
    let headers = [("X-Shape", shape.as_str()), ("X-Dtype", "f32")];
    for _ in 0..2 {
        assert_eq!(rig.post("/samples", RAW, &headers, &values).body["ids"], Value::Null, "too many to tell");
    }
    let answer = rig.post("/samples", RAW, &headers, &values);
    answer.refuses(429, "the log is full");
    assert_eq!(rig.labels("{\"id\": 1, \"class\": 1}").status, 200, "labels need no room");
    // The label is in its own segment: trimming what a checkpoint has frees its room.
    rig.ingest.log().trim(u64::MAX).unwrap();
    assert_eq!(rig.labels("{\"id\": 1, \"class\": 1}").status, 200, "written after it was trimmed");
    assert_eq!(rig.post("/samples", RAW, &headers, &values).body["accepted"], values.len() / 8);
    assert_eq!(rig.refused("full"), 1);
    let shape = format!("{},2", 5 << 17);
    let headers = [("X-Shape", shape.as_str()), ("X-Dtype", "f32")];
    rig.post("/samples", RAW, &headers, &vec![0u8; 5 << 20]).refuses(413, "log.max_bytes");
    rig.close();
}

#[test]
fn over_tls_with_a_certificate_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let access = Access::new(Some("secret".into()), Some((chain.clone(), key)));
    let rig = rig(&folder.path().join("log"), numbers(), Options { access, ..Options::default() });
    let url = rig.url.replace("127.0.0.1", "localhost");
    let said = [(7, Some("dog".to_string())), (8, None)]
        .map(|(id, class)| LabelMessage { id: SampleId::number(id), class });
    let client = |token: &str, authority| Client::new(&url, Some(token.into()), authority).unwrap();
    assert_eq!(client("secret", Some(chain.as_path())).send(&said).unwrap(), 2);
    assert_eq!(rig.stored_labels(), [Label { id: 7, class: Some(1) }, Label { id: 8, class: None }]);
    let refused = client("wrong", Some(chain.as_path())).send(&said).unwrap_err().to_string();
    assert!(refused.contains("token is wrong"), "{refused}");
    // A client without TLS gets nothing, and others are still served.
    let mut plain = TcpStream::connect(rig.url.trim_start_matches("https://")).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("200"));
    assert_eq!(client("secret", Some(chain.as_path())).send(&said).unwrap(), 2);
    rig.close();
}

/// Runs `sluicebox label` and returns its exit code, stdout and stderr.
fn label(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_sluicebox"));
    let output = command
        .arg("label")
        .args(arguments)
        .write_stdin(input)
        .env("SLUICEBOX_TOKEN", "secret")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_label_command() {
    let folder = tempfile::tempdir().unwrap();
    let access = || Access::new(Some("secret".into()), None);
    let first =
        rig(&folder.path().join("log"), numbers(), Options { access: access(), ..Options::default() });
    let url = first.url.clone();
    let said = label(&[&url, "7=cat", "8=1", "9=null"], "");
    assert_eq!((said.0, said.1.as_str()), (0, "3 labels accepted\n"), "{said:?}");
    let file = folder.path().join("labels.csv");
    std::fs::write(&file, "id,class\n10,dog\n11,\n").unwrap();
    let said = label(&[&url, "--file", file.to_str().unwrap()], "");
    assert_eq!((said.0, said.1.as_str()), (0, "2 labels accepted\n"), "{said:?}");
    let many: String = (0..2500).map(|id| format!("{{\"id\": {id}, \"class\": {}}}\n", id % 3)).collect();
    let address = url.trim_start_matches("http://").to_string();
    let said = label(&[&address, "--file", "-"], &many);
    assert_eq!((said.0, said.1.as_str()), (0, "2500 labels accepted\n"), "{said:?}");
    assert_eq!(first.stored_labels().len(), 2505);

    let (code, _, error) = label(&[&url, "7=cow"], "");
    assert!(code == 2 && error.contains("unknown class `cow`; did you mean `cat`?"), "{error}");
    let (code, _, error) = label(&[&url, "--file", "-"], "1,cat\n2;dog\n");
    assert!(code == 2 && error.contains("standard input: line 2: a line is `id,class`"), "{error}");
    let (code, _, error) = label(&[&url], "");
    assert!(code == 2 && error.contains("ID=CLASS"), "{error}");
    let token = folder.path().join("token");
    std::fs::write(&token, "wrong\n").unwrap();
    let (code, _, error) = label(&[&url, "7=cat", "--token-file", token.to_str().unwrap()], "");
    assert!(code == 2 && error.contains("token is wrong"), "{error}");
    let (code, _, error) = label(&["http://nowhere.invalid:1", "7=cat"], "");
    assert!(code == 2 && error.contains("nowhere.invalid"), "{error}");
    let (code, _, error) = label(&["tcp://127.0.0.1:1", "7=cat"], "");
    assert!(code == 2 && error.contains("begins with http:// or https://"), "{error}");

    // The server goes away and comes back at the same address while the command retries.
    first.close();
    let insisting = std::thread::spawn(move || label(&[&url, "12=dog"], ""));
    let log = Wal::open(&folder.path().join("log"), "test", &Settings::default()).unwrap();
    let ingest = Arc::new(Ingest::new(log, numbers(), 1).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let again = sluicebox::serve::http::start(runtime.handle(), &address, served(&ingest, access())).unwrap();
    let said = insisting.join().unwrap();
    assert_eq!((said.0, said.1.as_str()), (0, "1 labels accepted\n"), "{said:?}");
    again.stop();
    ingest.log().close();
}

#[test]
fn an_address_that_cannot_be_listened_at_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options::default());
    let told = |address: &str| {
        let served = served(&rig.ingest, Access::default());
        sluicebox::serve::http::start(rig.runtime.handle(), address, served).err().unwrap().to_string()
    };
    assert!(told("0.0.0.0:0").contains("set a token"), "{}", told("0.0.0.0:0"));
    assert!(told("here").contains("cannot listen at \"here\""), "{}", told("here"));
    let taken = rig.url.trim_start_matches("http://");
    assert!(told(taken).contains("in use by the job ``"), "{}", told(taken));
    assert!(told(taken).contains("--listen 127.0.0.1:0"), "{}", told(taken));
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap().to_string();
    assert!(told(&taken).contains("in use by another program"), "{}", told(&taken));
    rig.close();
}

fn teacher(format: &Format, step: u64) -> (Weights, Spec, Compute) {
    let options: toml::Table = toml::from_str("hidden = [8]").unwrap();
    let spec = Spec { kind: "mlp".into(), options };
    let model = (MODELS.find("mlp").unwrap().build)(&spec, format).unwrap();
    let compute = Compute::new(Device::Cpu, Precision::F32);
    let mut draws = Randomness::new(step, 0).at(0, Stage::Weights);
    let replica = Replica::first(model.layout(), compute, &mut draws);
    (Weights { step, parameters: replica.parameters, buffers: replica.buffers }, spec, compute)
}

#[test]
fn predictions_come_from_the_newest_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let format = numbers();
    let (first, spec, compute) = teacher(&format, 1);
    let published = Arc::new(Published::default());
    let own = {
        let (spec, format) = (spec.clone(), format.clone());
        move || sluicebox_learn::model::build(&spec, &format, &[])
    };
    let predictor = Predictor::start(own, &format, compute, published.clone(), Health::default()).unwrap();
    let rig =
        rig(folder.path(), format.clone(), Options { predictor: Some(predictor), ..Options::default() });
    rig.post("/predict", NDJSON, &[], b"[1, 2]").refuses(503, "no weights yet");
    assert_eq!(rig.get("/healthz").body["step"], Value::Null);

    let input = Tensor::from_slice(&[1.0f32, 2.0, -3.0, 4.0]).view([2, 2]);
    for weights in [first, teacher(&format, 5).0] {
        let teacher = CorrectedTeacher { weights, correction: None, scale: None };
        published.publish(&teacher);
        let model = (MODELS.find("mlp").unwrap().build)(&spec, &format).unwrap();
        let wanted = Inference::corrected(model.into(), compute, &teacher).probabilities(&input).0;
        let answer = rig.post("/predict?probabilities=1", NDJSON, &[], b"[1, 2]\n[-3, 4]");
        assert_eq!(
            (answer.status, &answer.body["teacher_step"]),
            (200, &json!(teacher.weights.step)),
            "{answer:?}"
        );
        for (at, told) in answer.body["predictions"].as_array().unwrap().iter().enumerate() {
            let row = Vec::<f32>::try_from(wanted.get(at as i64)).unwrap();
            let told_row: Vec<f32> = told["probabilities"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| p.as_f64().unwrap() as f32)
                .collect();
            assert!(row.iter().zip(&told_row).all(|(a, b)| (a - b).abs() < 1e-5), "{row:?} {told_row:?}");
            let index = told["index"].as_u64().unwrap() as usize;
            assert!(row.iter().all(|p| *p <= row[index] + 1e-5));
            assert_eq!(told["class"], format.classes[index]);
            assert!((told["confidence"].as_f64().unwrap() as f32 - row[index]).abs() < 1e-5);
        }
    }
    assert_eq!(rig.get("/healthz").body["step"], 5);
    let plain = rig.post("/predict", NDJSON, &[], b"[1, 2]");
    assert_eq!(plain.body["predictions"][0]["probabilities"], Value::Null);
    rig.post("/predict", NDJSON, &[], b"[1, 2, 3]").refuses(400, "more than 2 values");
    rig.post("/predict", NDJSON, &[], "[1, 2]\n".repeat(1025).as_bytes()).refuses(413, "at most 1024");
    assert_eq!(rig.stored().1.len(), 0, "nothing is kept");
    // Many concurrent requests, batched or not, each get their own answer.
    let alone = rig.post("/predict", NDJSON, &[], b"[0.5, -1]").body["predictions"][0]["confidence"]
        .as_f64()
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for count in 1..20 {
                    let answer = rig.post("/predict", NDJSON, &[], "[0.5, -1]\n".repeat(count).as_bytes());
                    let told = answer.body["predictions"].as_array().unwrap();
                    assert_eq!(told.len(), count);
                    assert!(
                        told.iter().all(|one| (one["confidence"].as_f64().unwrap() - alone).abs() < 1e-5)
                    );
                }
            });
        }
    });
    rig.close();
}

/// Starts a job that listens at a port of its own, and returns its address.
fn start(state: &Path, sets: &[&str]) -> (std::process::Child, String) {
    start_job(Path::new("pipelines/http.toml"), state, sets)
}

/// Starts another job in this way.
pub fn start_job(job: &Path, state: &Path, sets: &[&str]) -> (std::process::Child, String) {
    let mut command = support::sluicebox();
    command.arg("run").arg(job).arg("--state").arg(state);
    let all =
        ["server.listen=127.0.0.1:0", "device=cpu", "threads=1", "batch.unlabelled=20", "epoch.steps=1"];
    for set in all.iter().chain(sets) {
        command.args(["--set", set]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
    let url = said.filter_map(|line| Some(line.split_once("listening at ")?.1.to_string())).next();
    (child, url.unwrap())
}

/// Reads epoch rows until `samples` samples were learned from.
fn learned(child: &mut std::process::Child, samples: &str) {
    let rows = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    assert!(rows.into_iter().any(|row| row.split_whitespace().nth(1) == Some(samples)));
}

#[test]
fn a_job_is_fed_asked_killed_and_fed_again() {
    let folder = tempfile::tempdir().unwrap();
    let image = |id: usize| {
        let label = if id < 50 { json!(id % 10) } else { Value::Null };
        json!({"id": id, "values": vec![id % 17; 64], "label": label}).to_string()
    };
    let images = |ids: std::ops::Range<usize>| ids.map(|id| image(id) + "\n").collect::<String>();
    let post = |url: &str, path: &str, text: &str| {
        let request = agent().post(format!("{url}{path}")).header("Content-Type", NDJSON);
        answer(request.send(text).unwrap())
    };
    let (mut child, url) = start(folder.path(), &[]);
    assert_eq!(post(&url, "/samples", &images(0..40)).body["accepted"], 40);
    learned(&mut child, "40");
    // The report of a step may come just before its weights can answer.
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        let answer = post(&url, "/predict", &image(3));
        if answer.status != 503 || Instant::now() > deadline {
            break answer;
        }
        answer.refuses(503, "the teacher has no weights yet");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(answer.status == 200 && answer.body["teacher_step"].as_u64() >= Some(2), "{answer:?}");
    assert_eq!(post(&url, "/samples", &images(30..50)).body["repeated"], 10);
    child.kill().unwrap();
    child.wait().unwrap();

    // All acknowledged samples are learned from once; samples sent again are recognised.
    let (child, url) = start(folder.path(), &["stop.samples=60"]);
    assert_eq!(post(&url, "/samples", &images(45..60)).body["accepted"], 10);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["samples_seen"], &summary["label_count"]), (&json!(60), &json!(50)), "{text}");
}

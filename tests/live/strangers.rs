//! Clients that mean harm or are slow: they cost little, and others are still served.

use crate::http::{NDJSON, Options, Rig, agent, answer, numbers, rig};
use crate::support;
use sluicebox::serve::http::Limits;
use sluicebox_core::sample::{Format, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::pace::Patience;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

fn connect(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.url.rsplit('/').next().unwrap()).unwrap()
}

/// Returns a certificate of `localhost` and its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (chain, key)
}

#[test]
fn half_open_connections_do_not_keep_out_who_has_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let pair = certificate(folder.path());
    for (name, certificate) in [("plain", None), ("tls", Some(pair.clone()))] {
        let access = Access::new(Some("secret".into()), certificate.clone());
        // Nobody's time runs out in this test.
        let limits = Limits { header_wait: 10 * LIMIT, ..Limits::default() };
        let rig = rig(&folder.path().join(name), numbers(), Options { access, limits, ..Options::default() });
        let open = |_| {
            let mut half = connect(&rig);
            let begun: &[u8] =
                if certificate.is_some() { b"\x16\x03" } else { b"POST /samples HTTP/1.1\r\nHost: l" };
            half.write_all(begun).unwrap();
            half
        };
        let half_open: Vec<TcpStream> = (0..300).map(open).collect();
        let client = match &certificate {
            None => agent(),
            Some((chain, _)) => {
                let pem = ureq::tls::Certificate::from_pem(&std::fs::read(chain).unwrap()).unwrap();
                let tls =
                    ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[pem]));
                ureq::Agent::config_builder().tls_config(tls.build()).build().into()
            }
        };
        let url = rig.url.replace("127.0.0.1", "localhost");
        let request = client.post(format!("{url}/samples")).header("Authorization", "Bearer secret");
        let request = request.header("Content-Type", NDJSON).config().timeout_global(Some(LIMIT)).build();
        let reply = answer(request.send("[1, 2]").unwrap());
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        assert!(rig.refused("crowded-out") > 0, "{name}");
        // Now that they have shown the token, they keep their places.
        let more: Vec<TcpStream> = (0..300).map(open).collect();
        let get = client.get(format!("{url}/healthz")).header("Authorization", "Bearer secret");
        assert_eq!(get.call().unwrap().status().as_u16(), 200, "{name}");
        drop((half_open, more));
        rig.close();
    }
}

#[test]
fn slow_bodies_make_room_once_others_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let body_patience = Patience { usual: 10 * LIMIT, wanted: Duration::from_millis(200) };
    let limits = Limits { requests: 4, body_patience, ..Limits::default() };
    let rig = rig(folder.path(), numbers(), Options { limits, ..Options::default() });
    let slow = |_| {
        let mut slow = connect(&rig);
        let head = "POST /samples HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[1";
        slow.write_all(head.as_bytes()).unwrap();
        slow
    };
    let mut all: Vec<TcpStream> = (0..3).map(slow).collect();
    let post = || rig.post("/samples", NDJSON, &[], b"[1, 2]");
    assert_eq!(post().status, 200, "there is room, and the others may be slow");
    assert_eq!(rig.refused("slow"), 0);
    all.push(slow(3));
    let began = Instant::now();
    while rig.refused("slow") == 0 || post().status != 200 {
        assert!(began.elapsed() < LIMIT, "the slow ones keep their places");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(all);
    rig.close();
}

#[test]
fn work_for_a_client_that_left_counts_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let format = Format { shape: Shape::Vector { features: 1000 }, ..numbers() };
    let limits = Limits { requests: 1, ..Limits::default() };
    let rig = rig(folder.path(), format, Options { limits, ..Options::default() });
    let line = format!("[{}]\n", vec!["0.125"; 1000].join(","));
    let body = line.repeat(5000); // 30 MB: parsing takes a while
    let head = format!(
        "POST /samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NDJSON}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // The client leaves at some moment; at first that may be too early, before the server has all of the body.
    let seen = (0..30).any(|attempt| {
        let before = rig.ingest.arrived();
        let mut gone = connect(&rig);
        gone.write_all(head.as_bytes()).unwrap();
        gone.write_all(body.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(10 * attempt));
        drop(gone);
        let (began, mut refused) = (Instant::now(), 0);
        while answer(agent().get(format!("{}/healthz", rig.url)).call().unwrap()).status != 200 {
            assert!(began.elapsed() < LIMIT);
            refused += 1;
        }
        // The only place for a request is free again: if it was taken after the client left, the work is done.
        refused > 0 && rig.ingest.arrived() == before + 5000
    });
    assert!(seen, "the place of a client that left is free before the work for it has ended");
    rig.close();
}

#[test]
fn too_much_in_one_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), numbers(), Options::default());
    let most = 1 << 20;
    let samples = rig.post("/samples", NDJSON, &[], "[1, 2]\n".repeat(most + 1).as_bytes());
    samples.refuses(413, "at most 1048576");
    let json = format!("[{}[1, 2]]", "[1, 2],".repeat(most));
    rig.post("/samples", "application/json", &[], json.as_bytes()).refuses(413, "at most 1048576");
    let labels = "{\"id\":1,\"class\":1}".repeat(most + 1);
    rig.post("/labels", NDJSON, &[], labels.as_bytes()).refuses(400, "at most 1048576");
    rig.close();
}

/// A job that listens, and its address.
struct Running {
    child: Child,
    url: String,
}

impl Running {
    fn start(state: &Path) -> Self {
        let mut command = support::sluicebox();
        command.args(["run", "pipelines/http.toml", "--state", state.to_str().unwrap()]);
        for set in ["server.listen=127.0.0.1:0", "device=cpu", "threads=1"] {
            command.args(["--set", set]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
        let url = said.find_map(|line| Some(line.split_once("listening at ")?.1.to_string())).unwrap();
        Self { child, url }
    }

    /// Returns the most memory that the job has had so far, in MiB.
    fn peak_mib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
    }

    /// Sends four bodies at once; returns their statuses.
    fn send_four(&self, path: &str, kind: &str, body: &str) -> Vec<u16> {
        let send = || {
            let request = agent().post(format!("{}{path}", self.url)).header("Content-Type", kind);
            answer(request.send(body).unwrap()).status
        };
        std::thread::scope(|scope| {
            let sent: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
            sent.into_iter().map(|sent| sent.join().unwrap()).collect()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn large_bodies_take_little_more_memory_than_they_have() {
    const SIZE: usize = 60 << 20;
    let filled =
        |part: &str, size: usize| format!("[{0}{part}]", format!("{part},").repeat(size / (part.len() + 1)));
    let folder = tempfile::tempdir().unwrap();
    let job = Running::start(folder.path());
    let before = job.peak_mib();
    for (part, says) in [("[]", 400), ("{\"values\":[]}", 400), ("{}", 400)] {
        let statuses = job.send_four("/samples", "application/json", &filled(part, SIZE));
        assert_eq!(statuses, [says; 4], "{part}");
    }
    let spent = job.peak_mib() - before;
    println!("four bad bodies of 60 MiB: {spent} MiB");
    // The bodies, what the allocator keeps of earlier ones, and a generous margin: it was 2,200 MiB once.
    assert!(spent < 4 * 60 * 4, "{spent} MiB for four bad bodies of 60 MiB");
}

#[test]
fn many_labels_take_little_more_memory_than_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let job = Running::start(folder.path());
    let labels: String = (0..1_000_000).map(|id| format!("{{\"id\":{id},\"class\":\"3\"}}\n")).collect();
    let before = job.peak_mib();
    let statuses = job.send_four("/labels", NDJSON, &labels);
    assert!(statuses.iter().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    let (spent, sent) = (job.peak_mib() - before, labels.len() >> 20);
    println!("four bodies of {sent} MiB of labels: {spent} MiB");
    assert!(spent < 4 * sent * 4 + 100, "{spent} MiB for four bodies of {sent} MiB");
}

//! A feeder whose other side says nothing: a stranger that never will, and a job that has no room yet.

use crate::feeding::{Raw, Server, samples, settings};
use sluicebox_client::feed::connection::Job;
use sluicebox_client::feed::{Input, Settings, feed};
use sluicebox_stream::auth::Access;
use sluicebox_stream::decode;
use sluicebox_stream::protocol;
use sluicebox_stream::wal::settings::LogSettings;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

#[test]
fn a_feeder_gives_up_on_a_listener_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        listener.incoming().for_each(|stream| held.push(stream));
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.ndjson");
    std::fs::write(&path, "[1, 2]\n").unwrap();
    let settings = Settings {
        address,
        inputs: vec![Input::File(path)],
        decode: decode::Options::default(),
        skip_bad: false,
        labels: true,
        rate: None,
        repeat: false,
        client_id: None,
        token: None,
        tls_ca: None,
        batch: None,
        shape: None,
        dtype: None,
        retry_for: Duration::from_secs(2),
    };
    let began = Instant::now();
    let error = feed(&settings, &Arc::default()).unwrap_err().to_string();
    assert!(error.contains("something listens there, but does not answer a feeder within 2s"), "{error}");
    assert!(error.contains("gave up after 2s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_job_without_room_is_not_taken_for_a_silent_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogSettings { max_bytes: 16 << 20, ..LogSettings::default() };
    let server = Server::with(folder.path(), &settings(), &log, Access::default());
    let wal = server.live.ingest.log();
    // An older connection under the same id waits for room, and the new one for the older.
    let (mut first, _) = Raw::accepted(server.address(), "a");
    let mut sent = 0;
    for count in [16_384, 16] {
        while wal.has_room(2 * 8 * count as usize) {
            first.frame(sent, samples(0, sent, sent + count));
            sent += count;
            first.acknowledged(sent);
        }
    }
    // All before is acknowledged, so whoever appends now is this frame, which has no room.
    first.frame(sent, samples(0, sent, sent + 16_384));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while runtime.block_on(async { timeout(Duration::from_millis(20), wal.turn()).await }).is_ok() {
        assert!(Instant::now() < deadline, "the job does not read the frame");
    }
    let job = Job::new(&server.address().to_string(), "a", None, None).unwrap();
    let connected = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let accepted =
                runtime.block_on(job.connect()).map(|connection| connection.accepted.taken.samples);
            connected.store(true, Ordering::Relaxed);
            accepted
        });
        std::thread::sleep(Duration::from_secs(12)); // longer than a feeder waits for an answer
        if connected.load(Ordering::Relaxed) {
            panic!("it does not wait for room: {:?}", connecting.join().unwrap());
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while !connected.load(Ordering::Relaxed) {
            wal.trim(u64::MAX).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert!(Instant::now() < deadline, "it is not admitted");
        }
        assert!(connecting.join().unwrap().unwrap() > 0);
    });
}

#[test]
fn a_job_says_that_it_is_one_before_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let (mut first, _) = Raw::accepted(server.address(), "a");
    let mut second = Raw::new(server.address());
    second.send(&protocol::preamble());
    second.send(&protocol::record(&Raw::hello("a")));
    let mut greeting = [0; 10];
    second.stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, protocol::preamble());
    assert!(second.reply().is_some(), "and then the answer, once");
    let fault = first.fault();
    assert!(fault.reason == "replaced" && fault.text.contains("--client-id"), "{}", fault.text);
}

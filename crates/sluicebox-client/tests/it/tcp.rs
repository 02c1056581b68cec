//! The source `tcp`: access, the meaning of an acknowledgement, and feeders that break off,
//! reconnect, take over or send invalid data.

use crate::feeding::{Raw, Server, format, samples, settings};
use sluicebox_client::feed::connection::{Failure, Job};
use sluicebox_core::sample::Block;
use sluicebox_core::sample::{Dtype, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::protocol;
use sluicebox_stream::protocol::{ClientProgress, Frame, Hello, Rejection, Reply};
use sluicebox_stream::source::tcp::{Listener, Settings};
use sluicebox_stream::wal::settings::{Durability, LogSettings};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn refused((_, reply): (Raw, Reply)) -> Rejection {
    match reply {
        Reply::Rejected(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn who_does_not_fit_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(Some("secret".into()), None);
    let server = Server::with(folder.path(), &settings(), &LogSettings::default(), access);
    let known = Hello { token: Some("secret".into()), ..Raw::hello("a") };
    let refused = |hello: Hello| {
        let fault = refused(Raw::greeted(server.address(), &hello));
        assert!(!fault.passing);
        assert_eq!(server.refused(&fault.reason), 1, "{}", fault.reason);
        format!("{}: {}", fault.reason, fault.text)
    };
    assert!(refused(Hello { token: Some("guess".into()), ..known.clone() }).contains("token is wrong"));
    let vector = |features| Some(Shape::Vector { features });
    let shape = refused(Hello { shape: vector(3), ..known.clone() });
    assert_eq!(shape, "bad-shape: samples of 3 features were announced, but this job takes 2 features");
    let dtype = refused(Hello { dtype: Some(Dtype::U8), ..known.clone() });
    assert_eq!(dtype, "bad-dtype: values of type u8 were announced, but this job takes f32");
    assert!(refused(Hello { client: "x".repeat(129), ..known.clone() }).contains("not 129"));
    let (_, welcome) =
        Raw::greeted(server.address(), &Hello { shape: vector(2), dtype: Some(Dtype::F32), ..known.clone() });
    let Reply::Accepted(accepted) = welcome else { panic!("{welcome:?}") };
    assert_eq!((accepted.format, accepted.taken), (format(), ClientProgress::default()));
    let none = refused_once(&server, Hello { token: None, ..known });
    assert!(none.text.contains("SLUICEBOX_TOKEN"), "{}", none.text);
    assert_eq!(server.refused("bad-token"), 2);
}

fn refused_once(server: &Server, hello: Hello) -> Rejection {
    refused(Raw::greeted(server.address(), &hello))
}

#[test]
fn other_protocols_and_versions_are_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let answer = |bytes: &[u8]| {
        let mut raw = Raw::new(server.address());
        raw.send(bytes);
        match raw.answer() {
            Reply::Rejected(fault) => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer(b"GET / HTTP/1.1\r\n\r\n").reason, "garbage");
    assert_eq!(answer(&[0x16, 3, 1, 2, 0]).reason, "garbage", "TLS where there is none");
    let older = answer(&[&protocol::MAGIC[..], &[1, 0]].concat());
    assert_eq!((older.reason.as_str(), older.passing, server.refused("version")), ("version", false, 1));
    assert!(older.text.contains("uses version 1 of the protocol, this program version 2"), "{}", older.text);
    let endless = [&protocol::preamble()[..], &u32::MAX.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(answer(&endless).reason, "too-long");
    let (mut fine, _) = Raw::accepted(server.address(), "fine");
    fine.frame(0, samples(1, 0, 3));
    fine.acknowledged(3);
    assert_eq!(server.taken(1), [0, 1, 2]);
}

#[test]
fn several_feed_and_each_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let address = server.address();
    let feeders = (0..8).map(|who| {
        std::thread::spawn(move || {
            let (mut raw, _) = Raw::accepted(address, &format!("feeder {who}"));
            // All frames are sent without waiting for acknowledgements.
            (0..40).for_each(|at| raw.frame(10 * at, samples(who, 10 * at, 10 * at + 10)));
            raw.acknowledged(400);
        })
    });
    feeders.collect::<Vec<_>>().into_iter().for_each(|feeder| feeder.join().unwrap());
    (0..8).for_each(|who| assert_eq!(server.taken(who), (0..400).collect::<Vec<_>>(), "{who}"));
}

#[test]
fn what_was_sent_before_a_broken_connection_is_neither_lost_nor_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let mut sent = ClientProgress::default();
    for round in 0..20 {
        let (mut raw, accepted) = Raw::accepted(server.address(), "a");
        let from = accepted.taken.samples;
        assert!(from <= sent.samples && from >= 3 * round, "{from}");
        let mut whole = ClientProgress::default();
        whole.add(&samples(0, 0, from), from);
        assert_eq!(accepted.taken, whole);
        raw.frame(from, samples(0, from, from + 3));
        raw.acknowledged(from + 3);
        // These are not acknowledged before the connection ends, and the last one is cut off.
        raw.frame(from + 3, samples(0, from + 3, from + 10));
        let cut = protocol::record(&Frame { first: from + 10, block: samples(0, from + 10, from + 20) });
        raw.send(&cut[..cut.len() - 1]);
        sent.samples = from + 10;
    }
    let (mut raw, accepted) = Raw::accepted(server.address(), "a");
    raw.frame(accepted.taken.samples, samples(0, accepted.taken.samples, 1000));
    raw.acknowledged(1000);
    assert_eq!(server.taken(0), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_job_that_starts_again_says_where_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for durability in [Durability::Os, Durability::Fsync, Durability::Os] {
        let log = LogSettings { durability, ..LogSettings::default() };
        let server = Server::with(folder.path(), &settings(), &log, Access::default());
        let (mut raw, accepted) = Raw::accepted(server.address(), "a");
        let from = accepted.taken.samples;
        assert!(from >= last);
        (0..50).for_each(|at| raw.frame(from + 10 * at, samples(0, from + 10 * at, from + 10 * at + 10)));
        last = raw.acknowledged(from + 100).samples;
        server.kill();
    }
    let server = Server::new(folder.path());
    let (_, accepted) = Raw::accepted(server.address(), "a");
    assert!(accepted.taken.samples >= last);
    assert_eq!(server.taken(0), (0..accepted.taken.samples).collect::<Vec<_>>());
}

#[test]
fn the_newest_of_two_takes_over_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let address = server.address();
    for round in 0..10 {
        let who = round as usize;
        let name = format!("feeder {round}");
        let (mut first, _) = Raw::accepted(address, &name);
        let mut told = Raw { stream: first.stream.try_clone().unwrap() };
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            for at in 0..400 {
                let frame = Frame { first: 5 * at, block: samples(who, 5 * at, 5 * at + 5) };
                if first.stream.write_all(&protocol::record(&frame)).is_err() {
                    break;
                }
            }
        });
        told.acknowledged(5);
        let (mut second, accepted) = Raw::accepted(address, &name);
        let from = accepted.taken.samples;
        second.frame(from, samples(who, from, from + 100));
        second.acknowledged(from + 100);
        assert_eq!(told.fault().reason, "replaced");
        sending.join().unwrap();
        assert_eq!(server.taken(who), (0..from + 100).collect::<Vec<_>>());
    }
}

#[test]
fn bad_frames_end_their_own_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let small = Settings { max_frame_bytes: 4000, ..settings() };
    let server = Server::with(folder.path(), &small, &LogSettings::default(), Access::default());
    let address = server.address();
    let (mut other, _) = Raw::accepted(address, "other");
    let mut others = 0;
    let mut check = |name: &str, reason: &str, text: &str, bytes: Vec<u8>| {
        let (mut raw, _) = Raw::accepted(address, name);
        raw.frame(0, samples(7, 0, 2));
        raw.send(&bytes);
        let fault = raw.fault();
        assert_eq!(fault.reason, reason);
        assert!(fault.text.contains(text), "{name}: {}", fault.text);
        assert!(server.refused(reason) > 0, "{name}");
        assert!(raw.reply().is_none(), "{name}");
        assert_eq!(Raw::accepted(address, name).1.taken.samples, 2, "{name}: what came before is taken");
        other.frame(others, samples(1, others, others + 1));
        others += 1;
        other.acknowledged(others);
    };
    let frame = |first, block| protocol::record(&Frame { first, block });
    let mut damaged = frame(2, samples(7, 2, 4));
    damaged[30] ^= 0x40;
    check("damaged", "checksum", "checksum", damaged);
    check("long", "too-long", "at most 4000", frame(2, samples(7, 2, 1000)));
    check("gap", "gap", "begins with sample 3, but 2 is next", frame(3, samples(7, 3, 4)));
    check("overlap", "gap", "begins with sample 1, but 2 is next", frame(1, samples(7, 1, 4)));
    check("malformed", "malformed", "cannot be decoded", protocol::record(&(1u8, 2u8)));
    let mut halves = samples(7, 2, 4);
    halves.bytes.extend([0; 3]);
    check("halves", "bad", "19 bytes are not a whole number of samples", frame(2, halves));
    let mut nan = samples(7, 2, 4);
    nan.bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    check("nan", "bad", "begins with sample 2: a value of sample 0 is not a finite number", frame(2, nan));
    let ids = |ids: Vec<u64>, at| Block { ids, ..samples(7, at, at + 2) };
    check("ids", "bad", "1 ids for 2 samples", frame(2, ids(vec![1], 2)));
    let reused = [frame(2, ids(vec![1, 2], 2)), frame(4, ids(vec![3, 1], 4))].concat();
    let (mut raw, _) = Raw::accepted(address, "reused");
    raw.send(&frame(0, samples(7, 0, 2)));
    raw.send(&reused);
    let fault = raw.fault();
    assert_eq!(fault.reason, "id-reused");
    assert!(fault.text.contains("id 1 was used before"), "{}", fault.text);
    assert_eq!(Raw::accepted(address, "reused").1.taken.samples, 4);
    assert_eq!(server.taken(1).len() as u64, others);
}

#[test]
fn what_is_known_is_acknowledged_again_and_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let (mut raw, accepted) = Raw::accepted(server.address(), "a");
    assert_eq!(accepted.max_frame_bytes, 4 << 20);
    raw.frame(0, samples(0, 0, 4));
    assert_eq!(raw.acknowledged(4).samples, 4);
    raw.frame(1, samples(0, 1, 3));
    assert_eq!(raw.acknowledged(4).samples, 4);
    assert_eq!(server.taken(0), [0, 1, 2, 3]);
    // The same by ids, under another client id.
    let named = Block { ids: vec![5, 6], ..samples(1, 0, 2) };
    raw.frame(4, named.clone());
    assert_eq!(raw.acknowledged(6).repeated, 0);
    let (mut again, _) = Raw::accepted(server.address(), "b");
    again.frame(0, named.clone());
    assert_eq!(again.acknowledged(2).repeated, 2);
    let more = Block { ids: vec![6, 7], ..samples(1, 1, 3) };
    again.frame(2, more);
    assert_eq!(again.acknowledged(4).repeated, 3);
    assert_eq!(server.taken(1), [0, 1, 2]);
}

#[test]
fn there_are_as_many_feeders_as_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let few = Settings { max_clients: 2, ..settings() };
    let server = Server::with(folder.path(), &few, &LogSettings::default(), Access::default());
    let (first, _) = Raw::accepted(server.address(), "a");
    let (mut second, _) = Raw::accepted(server.address(), "b");
    let fault = refused_once(&server, Raw::hello("c"));
    assert_eq!((fault.reason.as_str(), fault.passing), ("too-many-clients", true));
    second.frame(0, samples(0, 0, 1));
    second.acknowledged(1);
    drop(first);
    // The place is free once the job has noticed that the client left.
    while let (_, Reply::Rejected(fault)) = Raw::greeted(server.address(), &Raw::hello("c")) {
        assert_eq!(fault.reason, "too-many-clients");
    }
}

#[test]
fn who_shows_no_token_does_not_keep_out_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for certificate in [None, Some((chain.clone(), key))] {
        let tls = certificate.as_ref().map(|(chain, _)| chain.clone());
        let access = Access::new(Some("secret".into()), certificate);
        let log = folder.path().join(if tls.is_some() { "tls" } else { "plain" });
        let server = Server::with(&log, &settings(), &LogSettings::default(), access);
        let open = |_| {
            let mut half = Raw::new(server.address());
            half.send(if tls.is_some() { b"\x16\x03" } else { b"sl" });
            half
        };
        let half_open: Vec<Raw> = (0..300).map(open).collect();
        let address = format!("localhost:{}", server.address().port());
        let job = Job::new(&address, "a", Some("secret".into()), tls.as_deref()).unwrap();
        block_on(async {
            let connected = tokio::time::timeout(Duration::from_secs(60), job.connect()).await.unwrap();
            let mut connection = connected.map_err(|failure| format!("{failure:?}")).unwrap();
            assert!(server.refused("crowded-out") > 0);
            // Now that it has shown the token, it keeps its place.
            let more: Vec<Raw> = (0..300).map(open).collect();
            protocol::write_frame(&mut connection.writer, 0, &samples(0, 0, 5)).await.unwrap();
            tokio::io::AsyncWriteExt::flush(&mut connection.writer).await.unwrap();
            let reply = connection.reader.reply().await.map_err(|failure| format!("{failure:?}")).unwrap();
            assert!(matches!(reply, Reply::Ack(ack) if ack.samples == 5));
            drop(more);
        });
        drop(half_open);
    }
}

#[test]
fn frames_take_no_more_than_their_room_and_half_sent_ones_leave_it() {
    const FRAME: usize = 16 << 20;
    let folder = tempfile::tempdir().unwrap();
    let large = Settings { max_frame_bytes: FRAME, ..settings() };
    let server = Server::with(folder.path(), &large, &LogSettings::default(), Access::default());
    let address = server.address();
    // Four frames of this size take all the room for frames; their ends never come.
    let head = [&(FRAME as u32).to_le_bytes()[..], &[0; 4], &[0; 1000]].concat();
    let mut half_sent: Vec<Raw> = (0..4)
        .map(|at| {
            let (mut raw, _) = Raw::accepted(address, &format!("half {at}"));
            raw.send(&head);
            raw
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200)); // a longer wait could only find more faults
    let (mut fine, _) = Raw::accepted(address, "fine");
    fine.frame(0, samples(1, 0, 3));
    assert_eq!(fine.acknowledged(3).samples, 3, "it waits until a half-sent frame is discarded");
    for raw in &mut half_sent {
        let fault = raw.fault();
        assert_eq!((fault.reason.as_str(), fault.passing), ("slow-frame", true));
    }
    assert_eq!(server.taken(1), [0, 1, 2]);
}

#[test]
fn a_feeder_may_be_silent_between_frames_but_not_within_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let (mut silent, _) = Raw::accepted(server.address(), "silent");
    let (mut begun, _) = Raw::accepted(server.address(), "begun");
    begun.send(&[7]); // the first byte of a head
    assert_eq!(begun.fault().reason, "slow-frame");
    silent.frame(0, samples(0, 0, 2));
    assert_eq!(silent.acknowledged(2).samples, 2);
}

#[test]
fn addresses_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let refused = |listen: &str| {
        let settings = Settings { listen: listen.into(), ..settings() };
        Listener::start(&server.live, 0, &settings).err().unwrap().to_string()
    };
    let taken = server.address().to_string();
    assert!(refused(&taken).contains(&format!("cannot listen for samples at {taken}: ")));
    assert!(refused("0.0.0.0:0").contains("set a token"));
    assert!(refused("nowhere").contains("cannot listen for samples at nowhere"));
}

#[test]
fn the_end_of_the_job_ends_its_connections() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(folder.path());
    let listener = Listener::start(&server.live, 0, &settings()).unwrap();
    let (mut raw, _) = Raw::accepted(listener.address(), "a");
    raw.frame(0, samples(0, 0, 4));
    raw.acknowledged(4);
    let address = listener.address();
    drop(listener);
    let fault = raw.fault();
    assert_eq!((fault.reason.as_str(), fault.passing), ("ended", true));
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tls_keeps_the_token_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let (chain, key) =
        (file("chain.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let stranger = file("stranger.pem", other.cert.pem());
    let access = Access::new(Some("secret".into()), Some((chain.clone(), key)));
    let log = LogSettings::default();
    let server = Server::with(&folder.path().join("log"), &settings(), &log, access);
    let address = format!("localhost:{}", server.address().port());
    let token = || Some("secret".to_string());
    let job = Job::new(&address, "a", token(), Some(&chain)).unwrap();
    let mut connection = block_on(async {
        let mut connection = job.connect().await.unwrap();
        protocol::write_frame(&mut connection.writer, 0, &samples(0, 0, 5)).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut connection.writer).await.unwrap();
        connection.reader.reply().await.map(|reply| (reply, connection)).unwrap()
    });
    assert!(matches!(connection.0, Reply::Ack(ack) if ack.samples == 5));
    assert_eq!(connection.1.accepted.format, format());
    connection.1.accepted.taken = ClientProgress::default();
    let failure = |job: Job| match block_on(job.connect()).err().unwrap() {
        Failure::Lasting(text) => text,
        Failure::Passing(text) => panic!("{text}"),
    };
    let untrusted = failure(Job::new(&address, "b", token(), Some(&stranger)).unwrap());
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let plain = failure(Job::new(&address, "c", token(), None).unwrap());
    assert!(plain.contains("--tls-ca"), "{plain}");
    let open = Server::new(&folder.path().join("open"));
    let address = format!("localhost:{}", open.address().port());
    let no_tls = failure(Job::new(&address, "d", None, Some(&chain)).unwrap());
    assert!(no_tls.contains("TLS handshake"), "{no_tls}");
}

#[test]
fn many_wait_for_a_full_log_and_go_on_evenly() {
    const FEEDERS: usize = 64;
    const FRAMES: u64 = 40;
    const SAMPLES: u64 = 8192; // 64 KiB
    let folder = tempfile::tempdir().unwrap();
    let log = LogSettings { max_bytes: 16 << 20, ..LogSettings::default() };
    let server = Server::with(folder.path(), &settings(), &log, Access::default());
    let address = server.address();
    let log = server.live.ingest.log();
    let (mut filler, _) = Raw::accepted(address, "filler");
    let mut filled = 0;
    for count in [SAMPLES, 16] {
        while log.has_room(2 * 8 * count as usize) {
            filler.frame(filled, samples(FEEDERS, filled, filled + count));
            filled += count;
            filler.acknowledged(filled);
        }
    }
    let sent: Vec<AtomicU64> = (0..FEEDERS).map(|_| AtomicU64::new(0)).collect();
    let durable = |who: usize| {
        let mark = log.mark(format!("client/0/feeder {who}").as_bytes()).unwrap();
        mark.map_or(0, |mark| u64::from_le_bytes(mark[..8].try_into().unwrap()) / SAMPLES)
    };
    std::thread::scope(|scope| {
        for (who, sent) in sent.iter().enumerate() {
            let (mut raw, _) = Raw::accepted(address, &format!("feeder {who}"));
            let mut sender = Raw { stream: raw.stream.try_clone().unwrap() };
            scope.spawn(move || {
                for at in 0..FRAMES {
                    sender.frame(at * SAMPLES, samples(who, at * SAMPLES, (at + 1) * SAMPLES));
                    sent.store(at + 1, Ordering::Relaxed);
                }
            });
            scope.spawn(move || raw.acknowledged(FRAMES * SAMPLES));
        }
        // Every feeder has frames in transit whenever there is room.
        let waits = |who: usize| match sent[who].load(Ordering::Relaxed) {
            FRAMES => true,
            sent => sent >= durable(who) + 2,
        };
        let wait = || {
            while !(0..FEEDERS).all(waits) {
                std::thread::yield_now()
            }
        };
        wait();
        assert_eq!((0..FEEDERS).map(durable).max(), Some(0), "the log is full");
        let (mut when_first_ends, mut gone) = (None, 0);
        while (0..FEEDERS).any(|who| durable(who) < FRAMES) {
            if !log.has_room(2 * 8 * SAMPLES as usize) {
                wait();
                gone += 64; // two records per frame
                log.trim(gone).unwrap();
                block_on(log.append_now(Vec::new()).unwrap().durable()).unwrap(); // now the log is trimmed
            }
            assert!(log.fill().bytes <= log.fill().max_bytes);
            let (least, most) =
                ((0..FEEDERS).map(durable).min().unwrap(), (0..FEEDERS).map(durable).max().unwrap());
            if most == FRAMES && when_first_ends.is_none() {
                when_first_ends = Some((least, most));
            }
            std::thread::yield_now();
        }
        let (least, most) = when_first_ends.unwrap_or((FRAMES, FRAMES));
        assert!(most <= 2 * least, "{least} to {most}");
    });
}

#[test]
fn frames_that_queue_are_no_more_than_a_small_log_takes_at_once() {
    const FRAMES: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let log = LogSettings { max_bytes: 64 << 10, ..LogSettings::default() };
    let most = Settings { max_frame_bytes: 16 << 10, ..settings() };
    let server = Server::with(folder.path(), &most, &log, Access::default());
    let (mut raw, accepted) = Raw::accepted(server.address(), "fast");
    let mut sender = Raw { stream: raw.stream.try_clone().unwrap() };
    let count = protocol::samples_in(accepted.max_frame_bytes as usize, 8) as u64;
    let log = server.live.ingest.log();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for first in (0..FRAMES).map(|frame| frame * count) {
                let ids = (first..first + count).collect();
                sender.frame(first, Block { ids, ..samples(1, first, first + count) });
            }
        });
        let reader = scope.spawn(move || raw.acknowledged(FRAMES * count));
        while !reader.is_finished() {
            log.trim(log.durable()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

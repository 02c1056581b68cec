//! `sluicebox feed` against a listener: files of several kinds and stdin arrive unchanged and
//! exactly once, despite interruptions.

use crate::feeding::{Server, format, samples, settings};
use crate::support;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::source::tcp::Settings;
use sluicebox_stream::wal::settings::LogSettings;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Returns samples `from..to` of feeder `who` as NDJSON.
fn ndjson(who: usize, from: u64, to: u64) -> String {
    let mut text = String::new();
    (from..to).for_each(|number| writeln!(text, "[{who}, {number}]").unwrap());
    text
}

pub fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// Returns `[count, 2]` f32 in NumPy's format.
fn npy(who: usize, count: u64) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 2), }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &samples(who, 0, count).bytes].concat()
}

pub fn feed(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let address = server.address().to_string();
    let all = [&["feed", &address, "--retry-for", "0s"], arguments].concat();
    support::output(&all)
}

pub fn fed(server: &Server, arguments: &[&str]) -> String {
    let (code, out, err) = feed(server, arguments);
    assert_eq!(code, 0, "{err}");
    out.split(", in ").next().unwrap().to_string()
}

pub fn refused(server: &Server, arguments: &[&str]) -> String {
    let (code, out, err) = feed(server, arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    err
}

fn numbers(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Starts a feeder that runs while the test does something else.
pub fn start(address: &str, arguments: &[&str]) -> Child {
    let mut command = support::sluicebox();
    command.args(["feed", address]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).split(", in ").next().unwrap().to_string()
}

pub fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn files_of_several_kinds_arrive_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let csv: String = (0..300).map(|number| format!("2,{number}\n")).collect();
    let packed = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(ndjson(3, 0, 50).as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let one = file(folder.path(), "one.npy", npy(1, 5000));
    let two = file(folder.path(), "two.csv", csv);
    let three = file(folder.path(), "three.ndjson.gz", packed);
    let all: &[&str] = &[&one, &two, &three];
    assert_eq!(fed(&server, all), "5350 samples acknowledged, 0 of them known before");
    assert_eq!(server.taken(1), numbers(5000));
    assert_eq!(server.taken(2), numbers(300));
    assert_eq!(server.taken(3), numbers(50));
    // The same samples in other frames and at another rate are recognised.
    let again = [all, &["--batch", "7", "--rate", "1000000/s"]].concat();
    assert_eq!(fed(&server, &again), "5350 samples acknowledged, 5350 of them known before");
    // Samples appended to the file are sent.
    let mut more = std::fs::OpenOptions::new().append(true).open(&two).unwrap();
    more.write_all(b"2,300\n2,301\n").unwrap();
    let longer: &[&str] = &["--client-id", "longer", &two];
    assert_eq!(fed(&server, longer), "302 samples acknowledged, 0 of them known before");
    more.write_all(b"2,302\n").unwrap();
    assert_eq!(fed(&server, longer), "303 samples acknowledged, 302 of them known before");
    // Other samples under the same client id are refused.
    let other = refused(&server, &["--client-id", "longer", &three]);
    assert!(other.contains("does not begin with the same") && other.contains("--client-id"), "{other}");
    std::fs::write(&two, "2,7\n".repeat(400)).unwrap();
    assert!(refused(&server, longer).contains("the job already has 303 samples of client longer"));
    assert_eq!(server.taken(2).len(), 300 + 303);
}

#[test]
fn ids_are_kept_and_a_folder_is_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let inside = folder.path().join("samples");
    std::fs::create_dir(&inside).unwrap();
    file(&inside, "b.jsonl", "{\"id\": 12, \"values\": [1, 2]}\n[1, 3]\n");
    file(
        &inside,
        "a.jsonl",
        "{\"id\": 10, \"values\": [1, 0], \"label\": \"yes\"}\n{\"id\": 11, \"values\": [1, 1]}\n",
    );
    file(&inside, "notes.txt", "no samples");
    let inside = inside.display().to_string();
    assert_eq!(fed(&server, &[&inside]), "4 samples acknowledged, 0 of them known before");
    assert_eq!(server.taken(1), numbers(4));
    let ids: Vec<u64> = server.blocks().into_iter().flat_map(|block| block.ids).collect();
    assert_eq!(ids, [10, 11, 12]);
    // Under another client id, samples with ids are still recognised.
    let again = fed(&server, &["--client-id", "again", &inside]);
    assert_eq!(again, "4 samples acknowledged, 3 of them known before");
}

#[test]
fn images_and_idx_become_what_the_job_takes() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape::Image { channels: 1, height: 4, width: 4 };
    let format = Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, ..format() };
    let settings = Settings { shape: vec![1, 4, 4], dtype: Dtype::U8, ..settings() };
    let (log, access) = (LogSettings::default(), Access::default());
    let server = Server::of(&folder.path().join("log"), &settings, &log, access, format);
    let idx = folder.path().join("some-images.idx");
    support::write_idx(&idx, &[3, 4, 4], &(0..48).collect::<Vec<u8>>());
    let idx = idx.display().to_string();
    assert_eq!(
        fed(&server, &["--shape", "1,4,4", "--dtype", "u8", &idx]),
        "3 samples acknowledged, 0 of them known before"
    );
    assert_eq!(server.blocks()[0].bytes, (0..48).collect::<Vec<u8>>());
    let wrong = refused(&server, &["--shape", "1,5,5", &idx]);
    assert!(wrong.contains("samples of 1×5×5 were announced, but this job takes 1×4×4"), "{wrong}");
    assert!(refused(&server, &["--dtype", "f32", &idx]).contains("takes u8"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let bad = file(folder.path(), "bad.ndjson", format!("{}[1]\n{}", ndjson(1, 0, 3), ndjson(1, 3, 5)));
    let (code, out, err) = feed(&server, &[&bad]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("bad.ndjson: line 4: ") && err.contains("3 samples acknowledged"), "{err}");
    let rest = fed(&server, &["--skip-bad", &bad]);
    assert_eq!(rest, "5 samples acknowledged, 3 of them known before");
    assert_eq!(server.taken(1), numbers(5));
    assert!(refused(&server, &["none.npy"]).contains("none.npy: "));
    assert!(refused(&server, &["Cargo.toml"]).contains("does not say what it holds"));
    assert!(refused(&server, &["--batch", "999999999", &bad]).contains("--batch 999999999"));
    assert!(refused(&server, &["--loop", "-"]).contains("--loop: stdin"));
    assert_eq!(feed(&server, &["--rate", "fast", &bad]).0, 2);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (code, _, err) = support::output(&["feed", &closed, "--retry-for", "200ms", &bad]);
    assert_eq!(code, 1);
    assert!(err.contains("retrying for 200ms") && err.contains("--retry-for"), "{err}");
}

#[test]
fn a_token_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::new(Some("secret".into()), None);
    let log = LogSettings::default();
    let server = Server::with(&folder.path().join("log"), &settings(), &log, access);
    let some = file(folder.path(), "some.ndjson", ndjson(1, 0, 3));
    assert!(refused(&server, &[&some]).contains("SLUICEBOX_TOKEN"));
    assert!(refused(&server, &["--token", "guess", &some]).contains("the token is wrong"));
    let token = file(folder.path(), "token", "secret\n");
    assert_eq!(
        fed(&server, &["--token-file", &token, &some]),
        "3 samples acknowledged, 0 of them known before"
    );
}

#[test]
fn stdin_is_sent_as_it_comes_and_survives_a_restart_of_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("log");
    let mut server = Server::new(&path);
    let address = server.address().to_string();
    let again = Settings { listen: address.clone(), ..settings() };
    let mut child = start(&address, &["-"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut sent = 0;
    for round in 1..=4 {
        // These few samples are sent although they do not fill a frame.
        stdin.write_all(ndjson(1, sent, 100 * round).as_bytes()).unwrap();
        stdin.flush().unwrap();
        sent = 100 * round;
        wait_until(|| server.taken(1).len() as u64 == sent);
        // These may be in transit when the job ends.
        stdin.write_all(ndjson(1, sent, sent + 50).as_bytes()).unwrap();
        stdin.flush().unwrap();
        sent += 50;
        server.kill();
        server = Server::with(&path, &again, &LogSettings::default(), Access::default());
    }
    drop(stdin);
    assert_eq!(ended(child), "450 samples acknowledged, 0 of them known before");
    assert_eq!(server.taken(1), numbers(450));
}

#[test]
fn a_rate_slows_and_a_loop_never_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let address = server.address().to_string();
    let lines: String = (0..10).map(|n| format!("{{\"id\": {n}, \"values\": [1, {n}]}}\n")).collect();
    let ten = file(folder.path(), "ten.ndjson", lines);
    let mut child = start(&address, &["--loop", "--rate", "200/s", &ten]);
    wait_until(|| server.taken(1).len() > 30);
    // Frames are small, so that samples arrive evenly.
    assert!(server.blocks().iter().all(|block| block.bytes.len() <= 20 * 8));
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let taken = server.taken(1);
    assert!(ended(child).starts_with(&format!("{} samples acknowledged, 0 of them known", taken.len())));
    assert!(taken.iter().enumerate().all(|(at, number)| *number == at as u64 % 10));
    let ids: usize = server.blocks().iter().map(|block| block.ids.len()).sum();
    assert_eq!(ids, 10, "what is sent again is another sample");
}

#[test]
fn a_feeder_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let address = server.address().to_string();
    let many = file(folder.path(), "many.npy", npy(1, 60_000));
    for round in 1..=3 {
        let mut child = start(&address, &["--rate", "20000/s", &many]);
        wait_until(|| server.taken(1).len() > 6000 * round);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let rest = fed(&server, &[&many]);
    assert!(rest.starts_with("60000 samples acknowledged, ") && !rest.contains(", 0 of"), "{rest}");
    assert_eq!(server.taken(1), numbers(60_000));
}

//! What is wrong is said where it is wrong, with exit code 2.

use crate::cluster::{Ended, Process, free_port, small, start_one, write_hosts};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

fn of(arguments: &[String]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::of(&arguments)
}

fn refused(end: &Ended, sentence: &str) {
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(end.said.contains("error: ") && end.said.contains(sentence), "`{sentence}`: {end:?}");
}

/// Starts process 0 of two, then a process that it refuses, then the right one: the job ends well.
fn is_refused(sentence: &str, wrong: impl FnOnce(&str, &Path) -> Process) {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let address = write_hosts(&hosts, 2);
    let arguments = small(2, &["--token-file", "tests/data/cluster-token"]);
    let head = start_one(&arguments, 0, &hosts);
    head.wait_for("process 0 awaits");
    refused(&wrong(&address, &hosts).end(), sentence);
    head.wait_for("is refused");
    let other = start_one(&arguments, 1, &hosts);
    assert_eq!(head.end().code, Some(0));
    assert_eq!(other.end().code, Some(0));
}

#[test]
fn another_token() {
    is_refused("process 0 has another token", |address, _| {
        Process::of(&["join", address, "--token", "guessed"])
    });
    is_refused("process 0 has another token", |address, _| Process::of(&["join", address]));
}

#[test]
fn another_number_of_processes_or_workers_or_another_job() {
    let token = ["--token-file", "tests/data/cluster-token"];
    is_refused("told of 3 processes, but process 0 of 2", |address, hosts| {
        let other = hosts.with_extension("other");
        std::fs::write(&other, format!("{address}\n127.0.0.1:1\n127.0.0.1:2\n")).unwrap();
        start_one(&small(2, &token), 1, &other)
    });
    is_refused("told of 4 workers, but process 0 of 2", |_, hosts| start_one(&small(4, &token), 1, hosts));
    is_refused("another job file", |_, hosts| {
        let mut other = small(2, &token);
        other[1] = "pipelines/digits-drift.toml".into();
        start_one(&other, 1, hosts)
    });
}

#[test]
fn two_processes_with_one_number() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    write_hosts(&hosts, 3);
    let arguments = small(3, &[]);
    let head = start_one(&arguments, 0, &hosts);
    let first = start_one(&arguments, 1, &hosts);
    head.wait_for("process 1 has come");
    let again = start_one(&arguments, 1, &hosts);
    refused(&again.end(), "process 1 is there already, from 127.0.0.1:");
    let third = start_one(&arguments, 2, &hosts);
    for process in [head, first, third] {
        assert_eq!(process.end().code, Some(0));
    }
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let end = of(&small(2, &["--processes", "2", "--join-at", &address])).end();
    refused(&end, &format!("process 0 cannot listen at {address}: Address already in use"));
}

#[test]
fn a_hosts_file_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    for (text, more, sentence) in [
        ("a:1\nb\n", &[][..], "hosts: line 2: `b` is no host:port"),
        ("127.0.0.1:7\n", &["--process", "1"], "hosts: has no line for --process 1"),
        (
            "127.0.0.1:7\n127.0.0.1:8\n",
            &["--processes", "3"],
            "hosts: has 2 processes, but --processes says 3",
        ),
    ] {
        std::fs::write(&hosts, text).unwrap();
        let arguments = small(2, &[&["--hosts", hosts.to_str().unwrap()], more].concat());
        refused(&of(&arguments).end(), sentence);
    }
    refused(&of(&small(2, &["--hosts", "nowhere"])).end(), "nowhere: cannot read the hosts");
}

#[test]
fn numbers_that_do_not_fit() {
    refused(&of(&small(2, &["--processes", "2"])).end(), "by --hosts FILE or --join-at ADDR");
    refused(&of(&small(2, &["--processes", "3", "--join-at", "1"])).end(), "processes: 3: must be 1 to 2");
    refused(
        &of(&small(1, &["--processes", "2", "--join-at", "1"])).end(),
        "there is one worker: set workers = N",
    );
    refused(&of(&small(2, &["--join-at", "1"])).end(), "nobody is awaited there, as processes is 1");
    let few = ["--processes", "2", "--join-at", "1", "--set", "batch.labelled=3"];
    refused(&of(&small(2, &few)).end(), "3 is too few for 2 workers");
}

#[test]
fn without_a_token_only_this_machine() {
    let port = free_port();
    let end = of(&small(2, &["--processes", "2", "--join-at", &format!("0.0.0.0:{port}")])).end();
    refused(&end, "can be reached from other machines: set a token");
    refused(&Process::of(&["join", "192.0.2.1:7"]).end(), "192.0.2.1:7 is another machine: set the token");
}

#[test]
fn a_device_that_process_0_has_not() {
    let address = format!("127.0.0.1:{}", free_port());
    let other = Process::of(&["join", &address]);
    let end = of(&small(2, &["--processes", "2", "--join-at", &address, "--set", "device=cuda:63"])).end();
    assert_eq!(end.code, Some(2), "{end:?}");
    other.signal(libc::SIGTERM);
    other.end();
}

#[test]
fn what_is_wrong_with_another_process_is_said_by_both() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut joins = crate::support::sluicebox();
    joins.args(["join", &address]).env("TMPDIR", "/nowhere/at/all");
    let other = Process::start(joins);
    let head = of(&small(2, &["--processes", "2", "--join-at", &address])).end();
    refused(&other.end(), "error: /nowhere/at/all");
    refused(&head, "error: process 1 at 127.0.0.1:");
    assert!(head.said.contains("/nowhere/at/all"), "{head:?}");
}

#[test]
fn another_version() {
    // Process 0 is of this version, and hears another one.
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let address = write_hosts(&hosts, 2);
    let head = start_one(&small(2, &[]), 0, &hosts);
    head.wait_for("process 0 awaits");
    let mut old = TcpStream::connect(&address).unwrap();
    let greeting = format!("{{\"version\":\"0.0.1\",\"nonce\":{:?}}}", [0; 32]);
    old.write_all(b"sluicebox cluster 1\n").unwrap();
    old.write_all(&(greeting.len() as u32).to_le_bytes()).unwrap();
    old.write_all(greeting.as_bytes()).unwrap();
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("this is sluicebox 0.0.1, but process 0 is"), "{answer}");
    head.wait_for("is refused: this is sluicebox 0.0.1");
    // This one is of this version, and process 0 of another.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let joins = Process::of(&["join", &other.local_addr().unwrap().to_string()]);
    let (mut stream, _) = other.accept().unwrap();
    stream.write_all(b"sluicebox cluster 1\n").unwrap();
    stream.write_all(&(greeting.len() as u32).to_le_bytes()).unwrap();
    stream.write_all(greeting.as_bytes()).unwrap();
    refused(&joins.end(), "process 0 is sluicebox 0.0.1, but this is");
}

#[test]
fn strangers_change_nothing_and_are_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let address = write_hosts(&hosts, 2);
    let arguments = small(2, &[]);
    let head = start_one(&arguments, 0, &hosts);
    head.wait_for("process 0 awaits");
    let request = || {
        let mut stranger = TcpStream::connect(&address).unwrap();
        stranger.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer); // it may be reset
        assert!(answer.is_empty(), "{answer:?}");
    };
    request();
    head.wait_for("is no process of this job");
    request();
    let _silent = TcpStream::connect(&address).unwrap();
    let other = start_one(&arguments, 1, &hosts);
    head.wait_for("all processes are there");
    request();
    let end = head.end();
    assert_eq!((end.code, other.end().code), (Some(0), Some(0)), "{end:?}");
    assert_eq!(end.said.matches("is no process of this job").count(), 1, "{end:?}");
    // Who comes to something else is told so.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let joins = Process::of(&["join", &server.local_addr().unwrap().to_string()]);
    let (mut stream, _) = server.accept().unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    refused(&joins.end(), "nobody awaits processes there");
}

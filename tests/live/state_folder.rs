//! What is in a state folder besides intact checkpoints: changed manifests, things of others, a pause.

use crate::support::{Running, output, sluicebox};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Arguments of a job of 8 steps an epoch with a checkpoint every 4.
fn arguments(state: &Path, more: &[&str]) -> Vec<String> {
    let sets = ["epoch.steps=8", "checkpoint.steps=4", "device=cpu", "precision=f32", "threads=1"];
    let job = ["run", "pipelines/digits.toml", "--state", state.to_str().unwrap()];
    let sets = sets.iter().chain(more).flat_map(|set| ["--set", *set]);
    job.into_iter().chain(sets).map(String::from).collect()
}

/// Runs the job for so many epochs; returns its exit code and stderr.
fn run(state: &Path, epochs: u64) -> (i32, String) {
    let arguments = arguments(state, &[&format!("stop.epochs={epochs}")]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, _, stderr) = output(&arguments);
    (code, stderr)
}

fn manifest(state: &Path, step: u64) -> PathBuf {
    state.join(format!("step-{step:012}/manifest.json"))
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn a_manifest_that_was_changed_is_damaged_and_one_without_a_checksum_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    assert_eq!(run(state, 1).0, 0);
    let newest = manifest(state, 8);
    let text = std::fs::read_to_string(&newest).unwrap();
    assert!(text.contains("\"manifest_sha256\": \""), "{text}");
    for (from, to) in [("\"step\": 8", "\"step\": 9"), ("\"version\": 6", "\"version\": 7"), ("0.95", "0.96")]
    {
        assert!(text.contains(from));
        std::fs::write(&newest, text.replacen(from, to, 1)).unwrap();
        let (code, said) = run(state, 1);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("skipping a damaged checkpoint") && said.contains("its checksum is wrong"),
            "{said}"
        );
        assert!(said.contains("resuming from step 4"), "{to}: {said}");
    }
    // Written by an earlier version: without a checksum of itself.
    let unsummed =
        |manifest: &mut Value| _ = manifest.as_object_mut().unwrap().remove("manifest_sha256").unwrap();
    edit(&newest, unsummed);
    let (code, said) = run(state, 2);
    assert!(code == 0 && said.contains("resuming from step 8"), "{said}");
    let newest = manifest(state, 16);
    edit(&newest, unsummed);
    edit(&newest, |manifest| manifest["step"] = 1020.into());
    let (code, said) = run(state, 2);
    assert!(code == 0 && said.contains("it is of step 1020, but its folder of step 16"), "{said}");
    assert!(said.contains("resuming from step 12"), "{said}");
}

#[test]
fn things_of_others_with_the_name_of_a_checkpoint_are_left_alone_or_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    assert_eq!(run(state, 1).0, 0);
    for name in ["step-999999", "step-000000000012", "writing"] {
        std::fs::write(state.join(name), name).unwrap();
    }
    symlink(state.join("nowhere"), state.join("step-000000000016")).unwrap();
    symlink(state.join("step-999999"), state.join("step-77")).unwrap();
    let (code, said) = run(state, 3);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("resuming from step 8"), "{said}");
    for name in ["step-999999 ", "step-000000000012 ", "step-000000000016 ", "step-77 "] {
        let named = format!("{name}is named like a checkpoint, but is no folder");
        assert_eq!(said.matches(&named).count(), 1, "{named}: {said}");
    }
    assert_eq!(said.matches("was in the way of a checkpoint (it is no folder)").count(), 3, "{said}");
    for (name, content) in [
        ("step-999999", "step-999999"),
        ("step-77", "step-999999"),
        ("step-000000000012.aside", "step-000000000012"),
        ("writing.aside", "writing"),
    ] {
        assert_eq!(std::fs::read_to_string(state.join(name)).unwrap(), content);
    }
    assert!(std::fs::symlink_metadata(state.join("step-000000000016.aside")).unwrap().is_symlink());
    assert!(manifest(state, 24).exists() && manifest(state, 16).exists());
    // What was moved before is not overwritten.
    std::fs::write(state.join("writing"), "again").unwrap();
    assert_eq!(run(state, 4).0, 0);
    assert_eq!(std::fs::read_to_string(state.join("writing.aside")).unwrap(), "writing");
    assert_eq!(std::fs::read_to_string(state.join("writing.aside-2")).unwrap(), "again");
}

#[test]
fn nothing_but_a_file_with_the_name_of_a_checkpoint_is_no_damaged_state() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("step-5"), "").unwrap();
    let (code, said) = run(folder.path(), 1);
    assert!(code == 0 && said.matches("is no folder").count() == 1, "{said}");
    let (code, said) = run(folder.path(), 1);
    assert!(code == 0 && said.contains("resuming from step 8"), "{said}");
}

/// Owner of this process.
fn user() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_checkpoint_without_permission_is_moved_aside_where_its_step_comes_again() {
    // The permissions of files do not bind root: the job runs as somebody else then.
    const NOBODY: u32 = 65534;
    let as_user = |command: &mut Command| {
        if user() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
    };
    let mut asked = sluicebox();
    as_user(asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()));
    if !asked.status().is_ok_and(|status| status.success()) {
        println!("skipped: nobody but root may run the command here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(&state).unwrap();
    if user() == 0 {
        chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |epochs: u64| {
        let mut command = sluicebox();
        command.args(arguments(&state, &[&format!("stop.epochs={epochs}")]));
        as_user(&mut command);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(1);
    assert_eq!(code, Some(0), "{said}");
    let locked = |step: u64| {
        let path = state.join(format!("step-{step:012}"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    };
    locked(8);
    let (code, said) = run(2);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("skipping a damaged checkpoint") && said.contains("Permission denied"), "{said}");
    assert!(said.contains("resuming from step 4"), "{said}");
    assert_eq!(said.matches("was in the way of a checkpoint (it cannot be removed").count(), 1, "{said}");
    assert!(state.join("step-000000000008.aside").is_dir() && manifest(&state, 16).exists(), "{said}");
    // One that only became too old is as little in the way.
    locked(12);
    let (code, said) = run(4);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("resuming from step 16") && manifest(&state, 32).exists(), "{said}");
    assert_eq!(said.matches("cannot be removed").count(), 1, "{said}");
    for name in ["step-000000000008.aside", "step-000000000012.aside"] {
        std::fs::set_permissions(state.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// Starts a job with a server; returns it, its address and what it said before it listened.
fn start(state: &Path, more: &[&str]) -> (Running, String, String) {
    let mut command = sluicebox();
    command.args(arguments(state, &["stop.epochs=0"])).args(["--listen", "127.0.0.1:0"]).args(more);
    let mut child = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
    let mut said = String::new();
    let address = loop {
        let line = lines.next().unwrap_or_else(|| panic!("{said}"));
        if let Some((_, address)) = line.split_once("listening at http://") {
            break address.to_string();
        }
        said += &line;
    };
    (child, address, said)
}

/// Sends a request and returns the JSON of the answer.
fn ask(address: &str, method: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_pause_outlives_a_restart_until_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let progress = |address: &str| {
        let progress = ask(address, "GET", "/progress.json");
        (progress["epoch"].as_u64().unwrap(), progress["done"].as_u64().unwrap())
    };
    let moves = |address: &str| {
        let before = progress(address);
        for _ in 0..600 {
            sleep(Duration::from_millis(100));
            if progress(address) != before {
                return true;
            }
        }
        false
    };
    let still = |address: &str| {
        let before = progress(address);
        sleep(Duration::from_secs(1));
        progress(address) == before
    };
    let (child, address, said) = start(state, &[]);
    assert!(!said.contains("paused"), "{said}");
    assert!(moves(&address));
    assert_eq!(ask(&address, "POST", "/control/pause")["paused"], true);
    drop(child);

    let (child, address, said) = start(state, &[]);
    assert!(said.contains("the job is still paused") && said.contains("POST /control/resume"), "{said}");
    assert_eq!(ask(&address, "GET", "/progress.json")["paused"], true);
    assert!(still(&address), "it is paused");
    assert_eq!(ask(&address, "POST", "/control/resume")["paused"], false);
    assert!(moves(&address));
    drop(child);

    let (child, address, said) = start(state, &[]);
    assert!(!said.contains("paused"), "{said}");
    assert_eq!(ask(&address, "POST", "/control/pause")["paused"], true);
    drop(child);
    let (child, address, said) = start(state, &["--fresh"]);
    assert!(!said.contains("paused") && moves(&address), "{said}");
    drop(child);
}

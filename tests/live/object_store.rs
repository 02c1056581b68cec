//! A job whose samples are shards in an object store: killed and resumed, with connections that break, it ends with the
//! same weights as from a folder here.

use crate::object_server::{ObjectServer, Trouble};
use crate::support::sluicebox;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const SHARDS: u64 = 12;
const SAMPLES: u64 = 400;

/// Returns an archive of samples of 8 × 8, each of one member.
fn shard(number: u64) -> Vec<u8> {
    let mut archive = Vec::new();
    for id in number * SAMPLES..(number + 1) * SAMPLES {
        let values: Vec<u64> = (0..64).map(|at| (id % 10 * 31 + id % 7 + at * 7) % 17).collect();
        let content = json!({ "values": values, "label": id % 10 }).to_string();
        let mut header = vec![0; 512];
        let name = format!("{id:06}.json");
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(content.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

fn job(path: &str) -> String {
    let classes: Vec<String> = (0..10).map(|class| format!("\"{class}\"")).collect();
    format!(
        "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n\
         [[source]]\nkind = \"digits\"\nweight = 0\n\
         [[source]]\nkind = \"folder\"\npath = {path:?}\nshape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\n\
         classes = [{}]\norder = \"name\"\nfollow = false\nsettle = \"0s\"\n\
         [batch]\nlabelled = 8\nunlabelled = 32\n\
         [model]\nkind = \"mlp\"\nhidden = [32]\n\
         [views]\nweak = []\nstrong = [{{ kind = \"noise\", deviation = 0.2 }}]\n\
         [teacher]\nema = 0.9\n[epoch]\nsteps = 50\n[checkpoint]\nsteps = 7\n",
        classes.join(", ")
    )
}

fn lasting(summary: &Value) -> Vec<Value> {
    ["samples_seen", "steps", "pseudo_label_precision", "weights_sha256"]
        .map(|key| summary[key].clone())
        .into()
}

/// Runs a job to its end, after it was killed at some moments.
fn summary(file: &Path, state: &Path, server: &ObjectServer, kills: &[u64]) -> Value {
    let command = || {
        let mut command = sluicebox();
        command.args(["run", file.to_str().unwrap(), "--state", state.to_str().unwrap()]);
        command.envs(server.environment()).stdin(Stdio::null());
        command
    };
    for moment in kills {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*moment));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    let output = command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap()
}

#[test]
fn sigkill_and_broken_connections_change_nothing() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("shards")).unwrap();
    let server = ObjectServer::start([]);
    for number in 0..SHARDS {
        let (name, content) = (format!("{number:02}.tar"), shard(number));
        std::fs::write(at("shards").join(&name), &content).unwrap();
        server.put(&format!("bucket/shards/{name}"), content);
    }
    std::fs::write(at("here.toml"), job(at("shards").to_str().unwrap())).unwrap();
    std::fs::write(at("there.toml"), job("s3://bucket/shards")).unwrap();
    let here = summary(&at("here.toml"), &at("state-here"), &server, &[]);
    assert_eq!(here["samples_seen"], SHARDS * SAMPLES);
    assert!(server.requests().is_empty());
    for number in 0..SHARDS {
        let troubles =
            [Trouble::CutAfter(100_000), Trouble::Status(503), Trouble::CutAfter(7), Trouble::NoAnswer];
        server.trouble(&format!("bucket/shards/{number:02}.tar"), &troubles);
    }
    let there = summary(&at("there.toml"), &at("state-there"), &server, &[300, 500, 700, 900, 1100]);
    assert_eq!(lasting(&there), lasting(&here));
    let parts = server.requests().iter().filter(|request| request.contains("bytes=")).count();
    assert!(parts > 0, "no connection was broken");
}

#[test]
fn what_cannot_be_read_is_refused_when_a_job_is_checked_or_started() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("job.toml");
    let server = ObjectServer::start([]);
    server.served.lock().unwrap().always = Some(Trouble::Status(403));
    for (command, path, says) in [
        (
            "check",
            "https://host/folder",
            "source[1].path: a web server does not say which files a folder holds",
        ),
        (
            "check",
            "sftp://host/folder",
            "`sftp://` cannot be read; s3://, gs://, az://, https:// and http:// can",
        ),
        ("run", "s3://bucket/shards", "s3://bucket/shards: access is denied (403); set AWS_ACCESS_KEY_ID"),
    ] {
        std::fs::write(&file, job(path)).unwrap();
        let output = sluicebox().args([command, file.to_str().unwrap()]).envs(server.environment()).output();
        let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
        assert!(said.contains(says), "{said}");
    }
    let output = sluicebox().args(["run", "pipelines/digits.toml", "--state", "s3://bucket/state"]).output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.contains("s3://bucket/state: is a URL, but --state needs a folder"), "{said}");
}

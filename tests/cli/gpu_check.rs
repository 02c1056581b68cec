//! The script for the first minutes on a GPU: what fails does not stop it, and it ends when its time is up. Its dry
//! run on a pretended device is in `tests/pretended_cuda`.

use crate::support::root;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs the script with a program that always fails: returns its exit code and its rows; None without Python.
fn check(folder: &Path, budget: &str) -> Option<(Option<i32>, Vec<Value>)> {
    if !Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3");
        return None;
    }
    let program = folder.join("program");
    let text = "#!/bin/sh\n[ \"$1\" = list ] && { printf 'methods\\n  one  a\\n  two  b\\n'; exit; }\n\
                echo no such device >&2\nexit 3\n";
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let results = folder.join("results");
    let output = Command::new(root().join("scripts/gpu-check.sh"))
        .args(["--dry".as_ref(), folder])
        .envs([("OUT", &results), ("SLUICEBOX", &program)])
        .env("BUDGET", budget)
        .output()
        .unwrap();
    assert!(results.join("summary.md").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = std::fs::read_to_string(results.join("results.jsonl")).unwrap();
    Some((output.status.code(), rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()))
}

#[test]
fn what_fails_does_not_stop_the_gpu_check() {
    let folder = tempfile::tempdir().unwrap();
    let Some((code, rows)) = check(folder.path(), "100000") else { return };
    assert_eq!(code, Some(1));
    let ran = |name: &str| rows.iter().find(|row| row["name"] == name && row["exit_code"] == 3);
    for name in
        ["light", "light-blocking", "digits-cpu", "wide-64-448", "gate", "resumed", "predict", "method-two"]
    {
        assert!(ran(name).is_some(), "{name}: {rows:?}");
    }
    assert_eq!(ran("light").unwrap()["note"], "no such device");
}

#[test]
fn the_gpu_check_begins_nothing_when_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_, rows)) = check(folder.path(), "0") else { return };
    assert!(rows.len() > 10 && rows.iter().all(|row| row["exit_code"].is_null()), "{rows:?}");
}

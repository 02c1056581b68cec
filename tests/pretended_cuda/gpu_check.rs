//! The script for the first minutes on a GPU, tried in small: every step of it works on the pretended device.

use crate::library;
use crate::support::{output, root};
use serde_json::Value;
use std::process::Command;

#[test]
fn every_step_of_the_gpu_check_works() {
    let Some(device) = library::folder() else { return };
    if !Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3");
        return;
    }
    let results = tempfile::tempdir().unwrap();
    let ended = Command::new(root().join("scripts/gpu-check.sh"))
        .args(["--dry".as_ref(), device])
        .envs([("OUT", results.path().as_os_str()), ("SLUICEBOX", env!("CARGO_BIN_EXE_sluicebox").as_ref())])
        .env("BUDGET", "100000")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&ended.stderr));
    let rows = std::fs::read_to_string(results.path().join("results.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let row = |name: &str| {
        let found = rows.iter().find(|row| row["name"] == name);
        found.unwrap_or_else(|| panic!("there is no step {name}: {told}"))
    };
    for row in &rows {
        let name = row["name"].as_str().unwrap();
        let elsewhere = ["pytorch", "stages", "predict"].contains(&name);
        let device = if name == "digits-cpu" { "cpu" } else { "cuda:0" };
        assert!(elsewhere || (row["exit_code"] == 0 && row["device"] == device), "{row}");
    }
    for name in ["light", "digits-long", "net28-64-1792", "wide-64-448", "flexmatch", "late-labels", "gate"] {
        assert!(row(name)["samples_per_s"].as_f64().unwrap() > 0.0, "{}", row(name));
    }
    assert!(row("predict")["note"].as_str().unwrap().contains("answers"), "{}", row("predict"));
    assert_eq!(row("digits")["weights"], row("digits-again")["weights"]);
    assert_eq!(row("unharmed")["weights"], row("resumed")["weights"]);
    let list = output(&["list"]).1;
    let methods = list.split("\nmethods\n").nth(1).unwrap().lines().take_while(|line| line.starts_with(' '));
    for method in methods {
        row(&format!("method-{}", method.split_whitespace().next().unwrap()));
    }
}

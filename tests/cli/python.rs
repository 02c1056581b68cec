//! A Python with torch, for tests of what is exported.

use crate::support::root;
use std::path::Path;
use std::process::Command;

/// Returns a Python that has torch and safetensors, if there is one.
pub fn python() -> Option<String> {
    let candidates = ["python3".to_string()].into_iter().chain(std::env::var("SLUICEBOX_PYTHON").ok());
    let found = candidates.into_iter().find(|python| {
        let probe = Command::new(python).args(["-c", "import torch, safetensors.torch"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        eprintln!("skipped: no Python with torch and safetensors (name one in SLUICEBOX_PYTHON)");
    }
    found
}

/// Runs code in a folder and returns what it prints.
pub fn printed(python: &str, folder: &Path, code: &str) -> String {
    let command = Command::new(python)
        .current_dir(folder)
        .env("PYTHONPATH", root().join("python"))
        .args(["-c", code])
        .output()
        .unwrap();
    assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
    String::from_utf8_lossy(&command.stdout).into_owned()
}

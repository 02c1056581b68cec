//! An exported model in PyTorch, with the code from the README.

use crate::support::{output, root};
use serde_json::Value;
use std::process::Command;

/// Returns a Python that has torch and safetensors, if there is one.
fn python() -> Option<String> {
    let candidates = ["python3".to_string()].into_iter().chain(std::env::var("SLUICEBOX_PYTHON").ok());
    candidates.into_iter().find(|python| {
        let probe = Command::new(python).args(["-c", "import torch, safetensors.torch"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn an_exported_model_says_in_pytorch_what_it_says_here() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with torch and safetensors (name one in SLUICEBOX_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = ["run", "pipelines/digits.toml", "--set", "stop.epochs=2", "--set", "precision=f32", "--state"];
    let (code, stdout, stderr) = output(&[&run[..], &[state.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let model = folder.path().join("model.safetensors");
    let (code, _, stderr) = output(&["export", state.to_str().unwrap(), "--to", model.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    // The README's code, then the same held-out digits: the seed's split, given as indices.
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let check = "\nimport json\nprint(json.dumps({k: list(v.shape) for k, v in model.state_dict().items()}))\n\
                 print(model(torch.zeros(2, 1, 8, 8)).shape == (2, 10))\n";
    let output = Command::new(python)
        .current_dir(folder.path())
        .env("PYTHONPATH", root().join("benches/pytorch"))
        .args(["-c", &format!("{lines}{check}")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.lines().last() == Some("True"), "{text}");
    assert!(text.contains("\"features.0.weight\": [32, 1, 3, 3]"), "{text}");
    assert!(summary["accuracy"].as_f64().unwrap() > 0.5);
}

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

#[test]
fn the_wide_network_to_compare_with_is_ours() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with torch and safetensors (name one in SLUICEBOX_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<u8> = (0..40u8).flat_map(|at| [vec![at % 10], vec![at; 3072]].concat()).collect();
    for part in 1..=5 {
        std::fs::write(folder.path().join(format!("data_batch_{part}.bin")), &records).unwrap();
    }
    std::fs::write(folder.path().join("test_batch.bin"), &records).unwrap();
    let (state, model) = (folder.path().join("state"), folder.path().join("model.safetensors"));
    let data = format!("source.path={}", folder.path().display());
    let sets = [
        &data,
        "model.kind=wide-resnet",
        "source.labelled_per_class=2",
        "batch.labelled=2",
        "batch.unlabelled=4",
        "epoch.steps=1",
        "stop.epochs=1",
    ];
    let mut run = vec!["run", "pipelines/cifar.toml", "--state", state.to_str().unwrap()];
    sets.iter().for_each(|set| run.extend(["--set", set]));
    for arguments in [&run[..], &["export", state.to_str().unwrap(), "--to", model.to_str().unwrap()]] {
        let (code, _, stderr) = output(arguments);
        assert_eq!(code, 0, "{stderr}");
    }
    let check = "from safetensors.torch import load_file\nfrom nets import WideResNet\nnet = WideResNet()\n\
                 net.load_state_dict(load_file('model.safetensors'))\n\
                 print(sum(part.numel() for part in net.parameters()))";
    let output = Command::new(python)
        .current_dir(folder.path())
        .env("PYTHONPATH", root().join("benches/pytorch"))
        .args(["-c", check])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1467610");
}

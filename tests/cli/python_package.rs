//! The Python package: its client against a running job, and the wheel in an environment of its own.

use crate::python::python;
use crate::support::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns a Python that has NumPy and pytest, if there is one.
fn with_pytest() -> Option<String> {
    let candidates = ["python3".to_string()].into_iter().chain(std::env::var("SLUICEBOX_PYTHON").ok());
    let found = candidates.into_iter().find(|python| {
        let probe = Command::new(python).args(["-c", "import numpy, pytest"]).output();
        probe.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        eprintln!("skipped: no Python with numpy and pytest (name one in SLUICEBOX_PYTHON)");
    }
    found
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
    stdout + &stderr
}

#[test]
fn the_client_feeds_a_job_exactly_once() {
    let Some(python) = with_pytest() else { return };
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "python/tests"]).current_dir(root());
    tests.env("SLUICEBOX", env!("CARGO_BIN_EXE_sluicebox")).env("PYTHONDONTWRITEBYTECODE", "1");
    let said = succeeds(tests.env("SLUICEBOX_JOB", root().join("pipelines/http.toml")));
    assert!(said.contains("passed") && !said.contains("failed"), "{said}");
}

/// Returns a folder with the two commands; that of the client is built if it is not there, or old.
fn binaries(folder: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_sluicebox"));
    let client = built.with_file_name("sluicebox-client");
    let build = ["build", "--release", "-p", "sluicebox-client", "--bin", "sluicebox-client"];
    succeeds(Command::new(env!("CARGO")).current_dir(root()).args(build));
    let both = folder.join("binaries");
    std::fs::create_dir(&both).unwrap();
    for binary in [built, &client] {
        std::fs::copy(binary, both.join(binary.file_name().unwrap())).unwrap();
    }
    both
}

#[test]
fn the_wheel_runs_the_digits_with_the_libtorch_of_the_installed_torch() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut build = Command::new(root().join("scripts/wheel"));
    build.arg(path("dist")).env("PYTHON", &python).env("SLUICEBOX_BINARIES", binaries(folder.path()));
    succeeds(&mut build);
    let wheel = std::fs::read_dir(path("dist")).unwrap().next().unwrap().unwrap().path();
    assert!(wheel.to_str().unwrap().contains("-py3-none-manylinux_2_"), "{}", wheel.display());

    // Fresh, but for the torch of that Python: a second one would be 1.3 GB.
    let torch = succeeds(Command::new(&python).args(["-c", "import torch; print(torch.__path__[0])"]));
    let site = Path::new(torch.trim()).parent().unwrap();
    let environment = |name: &str| {
        succeeds(Command::new(&python).args(["-m", "venv"]).arg(path(name)));
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps"];
        succeeds(Command::new(path(name).join("bin/python")).args(pip).arg(&wheel));
        path(name).join("bin")
    };
    let bare = environment("bare");
    let refused = Command::new(bare.join("sluicebox")).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("pip install torch==2.11.0"), "{said}");
    succeeds(Command::new(bare.join("sluicebox-client")).args(["sample", "digits", "-n", "3"]));

    let bin = environment("with-torch");
    let packages = succeeds(
        Command::new(bin.join("python"))
            .args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]),
    );
    std::fs::write(Path::new(packages.trim()).join("torch-elsewhere.pth"), format!("{}\n", site.display()))
        .unwrap();
    let state = path("state");
    let mut run = Command::new(bin.join("sluicebox"));
    run.current_dir(folder.path()).arg("run").arg(root().join("pipelines/digits.toml"));
    run.args(["--set", "stop.epochs=2", "--set", "threads=1", "--state"]).arg(&state);
    assert!(succeeds(&mut run).contains("weights_sha256"));
    let network = path("model.safetensors");
    succeeds(Command::new(bin.join("sluicebox")).arg("export").arg(&state).arg("--to").arg(&network));
    let code = "import sluicebox, torch\nnetwork = sluicebox.load('model.safetensors')\n\
                assert isinstance(network, torch.nn.Module)\n\
                print(tuple(network(torch.zeros(3, *network.about.shape)).shape), network.about.classes[9])";
    let mut load = Command::new(bin.join("python"));
    let said = succeeds(load.current_dir(folder.path()).args(["-c", code]));
    assert_eq!(said.trim(), "(3, 10) 9");

    // Another version of torch is refused by name.
    let other = path("other/torch");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("__init__.py"), "").unwrap();
    std::fs::write(other.join("version.py"), "__version__ = '2.10.1+cpu'\n").unwrap();
    let mut list = Command::new(bare.join("sluicebox"));
    let refused = list.arg("list").env("PYTHONPATH", path("other")).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("torch 2.10.1 is installed"), "{said}");
}

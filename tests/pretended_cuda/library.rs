//! Builds the pretended device.

use crate::support::root;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const LIBTORCH: &str = env!("LIBTORCH");

/// Returns the folder of the pretended device's library, which is built again when its sources have changed. None,
/// with a message, where there is no C++ compiler.
pub fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        match Command::new(&compiler).arg("--version").output() {
            Ok(output) if output.status.success() => Some(built()),
            _ => {
                eprintln!(
                    "skipped: there is no C++ compiler `{compiler}` to build the pretended CUDA device with"
                );
                None
            }
        }
    });
    folder.as_deref()
}

fn built() -> PathBuf {
    let sources = root().join("tests/pretended_cuda");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pretended-cuda-{}", digest(&sources)));
    if !folder.join("libtorch_cuda.so").exists() {
        let script = sources.join("build.sh");
        let output = Command::new(script).arg(&folder).env("LIBTORCH", LIBTORCH).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}

/// Returns a digest of what the library is made of.
fn digest(sources: &Path) -> String {
    let files = std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path());
    let of_library =
        |path: &PathBuf| ["cpp", "h", "sh"].iter().any(|end| path.extension() == Some(end.as_ref()));
    let mut files: Vec<PathBuf> = files.filter(of_library).collect();
    files.sort();
    let mut digest = Sha256::new();
    digest.update(LIBTORCH);
    files.iter().for_each(|file| digest.update(std::fs::read(file).unwrap()));
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

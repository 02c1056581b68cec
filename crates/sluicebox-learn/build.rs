//! Checks libtorch's version and lets every binary find it from any folder.

use std::path::{Path, PathBuf};
use std::process::exit;

const WANT: &str = "2.11.0";

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        stop("LIBTORCH is not set; run scripts/setup in the project's folder");
    };
    let lib = libtorch.join("lib");
    if !lib.is_dir() {
        stop(&format!(
            "there is no libtorch in {}; run scripts/setup, or set LIBTORCH to a libtorch {WANT} folder",
            libtorch.display()
        ));
    }
    match version(&libtorch) {
        Some(have) if have == WANT => {}
        Some(have) => stop(&format!(
            "{} holds libtorch {have}, but {WANT} is needed; unset LIBTORCH and run scripts/setup",
            libtorch.display()
        )),
        None => println!(
            "cargo:warning=the version of libtorch in {} is unknown; {WANT} is needed",
            libtorch.display()
        ),
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}

/// A zip of libtorch has `build-version`, a Python wheel `version.py`.
fn version(libtorch: &Path) -> Option<String> {
    let text = std::fs::read_to_string(libtorch.join("build-version")).ok().or_else(|| {
        let file = std::fs::read_to_string(libtorch.join("version.py")).ok()?;
        let line = file.lines().find(|line| line.starts_with("__version__"))?;
        Some(line.split(['\'', '"']).nth(1)?.to_string())
    })?;
    Some(text.trim().split('+').next()?.to_string())
}

fn stop(message: &str) -> ! {
    // `cargo::error` is shown without the script's other output.
    println!("cargo::error={message}");
    exit(1)
}

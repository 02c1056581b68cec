//! The library that makes system calls of a job fail, and its trace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Kinds of calls that can fail.
pub const OPS: [&str; 7] = ["write", "sync", "rename", "open", "remove", "mkdir", "accept"];

/// What a call that fails does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// It ends the process by SIGKILL.
    Kill,
    /// It and as many calls in all return this error.
    Error(i32, u64),
}

/// A call that fails: the `at`-th of its kind, from 1.
#[derive(Debug, Clone)]
pub struct Fault {
    pub op: &'static str,
    pub at: u64,
    pub effect: Effect,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { op, at, effect } = self;
        match effect {
            Effect::Kill => write!(f, "{op} {at} kills"),
            Effect::Error(error, 1) => {
                write!(f, "{op} {at} fails: {}", std::io::Error::from_raw_os_error(*error))
            }
            Effect::Error(error, calls) => {
                write!(
                    f,
                    "{op} {at} and up to {calls} calls fail: {}",
                    std::io::Error::from_raw_os_error(*error)
                )
            }
        }
    }
}

/// Builds the library; None, with a message, where there is no C compiler.
pub fn build() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"];
        let Ok(status) = Command::new("cc").args(flags).arg(&library).arg(source).status() else {
            eprintln!("skipped: there is no C compiler `cc`");
            return None;
        };
        assert!(status.success(), "tests/faults/shim.c does not compile");
        Some(library)
    });
    built.as_deref()
}

/// Returns the environment that loads the library into a job whose files are in `folder`.
pub fn environment(folder: &Path, trace: &Path, fault: Option<&Fault>) -> Vec<(String, String)> {
    let mut all = vec![
        ("LD_PRELOAD", build().unwrap().display().to_string()),
        ("FAULT_UNDER", format!("{}/", folder.display())),
        ("FAULT_TRACE", trace.display().to_string()),
    ];
    if let Some(Fault { op, at, effect }) = fault {
        let (error, calls) = match effect {
            Effect::Kill => (0, 1),
            Effect::Error(error, calls) => (*error, *calls),
        };
        all.extend([
            ("FAULT_OP", op.to_string()),
            ("FAULT_AT", at.to_string()),
            ("FAULT_ERRNO", error.to_string()),
            ("FAULT_FOR", calls.to_string()),
        ]);
    }
    all.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// What a job did to its files.
#[derive(Default, Clone)]
pub struct Trace {
    /// Of each file, the first byte that was written and not synced since.
    pub unsynced: BTreeMap<PathBuf, u64>,
    /// Whether the fault happened.
    pub hit: bool,
}

impl Trace {
    pub fn read(path: &Path) -> Self {
        let mut trace = Self::default();
        let text = std::fs::read(path).unwrap_or_default();
        let mut moved = None;
        for line in String::from_utf8_lossy(&text).lines() {
            let mut parts = line.splitn(4, '\t');
            let (Some(kind), Some(first), Some(_), Some(path)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue; // the last line of a process that was killed
            };
            let path = PathBuf::from(path);
            match kind {
                "write" => {
                    let first: u64 = first.parse().unwrap();
                    let from = trace.unsynced.entry(path).or_insert(first);
                    *from = first.min(*from);
                }
                "sync" | "remove" => drop(trace.unsynced.remove(&path)),
                "from" => moved = Some(trace.unsynced.remove(&path)),
                "to" => {
                    trace.unsynced.remove(&path);
                    if let Some(first) = moved.take().flatten() {
                        trace.unsynced.insert(path, first);
                    }
                }
                _ => trace.hit |= kind == "fault",
            }
        }
        trace
    }
}

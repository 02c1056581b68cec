//! The client's command: for machines without libtorch.

use std::process::Command;

const CLIENT: &str = env!("CARGO_BIN_EXE_sluicebox-client");

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(CLIENT).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_needs_no_libtorch() {
    let binary = std::fs::read(CLIENT).unwrap();
    for library in ["libtorch", "libc10"] {
        let names = binary.windows(library.len()).any(|window| window == library.as_bytes());
        assert!(!names, "the client names {library}");
    }
    if !cfg!(debug_assertions) {
        // 9 MB of it read Parquet and Arrow, and object stores.
        assert!(binary.len() < 28_000_000, "{} bytes", binary.len());
    }
}

#[test]
fn it_has_the_four_commands_and_names_what_is_wrong() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for command in ["feed", "label", "watch", "plot"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(!help.contains("\n  run "), "{help}");
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = run(&["plot", folder.path().to_str().unwrap(), "-o", "out.svg"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
}

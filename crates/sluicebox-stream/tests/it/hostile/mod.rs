//! Every decoder on inputs that are meant to break it: kept files, what becomes of them when they are cut or
//! damaged, and inputs too large to keep. No fuzzer is needed for this; `scripts/fuzz` searches for new ones.

mod decoders;

use decoders::{DECODERS, Decoder};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Time for one input. Each takes a second or two at most, and mostly far less: what passes this hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest input that is also tried damaged at every byte.
const DAMAGED: usize = 600;
/// In the name of an image that claims to be large: it takes a second, and is tried as it is.
const LARGE: &str = "claims";
/// Decoders of text, which may be long.
const TEXTS: [&str; 4] = ["csv", "json", "labels", "ndjson"];

/// Runs a decoder on inputs in a thread of its own; fails with the name of the input that panics or hangs.
fn run(name: &str, decoder: Decoder, inputs: Vec<(String, Vec<u8>)>) {
    let (started, at) = channel();
    let thread = std::thread::spawn(move || {
        for (input, bytes) in inputs {
            let _ = started.send(input);
            decoder(&bytes);
        }
    });
    let mut input = String::new();
    loop {
        match at.recv_timeout(PATIENCE) {
            Ok(next) => input = next,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs on {input}"),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{name} panics on {input}");
}

/// Returns the kept inputs of a decoder.
fn kept(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "there is no input in {}", folder.display());
    files.iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn kept_inputs_and_damaged_ones_end_without_a_panic() {
    for (name, decoder) in DECODERS {
        let mut inputs = kept(name);
        let small = |(file, bytes): &(String, Vec<u8>)| bytes.len() <= DAMAGED && !file.contains(LARGE);
        for (file, bytes) in kept(name).into_iter().filter(small) {
            for at in 0..bytes.len() {
                inputs.push((format!("{file}, cut at {at}"), bytes[..at].to_vec()));
                for new in [0, bytes[at] ^ 1, bytes[at] ^ 0x80, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] = new;
                    inputs.push((format!("{file}, byte {at} is {new}"), bytes));
                }
            }
        }
        run(name, decoder, inputs);
    }
}

#[test]
fn large_texts_end_without_a_panic() {
    const BYTES: usize = 17 << 20; // above the longest line, 16 MiB
    for (name, decoder) in DECODERS.into_iter().filter(|(name, _)| TEXTS.contains(name)) {
        let parts = ["[", "{\"values\":", "1,", ",", "\"", "[1,2],", "{\"id\":1,", "9", " "];
        let inputs = parts.map(|part| {
            let text = part.repeat(BYTES / part.len());
            (format!("`{part}` for {BYTES} bytes"), [b"\0\0", text.as_bytes()].concat())
        });
        run(name, decoder, inputs.into());
    }
}

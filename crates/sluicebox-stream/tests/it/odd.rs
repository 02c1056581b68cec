//! Inputs as they come from damaged disks, other tools and odd habits (`tests/data/odd`, with the script that writes them):
//! each gives the right value, or says what is wrong and is counted. `expected.txt` was checked by hand.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Samples, Values};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/odd")
}

/// Reads a file by the source `files` and tells all that becomes of it.
fn read(name: &str, options: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let once = "labelled_per_class = 0\nshuffle_buffer = 1\nrepeat = false\nmax_bad = 1.0\n";
    let mut options: toml::Table = format!("{once}{}", options.replace(';', "\n")).parse().unwrap();
    options.insert("path".into(), folder().join(name).to_str().unwrap().into());
    let context = Context { state: Some(state.path().into()), ..Context::default() };
    let mut told = String::new();
    let built = (SOURCES.find("files").unwrap().build)(&Spec { kind: "files".into(), options }, &context);
    let mut source = match built {
        Ok(source) => source,
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.split_once(&format!("{name}: ")).map_or(&*reason, |(_, reason)| reason);
            return format!("refused: {reason}\n");
        }
    };
    let format = source.format().clone();
    writeln!(told, "{}, {}, {:?}", format.shape, format.dtype.name(), format.classes).unwrap();
    let mut samples = Samples::none(format.dtype);
    while source.read(7, &mut samples).unwrap() != ReadProgress::End {}
    let values: Vec<f32> = match &samples.values {
        Values::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        Values::F32(values) => values.clone(),
    };
    for (at, sample) in values.chunks(format.shape.len()).enumerate() {
        let class =
            usize::try_from(samples.truth.reveal()[at]).map_or("none", |class| &format.classes[class]);
        let id = samples.names.iter().find(|(place, _)| *place == at);
        let id = id.map_or(String::new(), |(_, id)| format!(", id {}", id.text));
        writeln!(told, "{sample:?} is {class:?}{id}").unwrap();
    }
    let letters = std::fs::read_to_string(state.path().join("dead-letter.jsonl")).unwrap_or_default();
    for letter in letters.lines() {
        let letter: serde_json::Value = serde_json::from_str(letter).unwrap();
        writeln!(told, "dead: {}: {}", letter["line"], letter["reason"].as_str().unwrap()).unwrap();
    }
    assert_eq!(letters.lines().count() as u64, source.dead_letters(), "{name}: every bad record is counted");
    told.replace('\0', "\\0") // the file of what is expected is a text
}

#[test]
fn every_odd_input_is_read_right_or_refused() {
    let expected = std::fs::read_to_string(folder().join("expected.txt")).unwrap();
    let mut found = String::new();
    for case in expected.lines().filter_map(|line| line.strip_prefix("== ")) {
        let (name, options) = case.split_once(" | ").unwrap_or((case, ""));
        write!(found, "== {case}\n{}", read(name, options)).unwrap();
    }
    for (found, expected) in found.split("== ").zip(expected.split("== ")) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    assert!(expected.matches("== ").count() > 70);
}

//! Records by name (`tests/data/json`, written by pandas): each gives its 60 rows, or says what is wrong.

use sluicebox_core::sample::{Dtype, Format, Shape, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::decode::table::{self, Column};
use sluicebox_stream::decode::{self, DecodeError, Options, Record};
use std::path::{Path, PathBuf};

const COUNT: usize = 60;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/json").join(name)
}

fn format() -> Format {
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    Format { shape: Shape::Vector { features: 3 }, dtype: Dtype::F32, scale: 1.0, classes }
}

fn options(more: table::Options) -> Options {
    let columns = |names: &[&str]| names.iter().map(|name| Column::from(*name)).collect();
    let (features, ignore) = (columns(&["f1", "f2", "ok"]), columns(&["when"]));
    Options { table: table::Options { features, ignore, ..more }, ..Options::default() }
}

/// Returns the records of a file and the reasons why others are bad.
fn read(name: &str, options: &Options) -> (Vec<Record>, Vec<(u64, String)>) {
    let mut records = decode::open(&data(name), &format(), options).unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    loop {
        match records.next_record() {
            Ok(None) => return (good, bad),
            Ok(Some(record)) => good.push(record),
            Err(DecodeError::Bad { line, reason, .. }) => bad.push((line, reason)),
            Err(DecodeError::Broken(reason)) => panic!("{name}: {reason}"),
        }
    }
}

#[test]
fn the_records_of_pandas_are_read() {
    let with_class = || table::Options { class: Some("kind".into()), ..table::Options::default() };
    for (name, missing) in [("records.jsonl", 6), ("records.jsonl.gz", 6), ("reversed.ndjson", 55)] {
        let (mut records, bad) = read(name, &options(with_class()));
        assert_eq!(bad, [(missing, "the value of `f2` is missing".to_string())], "{name}");
        if name == "reversed.ndjson" {
            records.reverse();
        }
        let expected = (0..COUNT).filter(|at| *at != 5).map(|at| Record {
            id: SampleId::plain(&format!("row-{at}")).ok(),
            values: Values::F32(vec![at as f32, at as f32 / 4.0, f32::from(at % 2 == 0)]),
            class: (at != 7).then(|| ["ant", "bee", "cat"][at % 3].to_string()),
        });
        assert_eq!(records, expected.collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn what_a_job_does_not_say_of_the_keys_is_asked_for() {
    let (records, bad) = read("records.jsonl", &options(table::Options::default()));
    assert!(records.is_empty() && bad.len() == COUNT);
    assert!(bad[0].1.contains("unknown key `kind`") && bad[0].1.contains("source.ignore"), "{}", bad[0].1);
    let (records, bad) = read("records.jsonl", &Options::default());
    assert!(records.is_empty() && bad[0].1.contains("unknown key `f1`"), "{}", bad[0].1);
    assert!(bad[0].1.contains("source.features = "), "{}", bad[0].1);
    let fewer = Format { shape: Shape::Vector { features: 2 }, ..format() };
    let opened = decode::open(&data("records.jsonl"), &fewer, &options(table::Options::default()));
    let reason = opened.err().unwrap().to_string();
    assert!(reason.contains("names 3 features, but a sample has 2 values"), "{reason}");
}

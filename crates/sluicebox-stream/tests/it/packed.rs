//! Packed files (`tests/data/packed`, written by Python and zstd): each gives what the plain file holds, or says that it
//! is damaged.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::{self, DecodeError, Record};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/packed").join(name)
}

fn format(features: usize) -> Format {
    let classes = vec!["ant".to_string(), "bee".to_string()];
    Format { shape: Shape::Vector { features }, dtype: Dtype::F32, scale: 1.0, classes }
}

/// Reads a file as a folder or a feeder does.
fn read(path: &Path, features: usize) -> Result<Vec<Record>, String> {
    let opened = decode::open(path, &format(features), &decode::Options::default());
    let mut records = opened.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    loop {
        match records.next_record() {
            Ok(Some(record)) => all.push(record),
            Ok(None) => return Ok(all),
            Err(DecodeError::Bad { .. }) => {}
            Err(DecodeError::Broken(reason)) => return Err(reason),
        }
    }
}

fn source(kind: &str, options: &str) -> Result<Box<dyn Source>, String> {
    let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
    (SOURCES.find(kind).unwrap().build)(&spec, &Context::default()).map_err(|error| error.to_string())
}

#[test]
fn a_packed_file_is_read_as_the_plain_one() {
    let plain = read(&data("rows.csv"), 2).unwrap();
    assert_eq!(plain.len(), 40);
    for ending in ["gz", "xz", "zst", "zip"] {
        assert_eq!(read(&data(&format!("rows.csv.{ending}")), 2).as_ref(), Ok(&plain), "{ending}");
    }
    assert_eq!(read(&data("one.npz"), 4).unwrap().len(), 12);
    let known = read(&data("rows.csv.bz2"), 2).unwrap_err();
    assert!(known.contains("each with or without .gz, .zst, .xz or .zip"), "{known}");
}

#[test]
fn a_truncated_or_damaged_file_is_no_good_one() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["gz", "xz", "zst", "zip"] {
        let name = format!("rows.csv.{ending}");
        let whole = std::fs::read(data(&name)).unwrap();
        let path = folder.path().join(&name);
        for cut in [1, 9, whole.len() / 3] {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert!(read(&path, 2).is_err(), "{name} without its last {cut} bytes");
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        let plain = read(&data("rows.csv"), 2);
        assert!(read(&path, 2).is_err() || read(&path, 2) == plain, "{name}");
    }
    // The bytes of the array are as they are in an npz that is not packed.
    let mut array = std::fs::read(data("one.npz")).unwrap();
    let at = array.windows(4).position(|bytes| bytes == 7f32.to_le_bytes()).unwrap();
    array[at] ^= 1;
    let path = folder.path().join("one.npz");
    std::fs::write(&path, &array).unwrap();
    assert!(read(&path, 4).unwrap_err().contains("a checksum is wrong"));
}

#[test]
fn arrays_in_an_npz_are_named() {
    for archive in ["arrays.npz", "arrays-small.npz"] {
        let options = |samples: &str| {
            let folder = data("");
            format!(
                "path = {:?}\nsamples = \"{archive}/{samples}\"\nlabels = \"{archive}/y\"\nrepeat = false\nlabelled_per_class = 1",
                folder.to_str().unwrap()
            )
        };
        let mut arrays = source("npy", &options("x")).unwrap();
        assert_eq!(arrays.format().classes, ["0", "1", "2"]);
        let labelled = arrays.labelled().unwrap();
        let mut samples = Samples::none(Dtype::F32);
        while arrays.read(5, &mut samples).unwrap() != ReadProgress::End {}
        let (Values::F32(first), Values::F32(then)) = (labelled.values, samples.values) else { panic!() };
        let mut all = [first, then].concat();
        all.sort_by(f32::total_cmp);
        assert_eq!(all, (0..48).map(|value| value as f32).collect::<Vec<f32>>());
        let error = source("npy", &options("z")).err().unwrap();
        assert!(error.contains("the zip holds no `z` (it holds x.npy, y.npy)"), "{error}");
        let error = read(&data(archive), 4).unwrap_err();
        assert!(error.contains("the zip holds 2 files (x.npy, y.npy)"), "{error}");
    }
}

#[test]
fn a_restored_stream_of_a_packed_table_goes_on_where_it_was() {
    for ending in ["csv", "csv.gz", "csv.xz", "csv.zst", "csv.zip"] {
        let path = data(&format!("rows.{ending}"));
        let options = format!("path = {:?}\nlabelled_first = 10", path.to_str().unwrap());
        let mut whole = source("csv", &options).unwrap();
        whole.labelled().unwrap();
        whole.read(7, &mut Samples::none(Dtype::F32)).unwrap();
        let mut resumed = source("csv", &options).unwrap();
        resumed.load(&whole.save().unwrap()).unwrap();
        let (mut rest, mut same) = (Samples::none(Dtype::F32), Samples::none(Dtype::F32));
        whole.read(100, &mut rest).unwrap();
        resumed.read(100, &mut same).unwrap();
        assert!(rest == same && rest.len() == 23, "{ending}");
    }
}

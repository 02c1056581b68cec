//! Tar archives of samples (`tests/data/tars`, written by the Python package `webdataset`): each gives what that package
//! reads, and what it does not refuse but should.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::table::Column;
use sluicebox_stream::decode::{self, DecodeError, Options, Record};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tars").join(name)
}

#[derive(serde::Deserialize)]
struct Expected {
    key: String,
    values: Vec<f32>,
    label: Option<String>,
}

fn expected() -> BTreeMap<String, Vec<Expected>> {
    serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap()
}

fn images() -> Format {
    let shape = Shape::Image { channels: 3, height: 3, width: 4 };
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    Format { shape, dtype: Dtype::U8, scale: 1.0, classes }
}

fn arrays() -> Format {
    Format { shape: Shape::Vector { features: 3 }, dtype: Dtype::F32, ..images() }
}

fn keyed() -> Options {
    let mut options = Options::default();
    options.table.id = Some(Column::Name("__key__".into()));
    options
}

/// Reads a file to its end or to where it breaks: good records, bad ones by number, and why it broke.
fn read(
    path: &Path,
    format: &Format,
    options: &Options,
) -> (Vec<Record>, Vec<(u64, String)>, Option<String>) {
    let mut records = decode::open(path, format, options).unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    loop {
        match records.next_record() {
            Ok(Some(record)) => good.push(record),
            Ok(None) => return (good, bad, None),
            Err(DecodeError::Bad { line, reason, .. }) => bad.push((line, reason)),
            Err(DecodeError::Broken(reason)) => return (good, bad, Some(reason)),
        }
    }
}

#[test]
fn every_archive_is_as_webdataset_reads_it() {
    for (name, samples) in expected() {
        let format = if name.starts_with("arrays") { arrays() } else { images() };
        let options = if name.starts_with('s') { keyed() } else { Options::default() };
        let (good, bad, broken) = read(&data(&name), &format, &options);
        assert_eq!((bad, broken, good.len()), (Vec::new(), None, samples.len()), "{name}");
        for (record, expected) in good.iter().zip(&samples) {
            let values = match &record.values {
                Values::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
                Values::F32(values) => values.clone(),
            };
            assert_eq!(
                (&values, &record.class),
                (&expected.values, &expected.label),
                "{name}: {}",
                expected.key
            );
            let id = record.id.as_ref().map(ToString::to_string);
            match name.as_str() {
                "metadata.tar" => assert!(id.unwrap().starts_with("photo-"), "the id that JSON gives"),
                _ if name.starts_with('s') => assert_eq!(id.as_ref(), Some(&expected.key)),
                _ => assert_eq!(id, None, "keys of several archives may be the same"),
            }
        }
    }
}

#[test]
fn a_bad_sample_is_told_and_the_next_one_is_read() {
    let (good, bad, broken) = read(&data("bad.tar"), &images(), &Options::default());
    assert_eq!(broken, None);
    let classes: Vec<Option<&str>> = good.iter().map(|record| record.class.as_deref()).collect();
    assert_eq!(
        classes,
        [Some("0"), None, None, Some("2")],
        "00, 11 and 12, of which no class is known, and 14"
    );
    let wanted = [
        (2, "sample `01`: `.png`: "),
        (3, "sample `02`: it has values twice: `.png` and `.jpg`"),
        (4, "sample `03`: it has no image, no `.npy`, and no `.json` with values"),
        (5, "sample `04`: `.cls`: unknown class `dog`"),
        (6, "sample `05`: `.cls` says `ant`, but `.json` says `bee`"),
        (7, "sample `06`: it has two members `.png`"),
        (8, "sample `07`: `07.png` is a link; store the file itself"),
        (9, "sample `08`: `.json`: EOF while parsing"),
        (10, "sample `09`: it has no image"),
        (11, "sample `10`: `10.cls` has 2000 bytes; at most 1024 are read"),
        (14, "sample `13`: `.cls`: it has several lines"),
    ];
    assert_eq!(bad.len(), wanted.len(), "{bad:#?}");
    for ((line, reason), (number, says)) in bad.iter().zip(wanted) {
        assert!(*line == number && reason.starts_with(says), "{line}: {reason}");
    }
}

#[test]
fn skipped_samples_are_those_that_were_read() {
    for name in ["bad.tar", "arrays.tar.gz"] {
        let format = if name == "bad.tar" { images() } else { arrays() };
        let mut all = decode::open(&data(name), &format, &Options::default()).unwrap();
        for count in 0..20 {
            let mut skipped = decode::open(&data(name), &format, &Options::default()).unwrap();
            skipped.skip(count).unwrap();
            let next = skipped.next_record();
            assert_eq!(next, all.next_record(), "{name} after {count}");
            if next == Ok(None) {
                let fewer = skipped.skip(1).unwrap_err().to_string();
                assert!(fewer.contains("1 records were read of this file before"), "{fewer}");
                break;
            }
        }
    }
}

#[test]
fn an_archive_that_is_cut_off_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tar");
    let whole = std::fs::read(data("shard-000000.tar")).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() / 512 * 512 + 512;
    for cut in (0..end).step_by(67).chain((0..=end).step_by(512)) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (good, bad, broken) = read(&path, &images(), &Options::default());
        let broken = broken.unwrap_or_else(|| panic!("cut at {cut}: nothing is said"));
        assert!(good.len() < 5 && bad.is_empty(), "cut at {cut}");
        let told = ["truncated", "empty", "no tar archive"].iter().any(|says| broken.contains(says));
        assert!(told, "cut at {cut}: {broken}");
    }
    // One empty block is an end as well, and an archive may follow another.
    std::fs::write(&path, [&whole[..end + 512], &whole[..]].concat()).unwrap();
    let (good, _, broken) = read(&path, &images(), &Options::default());
    assert_eq!((good.len(), broken), (10, None));
    let other = path.with_file_name("other.tar");
    for (content, says) in [
        (&b"PAR1aaaaaaaaaaa"[..], "this is a Parquet file"),
        (&[b'x'; 2000], "this is no tar archive"),
        (&[0; 1024], ""),
    ] {
        std::fs::write(&other, content).unwrap();
        let (good, _, broken) = read(&other, &images(), &Options::default());
        assert!(good.is_empty() && broken.unwrap_or_default().contains(says), "{says}");
    }
}

#[test]
fn what_a_header_claims_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.tar");
    let member = |name: &str, kind: u8, size: u64| {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
        header[156] = kind;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    };
    for (name, kind) in
        [("a.png", b'0'), ("a.npy", b'0'), ("a.json", b'0'), ("x", b'L'), ("x", b'x'), ("x", b'S')]
    {
        for size in [60 << 20, 1 << 40, u64::MAX, u64::MAX - 511] {
            std::fs::write(&path, [&member(name, kind, size)[..], &[1; 700]].concat()).unwrap();
            let (good, _, broken) = read(&path, &images(), &Options::default());
            assert!(good.is_empty() && broken.unwrap().contains("truncated"), "{name} {size}");
        }
    }
    let many: Vec<u8> = (0..2000).flat_map(|at| member(&format!("a.{at}.txt"), b'0', 0)).collect();
    let png = std::fs::read(data("../images/rgb.png")).unwrap();
    let padding = vec![0; 512 - png.len() % 512 + 1024];
    let image = [member("a.png", b'0', png.len() as u64), png, padding].concat();
    let format = Format { shape: Shape::Image { channels: 3, height: 8, width: 8 }, ..images() };
    std::fs::write(&path, &image).unwrap();
    assert_eq!(read(&path, &format, &Options::default()).0.len(), 1);
    std::fs::write(&path, [member("a.cls", b'0', 0), many, image].concat()).unwrap();
    let (_, bad, _) = read(&path, &format, &Options::default());
    assert!(bad[0].1.contains("more than 1000 members"), "{bad:?}");
}

fn folder(path: &Path, more: &str) -> Box<dyn Source> {
    let options = format!(
        "path = {path:?}\nshape = [3, 3, 4]\ndtype = \"u8\"\nclasses = [\"ant\", \"bee\", \"cat\"]\n\
         settle = \"0s\"\npoll = \"0s\"\nfollow = false\norder = \"name\"\nmax_bad = 1.0\n{more}"
    );
    let spec = Spec { kind: "folder".into(), options: options.parse().unwrap() };
    let context = Context { state: Some(path.parent().unwrap().join("state")), ..Context::default() };
    (SOURCES.find("folder").unwrap().build)(&spec, &context).unwrap()
}

fn read_all(source: &mut dyn Source, most: usize) -> Samples {
    let mut samples = Samples::none(Dtype::U8);
    while samples.len() < most && source.read(1, &mut samples).unwrap() != ReadProgress::End {}
    samples
}

#[test]
fn a_folder_of_shards_is_streamed_and_goes_on_where_it_was() {
    for stopped in [0, 1, 4, 5, 7, 12] {
        let place = tempfile::tempdir().unwrap();
        let shards = place.path().join("shards");
        std::fs::create_dir(&shards).unwrap();
        std::fs::create_dir(place.path().join("state")).unwrap();
        for name in ["bad.tar", "shard-000000.tar", "shard-000001.tar"] {
            std::fs::copy(data(name), shards.join(name)).unwrap();
        }
        let mut whole = folder(&shards, "");
        whole.labelled().unwrap();
        read_all(&mut *whole, stopped);
        let state = whole.save().unwrap();
        let mut resumed = folder(&shards, "");
        resumed.load(&state).unwrap();
        let rest = read_all(&mut *whole, 100);
        assert_eq!(read_all(&mut *resumed, 100), rest, "after {stopped}");
        assert_eq!((rest.len(), whole.dead_letters()), (14 - stopped, 11));
        assert_eq!(resumed.dead_letters(), 11);
    }
}

#[test]
fn the_first_samples_say_what_all_are() {
    for (name, shape, dtype) in [
        ("shard-000000.tar", images().shape, Dtype::U8),
        ("pax.tar", images().shape, Dtype::U8),
        ("arrays.tar.gz", arrays().shape, Dtype::F32),
    ] {
        let look = decode::look(&data(name), &Options::default()).unwrap();
        assert_eq!(look.sample, Ok((shape, dtype)), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let of_classes = folder.path().join("classes.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&of_classes).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    archive.append_data(&mut header, "17.cls", &b"2"[..]).unwrap();
    archive.finish().unwrap();
    let reason = decode::look(&of_classes, &Options::default()).unwrap().sample.unwrap_err();
    assert!(reason.contains("sample `17`: it has no image"), "{reason}");
}

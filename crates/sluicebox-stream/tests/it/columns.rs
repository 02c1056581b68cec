//! Parquet and Arrow (`tests/data/columns`, written by pandas, pyarrow, polars and Hugging Face datasets): each file gives
//! its 40 rows, or says what is wrong.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::{self, DecodeError, Options, Record};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::{Path, PathBuf};

const COUNT: usize = 40;
const NAMES: [&str; 3] = ["ant", "bee", "cat"];
const NUMBERS: [&str; 3] = ["0", "1", "2"];
const GREY: Shape = Shape::Image { channels: 1, height: 6, width: 8 };

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/columns").join(name)
}

fn source(path: &Path, options: &str, folder: &Path) -> Result<Box<dyn Source>> {
    let once = "labelled_per_class = 0\nshuffle_buffer = 1\nrepeat = false\nmax_bad = 1.0\n";
    let mut options: toml::Table = format!("{once}{options}").parse().unwrap();
    options.insert("path".into(), path.to_str().unwrap().into());
    let context = Context { state: Some(folder.into()), ..Context::default() };
    (SOURCES.find("files")?.build)(&Spec { kind: "files".into(), options }, &context)
}

struct Read {
    format: Format,
    samples: Samples,
    rows: Vec<(Vec<f32>, i32)>,
    /// Bad rows, and why.
    dead: Vec<(u64, String)>,
}

fn read(name: &str, options: &str) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let mut source =
        source(&data(name), options, folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let format = source.format().clone();
    let mut samples = Samples::none(format.dtype);
    while source.read(7, &mut samples).unwrap() != ReadProgress::End {}
    let values: Vec<f32> = match &samples.values {
        Values::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        Values::F32(values) => values.clone(),
    };
    let rows = values.chunks(format.shape.len()).map(<[f32]>::to_vec);
    let letters = std::fs::read_to_string(folder.path().join("dead-letter.jsonl")).unwrap_or_default();
    let letters = letters.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let dead = letters
        .map(|letter| (letter["line"].as_u64().unwrap(), letter["reason"].as_str().unwrap().to_string()));
    Read {
        rows: rows.zip(samples.truth.reveal().iter().copied()).collect(),
        dead: dead.collect(),
        format,
        samples,
    }
}

fn refused(name: &str, options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    source(&data(name), options, folder.path()).err().unwrap_or_else(|| panic!("{name} is read")).to_string()
}

fn class(row: usize) -> i32 {
    (row % 3) as i32
}

/// Returns a row of a table of numbers as the script makes it.
fn numbers(row: usize) -> (Vec<f32>, i32) {
    (vec![row as f32, row as f32 / 4.0, (row % 2) as f32], class(row))
}

/// Returns an image as the script makes it, `channels` times.
fn image(row: usize, channels: usize) -> (Vec<f32>, i32) {
    let pixels: Vec<f32> = (0..48).map(|at| ((20 * row + at) % 251) as f32).collect();
    (pixels.repeat(channels), class(row))
}

#[test]
fn numbers_of_all_types_from_all_tools() {
    let table = [
        ("pandas.parquet", NAMES),
        ("pandas.feather", NAMES),
        ("polars.parquet", NAMES),
        ("polars.arrow", NAMES),
        ("file.arrow", NAMES),
        ("stream.arrow", NAMES),
        ("lz4.feather", NAMES),
        ("i8.parquet", NUMBERS),
        ("i32.parquet", NUMBERS),
        ("u64.parquet", NUMBERS),
        ("decimal.parquet", NUMBERS),
    ];
    for (name, classes) in table {
        let found = read(name, "");
        assert_eq!(found.dead, [], "{name}");
        assert_eq!(found.format.classes, classes, "{name}");
        assert_eq!(
            (found.format.shape, found.format.dtype),
            (Shape::Vector { features: 3 }, Dtype::F32),
            "{name}"
        );
        assert_eq!(found.rows, (0..COUNT).map(numbers).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn pages_of_both_versions_packed_in_any_way() {
    for packing in ["none", "snappy", "gzip", "lz4", "zstd"] {
        for version in [1, 2] {
            let name = format!("{packing}-{version}.parquet");
            let found = read(&name, "");
            assert_eq!((found.dead, found.rows), (vec![], (0..COUNT).map(numbers).collect()), "{name}");
        }
    }
    let reason = refused("brotli-1.parquet", "");
    assert!(reason.contains("packed as brotli") && reason.contains("compression = \"zstd\""), "{reason}");
}

#[test]
fn options_choose_columns_by_name_and_place() {
    let chosen = read("extra.parquet", "features = [\"b\", \"a\"]");
    let swapped = |row: usize| (vec![row as f32 / 4.0, row as f32], class(row));
    assert_eq!(chosen.rows, (0..COUNT).map(swapped).collect::<Vec<_>>());
    for options in ["ignore = [\"d\"]", "ignore = [-2]\nclass_column = \"LABEL\"", "features = [0, 1, 2]"] {
        assert_eq!(
            read("extra.parquet", options).rows,
            (0..COUNT).map(numbers).collect::<Vec<_>>(),
            "{options}"
        );
    }
    assert_eq!(read("extra.parquet", "").format.shape.len(), 4);
    assert!(refused("extra.parquet", "features = [\"e\"]").contains("unknown column `e`"));
    let text = refused("categories.parquet", "");
    assert!(text.contains("column `c` holds text or categories") && text.contains("source.ignore"), "{text}");
    assert_eq!(read("categories.parquet", "ignore = [\"c\"]").rows.len(), COUNT);
    let dates = refused("dates.parquet", "");
    assert!(dates.contains("column `when` holds Timestamp"), "{dates}");
    assert_eq!(
        read("dates.parquet", "ignore = [\"when\"]").rows,
        (0..COUNT).map(numbers).collect::<Vec<_>>()
    );
}

#[test]
fn what_is_missing_or_not_exact_is_a_bad_row_and_no_class_is_no_label() {
    for name in ["missing.parquet", "missing-names.parquet"] {
        let found = read(name, "");
        let bad = |row: u64, column: &str, at: usize| {
            (row + 1, format!("column `{column}`: value {at} is missing"))
        };
        assert_eq!(found.dead, [bad(3, "a", 0), bad(5, "b", 1), bad(7, "b", 1)], "{name}");
        let good = (0..COUNT).filter(|row| ![3, 5, 7].contains(row)).map(|row| {
            let (values, class) = numbers(row);
            (values, if [4, 6, 8].contains(&row) { -1 } else { class })
        });
        assert_eq!(found.rows, good.collect::<Vec<_>>(), "{name}");
    }
    let inexact = read("inexact.parquet", "");
    let reason = "column `a`: value 0 is 16777217, which f32 cannot hold exactly".to_string();
    assert_eq!((inexact.rows.len(), inexact.dead), (COUNT - 1, vec![(10, reason)]));
}

#[test]
fn lists_are_samples() {
    for (name, options, dtype) in [
        ("lists.parquet", "shape = [1, 6, 8]", Dtype::F32),
        ("large-lists.parquet", "shape = [1, 6, 8]", Dtype::F32),
        ("fixed-lists.parquet", "shape = [1, 6, 8]", Dtype::U8),
        ("nested.parquet", "", Dtype::U8),
        ("hf-arrays.parquet", "", Dtype::U8),
    ] {
        let found = read(name, options);
        assert_eq!((found.format.shape, found.format.dtype), (GREY, dtype), "{name}");
        assert_eq!(
            (found.dead, found.rows),
            (vec![], (0..COUNT).map(|row| image(row, 1)).collect()),
            "{name}"
        );
    }
    assert_eq!(read("lists.parquet", "").format.shape, Shape::Vector { features: 48 });
    assert_eq!(read("hf-arrays.parquet", "").format.classes, NAMES);
    let last = read("channels-last.parquet", "");
    assert_eq!(last.format.shape, Shape::Image { channels: 3, height: 6, width: 8 });
    assert_eq!(last.rows, (0..COUNT).map(|row| image(row, 3)).collect::<Vec<_>>());
    let ragged = read("ragged.parquet", "");
    let reasons = ["47 values instead of 48 (48 features)", "the list of its values is missing"];
    assert_eq!(ragged.dead, [(10, reasons[0].to_string()), (11, reasons[1].to_string())]);
    assert_eq!(ragged.rows.len(), COUNT - 2);
}

#[test]
fn encoded_images_are_samples() {
    for (name, classes, bad) in [
        ("hf-images.parquet", NAMES, None),
        ("hf-images.arrow", NAMES, None),
        ("bytes.parquet", NUMBERS, Some("not a readable image")),
        (
            "paths.parquet",
            NUMBERS,
            Some("the bytes of the image are missing: the file only says where it was"),
        ),
    ] {
        let found = read(name, "");
        assert_eq!((found.format.shape, found.format.dtype), (GREY, Dtype::U8), "{name}");
        assert_eq!(found.format.classes, classes, "{name}");
        let good = (0..COUNT).filter(|row| bad.is_none() || *row != 9).map(|row| image(row, 1));
        assert_eq!(found.rows, good.collect::<Vec<_>>(), "{name}");
        match (bad, &found.dead[..]) {
            (None, []) => {}
            (Some(bad), [(10, reason)]) => assert!(reason.contains(bad), "{reason}"),
            (_, dead) => panic!("{name}: {dead:?}"),
        }
    }
    let resized = read("hf-images.parquet", "shape = [3, 3, 4]\nresize = true");
    assert_eq!((resized.dead, resized.rows.len()), (vec![], COUNT));
    let refused = read("hf-images.parquet", "shape = [3, 3, 4]");
    assert!(
        refused.dead.len() == COUNT && refused.dead[0].1.contains("set resize = true"),
        "{:?}",
        refused.dead
    );
}

#[test]
fn classes_are_named_by_the_job_or_the_file() {
    let other = read("hf-images.parquet", "classes = [\"cat\", \"ant\", \"bee\"]");
    assert_eq!(other.rows[..3].iter().map(|row| row.1).collect::<Vec<_>>(), [1, 2, 0]);
    let few = read("none-1.parquet", "classes = [\"ant\", \"bee\"]");
    assert!(few.dead.len() == COUNT / 3 && few.dead[0].1.contains("unknown class `cat`"), "{:?}", few.dead);
    let one = refused("none-1.parquet", "class_column = \"nothing\"");
    assert!(one.contains("unknown column `nothing`"), "{one}");
    let without = refused("none-1.parquet", "ignore = [\"label\"]");
    assert!(
        without.contains("0 class(es) are in it") && without.contains("source.class_column"),
        "{without}"
    );
}

#[test]
fn ids_are_texts_and_numbers_of_64_bits() {
    let ids = |found: &Read| -> Vec<String> {
        let names = &found.samples.names;
        names
            .iter()
            .enumerate()
            .map(|(at, (place, name))| {
                assert_eq!(at, *place);
                name.text.clone()
            })
            .collect()
    };
    let uuids = read("uuids.parquet", "");
    assert_eq!(
        ids(&uuids),
        (0..COUNT).map(|row| format!("00000000-0000-4000-8000-{row:012}")).collect::<Vec<_>>()
    );
    assert_eq!(uuids.rows, (0..COUNT).map(numbers).collect::<Vec<_>>());
    let numbered = read("snowflakes.parquet", "id_column = \"key\"");
    assert_eq!(
        ids(&numbered),
        (0..COUNT as u64).map(|row| ((1 << 62) + row).to_string()).collect::<Vec<_>>()
    );
    let repeated = read("uuids.parquet", "").samples.ids[0];
    assert!(repeated >= 1 << 63);
}

/// Reads a file as `folder` and `feed` do.
fn records(path: &Path, format: &Format, skipped: u64) -> Result<Vec<Record>, DecodeError> {
    let opened = decode::open(path, format, &Options::default());
    let mut records = opened.map_err(|error| DecodeError::Broken(error.to_string()))?;
    records.skip(skipped)?;
    let mut all = Vec::new();
    while let Some(record) = records.next_record()? {
        all.push(record);
    }
    Ok(all)
}

#[test]
fn what_was_read_before_is_passed_over() {
    let classes = NAMES.map(String::from).to_vec();
    let format = Format { shape: Shape::Vector { features: 3 }, dtype: Dtype::F32, scale: 1.0, classes };
    for name in ["pandas.parquet", "file.arrow", "stream.arrow", "polars.arrow", "snappy-2.parquet"] {
        let all = records(&data(name), &format, 0).unwrap();
        for skipped in 0..=COUNT {
            assert_eq!(
                records(&data(name), &format, skipped as u64).unwrap(),
                all[skipped..],
                "{name}: {skipped}"
            );
        }
        let fewer = records(&data(name), &format, COUNT as u64 + 1).unwrap_err();
        assert!(fewer.to_string().contains("it has only 40 now"), "{name}: {fewer}");
    }
}

#[test]
fn damaged_files_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let classes = NAMES.map(String::from).to_vec();
    let format = Format { shape: Shape::Vector { features: 3 }, dtype: Dtype::F32, scale: 1.0, classes };
    let says = |name: &str, bytes: &[u8], says: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let reason = records(&path, &format, 0).unwrap_err().to_string();
        assert!(reason.contains(says), "{name}: {reason}");
    };
    let parquet = std::fs::read(data("none-1.parquet")).unwrap();
    says("a.parquet", b"", "it does not begin with PAR1");
    says("b.parquet", b"PAR1", "truncated");
    says("c.parquet", &parquet[..parquet.len() - 1], "the file is truncated: it does not end with PAR1");
    let mut other = parquet.clone();
    let length = other.len();
    other[length - 5] = 0x7f;
    says("d.parquet", &other, "the footer is damaged: it claims to have");
    other = parquet.clone();
    other[length - 60..length - 40].fill(0xff);
    says("e.parquet", &other, "the footer cannot be read");
    other = parquet.clone();
    other[60] ^= 1; // within the first page
    says("f.parquet", &other, "row group 0 is damaged or cannot be read");
    says("g.parquet", b"\x93NUMPY...", "this is a NumPy array");
    let arrow = std::fs::read(data("file.arrow")).unwrap();
    says("a.arrow", &parquet, "this is a Parquet file");
    says("b.arrow", &arrow[..8], "truncated");
    says("c.arrow", &arrow[..1000], "truncated");
    says("d.arrow", b"FEA1....", "Feather version 1");
    says("e.arrow", b"\xff\xff\xff\xff\xff\xff\xff\x7f", "a description of 2147483647 bytes");
    let packed = zstd(&parquet);
    says("h.parquet.zst", &packed, "unpack it first");
    let path = folder.path().join("i.arrow.zst");
    std::fs::write(&path, zstd(&arrow)).unwrap();
    assert_eq!(records(&path, &format, 0).unwrap().len(), COUNT);
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Files as above with one to three bytes changed, cut off or doubled: each ends soon, as rows or with a reason.
#[test]
fn damaged_at_random_they_end_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut draw = 1u64;
    let mut below = move |most: usize| {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (draw >> 33) as usize % most
    };
    let format = |shape, dtype| Format { shape, dtype, scale: 1.0, classes: Vec::new() };
    let formats = [format(Shape::Vector { features: 3 }, Dtype::F32), format(GREY, Dtype::U8)];
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(data("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending != "py"));
    files.sort();
    let (mut whole, mut bad, mut caught) = (0, 0, 0);
    for file in files {
        let path = folder.path().join(file.file_name().unwrap());
        let good = std::fs::read(&file).unwrap();
        for _ in 0..60 {
            let mut bytes = good.clone();
            // Half of them in the last kilobyte, where the footer is.
            let first = if below(2) == 0 { bytes.len().saturating_sub(1000) } else { 0 };
            for _ in 0..=below(3) {
                let at = first + below(bytes.len() - first);
                match below(8) {
                    0 => bytes.truncate(at.max(first + 1)),
                    1 => bytes.insert(at, 0),
                    _ => bytes[at] = [0, 0x7f, 0x80, 0xff, below(256) as u8][below(5)],
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            for format in &formats {
                match records(&path, format, 0) {
                    Ok(_) => whole += 1,
                    Err(error) if error.to_string().contains("its reader stopped at") => caught += 1,
                    Err(_) => bad += 1,
                }
            }
        }
    }
    println!("{whole} are read, {bad} are bad; {caught} made a library panic, which was caught");
    assert!(whole > 0 && bad > 0, "{whole}, {bad}");
}

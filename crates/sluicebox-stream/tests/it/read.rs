//! Tables as people have them (`tests/data/read`): each gives the rows that it holds, or says what it is.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::{self, DecodeError};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/read").join(name)
}

/// Rows that are labelled at the start.
const LABELLED: usize = 60;

struct Read {
    classes: Vec<String>,
    /// All samples, labelled ones first, with class -1 where there is none.
    rows: Vec<(Vec<f32>, i64)>,
    labelled: usize,
    dead: Vec<String>,
}

fn source(name: &str, options: &str, folder: &Path) -> Result<Box<dyn Source>> {
    let mut options: toml::Table = options.parse().unwrap();
    options.insert("path".into(), data(name).to_str().unwrap().into());
    options.entry("labelled_first").or_insert((LABELLED as i64).into());
    let context = Context { state: Some(folder.into()), ..Context::default() };
    (SOURCES.find("csv")?.build)(&Spec { kind: "csv".into(), options }, &context)
}

fn try_read(name: &str, options: &str) -> Result<Read> {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(name, options, folder.path())?;
    let format = source.format().clone();
    let labelled = source.labelled()?;
    let mut samples = Samples::none(Dtype::F32);
    while source.read(7, &mut samples)? != ReadProgress::End {}
    let (Values::F32(first), Values::F32(then)) = (&labelled.values, &samples.values) else { panic!() };
    let classes = labelled.classes.iter().copied();
    let classes = classes.chain(samples.truth.reveal().iter().map(|class| i64::from(*class)));
    let values = first.iter().chain(then).copied().collect::<Vec<f32>>();
    let rows = values.chunks(format.shape.len()).map(<[f32]>::to_vec).zip(classes).collect();
    let letters = std::fs::read_to_string(folder.path().join("dead-letter.jsonl")).unwrap_or_default();
    let letters = letters.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let dead: Vec<String> = letters.map(|letter| letter["reason"].as_str().unwrap().to_string()).collect();
    assert_eq!(source.dead_letters(), dead.len() as u64);
    Ok(Read { classes: format.classes, rows, labelled: labelled.len(), dead })
}

fn read(name: &str, options: &str) -> Read {
    try_read(name, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn refused(name: &str, options: &str) -> String {
    match try_read(name, options) {
        Ok(read) => panic!("{name}: {} rows were read", read.rows.len()),
        Err(error) => error.to_string(),
    }
}

/// Asserts that nearly all rows are as in the good file, wherever they come.
fn assert_like_ok(name: &str, found: &Read, without: usize) {
    let ok = read("ok.csv", "");
    assert_eq!(found.classes.len(), 3, "{name}: {:?}", found.classes);
    assert_eq!(found.rows.len() + without, ok.rows.len(), "{name}");
    let near = |(values, class): &(Vec<f32>, i64)| {
        let close = |a: &f32, b: &f32| (a - b).abs() < 0.3;
        ok.rows.iter().any(|(row, other)| {
            (other == class || *class == -1) && row.iter().zip(values).all(|(a, b)| close(a, b))
        })
    };
    let far = found.rows.iter().filter(|row| !near(row)).count();
    assert!(far <= 1, "{name}: {far} rows are not as in ok.csv");
}

#[test]
fn good_rows_are_read_and_bad_ones_told() {
    let ok = read("ok.csv", "");
    assert_eq!((ok.classes.join(" "), ok.rows.len(), ok.labelled), ("ant bee cat".into(), 106, LABELLED));
    let one_letter = [
        ("second-header.csv", "", "the header comes again", 1),
        ("shifted-row.csv", "", "`ant` in column 0 `f1` is not a finite number", 1),
        ("one-open-quote.csv", "", "a quote is not closed in this line", 1),
        ("first-row-missing.csv", "", "the value in column 0 is missing (`?`)", 0),
        ("huge-1e39.csv", "", "too large for f32", 1),
    ];
    for (name, options, says, without) in one_letter {
        let found = read(name, options);
        assert!(found.dead.len() == 1 && found.dead[0].contains(says), "{name}: {:?}", found.dead);
        assert_like_ok(name, &found, without);
    }
    for (name, options) in [
        ("missing-class.csv", ""),
        ("int-float-class.csv", ""),
        ("pandas-numeric-header.csv", ""),
        ("pandas-index.csv", ""),
        ("named-class-first.csv", ""),
        ("semicolon-decimal-comma.csv", "delimiter = \";\"\ndecimal = \",\""),
        ("trailing-delimiter.csv", ""),
        ("cr-only.csv", ""),
        ("missing-features-2pc.csv", "missing = \"last\""),
    ] {
        let found = read(name, options);
        assert_eq!(found.dead, Vec::<String>::new(), "{name}");
        if name != "missing-features-2pc.csv" {
            assert_like_ok(name, &found, 0);
        }
    }
    // Whatever the scale of a feature, values are as the file has them; the job standardises them.
    for (name, least, largest) in [("tiny-scale.csv", 0.0, 1e-5), ("huge-1e30.csv", 1e29, 1e31)] {
        let found = read(name, "");
        assert_eq!((found.dead.len(), found.rows.len()), (0, ok.rows.len()), "{name}");
        let most = found.rows.iter().map(|(row, _)| row[0].abs()).fold(0.0, f32::max);
        assert!((least..largest).contains(&most), "{name}: {most}");
    }
}

#[test]
fn a_row_without_a_class_is_a_sample_that_is_not_labelled() {
    let text = std::fs::read_to_string(data("missing-class.csv")).unwrap();
    let without = text.lines().filter(|line| line.ends_with(',')).count();
    let first = text.lines().skip(1).take(LABELLED).filter(|line| line.ends_with(',')).count();
    let found = read("missing-class.csv", "");
    assert_eq!(found.labelled, LABELLED - first);
    assert!(first > 0 && without > first);
    assert_eq!(found.rows.iter().filter(|(_, class)| *class == -1).count(), without);
    let unknown = found.rows[found.labelled..].iter().take(first).all(|(_, class)| *class == -1);
    assert!(unknown, "those of the first rows are streamed before all others");
    let named =
        read("missing-class.csv", "classes = [\"\", \"ant\", \"bee\", \"cat\"]\nmissing_markers = [\"?\"]");
    assert!(named.rows.iter().all(|(_, class)| *class != -1), "a class may be called as one likes");
}

#[test]
fn the_class_column_is_the_one_that_is_called_so() {
    let by_name = read("class-first-numeric.csv", "");
    assert_eq!(by_name.classes, ["0", "1", "2"]);
    let by_place = read("class-first-numeric.csv", "class = -1");
    assert!(by_place.classes.contains(&"2009".to_string()), "the last, if one says so");
    let old = read("class-first-numeric.csv", "class_column = 0\nignore = [\"year\"]");
    assert_eq!((old.classes.len(), old.rows[0].0.len()), (3, 2));
    let one = read("class-first-numeric.csv", "features = [\"f2\"]");
    assert_eq!(one.rows[0].0.len(), 1);
    for (options, says) in [
        ("class = \"lable\"", "unknown column `lable`; did you mean `label`?"),
        ("class = 4", "there is no column 4: a row has 4 columns"),
        ("features = [\"label\"]\nclass = \"label\"", "cannot be a value as well as class"),
        ("header = false\nclass = \"label\"", "there is no header with a column `label`"),
    ] {
        let error = refused("class-first-numeric.csv", options);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_header_is_found_or_declared() {
    let declared = read("pandas-numeric-header.csv", "header = false");
    assert_eq!((declared.rows.len(), declared.classes.len()), (107, 4));
    assert_eq!(read("ok.csv", "header = true").rows.len(), 106);
    assert_eq!(read("first-row-missing.csv", "header = true").dead.len(), 0);
    let filled = read("first-row-missing.csv", "missing = \"mean\"");
    assert!(filled.dead[0].contains("missing"), "a row without any value is none");
}

#[test]
fn missing_features_are_dropped_or_filled() {
    let dropped = read("missing-features-2pc.csv", "");
    assert_eq!((dropped.dead.len(), dropped.rows.len()), (3, 103));
    assert!(dropped.dead.iter().all(|reason| reason.contains("the value in column 0 `f1` is missing (`?`)")));
    let mean = read("missing-features-2pc.csv", "missing = \"mean\"");
    let last = read("missing-features-2pc.csv", "missing = \"last\"");
    assert_eq!((mean.rows.len(), last.rows.len()), (106, 106));
    let missing: Vec<usize> = (0..106).filter(|at| mean.rows[*at].0[0] != last.rows[*at].0[0]).collect();
    assert!(missing.len() >= 2, "{missing:?}");
    for at in missing.into_iter().filter(|at| *at > 0) {
        assert_eq!(last.rows[at].0[0], last.rows[at - 1].0[0]);
    }
    let first: Vec<f32> = read("missing-features-2pc.csv", "labelled_first = 58").rows[..58]
        .iter()
        .map(|(row, _)| row[0])
        .collect();
    let average = first.iter().sum::<f32>() / first.len() as f32;
    assert!((mean.rows[0].0[0] - average).abs() < 0.2, "{} {average}", mean.rows[0].0[0]);
    let error = refused("missing-features-2pc.csv", "max_bad = 0.0");
    assert!(error.contains("1 times: the value in column 0 `f1` is missing"), "{error}");
    let own = read("missing-features-2pc.csv", "missing_markers = [\"-\"]");
    assert!(own.dead[0].contains("`?` in column 0 `f1` is not a finite number"), "{:?}", own.dead);
}

#[test]
fn what_cannot_be_read_says_what_it_is() {
    for (name, options, says) in [
        ("continuous-target.csv", "", "is this the class column?"),
        ("semicolon-decimal-comma.csv", "", "is ',' the delimiter? Set source.delimiter"),
        ("missing-class.csv", "labelled_first = 1", "none of the first 1 rows has a class"),
    ] {
        let error = refused(name, options);
        assert!(error.contains(says), "{name}: {error}");
    }
    assert_eq!(read("categorical.csv", "ignore = [\"proto\"]").rows.len(), 106);
    let utf16 = read("utf16.csv", "labelled_first = 5");
    assert!(utf16.rows.len() == 19 && utf16.dead.is_empty() && utf16.classes.len() == 3);
    let (categorical, ok) = (read("categorical.csv", ""), read("ok.csv", ""));
    assert_eq!(
        (categorical.rows.len(), categorical.rows[0].0.len()),
        (106, 4),
        "two protocols and two numbers"
    );
    for (row, class) in &categorical.rows {
        assert!(row[0] + row[1] == 1.0 && row[..2].iter().all(|value| [0.0, 1.0].contains(value)));
        let same = |(of_ok, other): &(Vec<f32>, i64)| other == class && of_ok[..2] == row[2..];
        assert!(ok.rows.iter().any(same), "{row:?}");
    }
    assert!(utf16.rows.iter().all(|row| ok.rows.contains(row)));
    let arff = read("iris.arff", "labelled_first = 5");
    assert_eq!((arff.classes, arff.rows[..].len()), (ok.classes, 20));
    assert!(arff.rows.iter().all(|row| ok.rows.contains(row)));
}

#[test]
fn a_restored_stream_goes_on_where_it_was() {
    for (name, options) in [("missing-class.csv", ""), ("cr-only.csv", ""), ("one-open-quote.csv", "")] {
        for skipped in [0, 1, 3, 20, 30] {
            let (folder, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let mut whole = source(name, options, folder.path()).unwrap();
            whole.labelled().unwrap();
            whole.read(skipped, &mut Samples::none(Dtype::F32)).unwrap();
            let mut resumed = source(name, options, again.path()).unwrap();
            resumed.load(&whole.save().unwrap()).unwrap();
            let (mut rest, mut same) = (Samples::none(Dtype::F32), Samples::none(Dtype::F32));
            whole.read(1000, &mut rest).unwrap();
            resumed.read(1000, &mut same).unwrap();
            assert!(rest == same && rest.len() > 10, "{name} after {skipped}");
            assert_eq!(whole.save().unwrap(), resumed.save().unwrap());
        }
    }
}

/// Reads a file as lines of samples: the samples, and the reasons why others are none.
fn lines(name: &str, classes: &[&str], features: usize) -> (usize, Vec<String>) {
    let classes = classes.iter().map(|class| class.to_string()).collect();
    let format = Format { shape: Shape::Vector { features }, dtype: Dtype::F32, scale: 1.0, classes };
    let mut records = decode::open(&data(name), &format, &decode::Options::default()).unwrap();
    let (mut count, mut bad) = (0, Vec::new());
    loop {
        match records.next_record() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, bad),
            Err(DecodeError::Bad { reason, .. }) => bad.push(reason),
            Err(broken) => panic!("{broken}"),
        }
    }
}

#[test]
fn lines_of_samples() {
    let (count, bad) = lines("two-bad-lines-early.ndjson", &["ant", "bee", "cat"], 3);
    assert_eq!((count, bad.len()), (118, 2));
    let (count, bad) = lines("labels-from-0.ndjson", &["1", "2", "3"], 2);
    assert!(count > 20 && !bad.is_empty());
    assert!(bad.iter().all(|reason| reason.contains("unknown class `0`")));
    assert_eq!(lines("cr-only.csv", &["ant", "bee", "cat"], 3), (106, Vec::new()));
    assert_eq!(lines("pandas-index.csv", &["ant", "bee", "cat"], 3), (106, Vec::new()));
}

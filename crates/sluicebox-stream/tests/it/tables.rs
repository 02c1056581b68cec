//! Tables with categories, comments and other encodings, and ARFF (`tests/data/tables`, written by pandas and
//! liac-arff): each gives its 60 rows, or says what is wrong.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::{self, DecodeError, Options};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::{Path, PathBuf};

const COUNT: usize = 60;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tables").join(name)
}

fn source(path: &Path, options: &str, folder: &Path) -> Result<Box<dyn Source>> {
    let mut options: toml::Table = options.parse().unwrap();
    options.insert("path".into(), path.to_str().unwrap().into());
    options.entry("labelled_first").or_insert(0.into());
    let context = Context { state: Some(folder.into()), ..Context::default() };
    (SOURCES.find("csv")?.build)(&Spec { kind: "csv".into(), options }, &context)
}

struct Read {
    classes: Vec<String>,
    rows: Vec<(Vec<f32>, i32)>,
    dead: Vec<String>,
}

fn read(name: &str, options: &str) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let mut source =
        source(&data(name), options, folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut samples = Samples::none(Dtype::F32);
    while source.read(7, &mut samples).unwrap() != ReadProgress::End {}
    let Values::F32(values) = &samples.values else { panic!() };
    let rows = values.chunks(source.format().shape.len()).map(<[f32]>::to_vec);
    let letters = std::fs::read_to_string(folder.path().join("dead-letter.jsonl")).unwrap_or_default();
    let letters = letters.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    Read {
        classes: source.format().classes.clone(),
        rows: rows.zip(samples.truth.reveal().iter().copied()).collect(),
        dead: letters.map(|letter| letter["reason"].as_str().unwrap().to_string()).collect(),
    }
}

fn refused(name: &str, options: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    source(&data(name), options, folder.path()).err().unwrap_or_else(|| panic!("{name} is read")).to_string()
}

/// Returns a row as the script makes it: numbers, then zeros and a one for each category.
fn row(at: usize) -> (Vec<f32>, i32) {
    let one_of = |chosen: usize, count: usize| (0..count).map(move |place| f32::from(place == chosen));
    let numbers = [at as f32, at as f32 / 4.0].into_iter();
    let values = numbers.chain(one_of(at % 3, 3)).chain(one_of(at % 2, 2));
    (values.collect(), (at / 2 % 3) as i32)
}

fn all() -> Vec<(Vec<f32>, i32)> {
    (0..COUNT).map(row).collect()
}

#[test]
fn categories_comments_encodings_and_arff() {
    for (name, options) in [
        ("categories.csv", ""),
        ("utf16.csv", ""),
        ("utf16.csv", "encoding = \"utf-16\""),
        ("latin1.csv", "encoding = \"latin-1\""),
        ("bom.csv", ""),
        ("comments.csv", "comment = \"#\""),
        ("dates.csv", "ignore = [\"when\"]"),
        ("table.arff", ""),
        ("table.arff", "class = \"the class\""),
    ] {
        let found = read(name, options);
        assert_eq!(found.dead, Vec::<String>::new(), "{name}");
        assert_eq!(found.classes, ["ant", "bee", "cat"], "{name}");
        assert_eq!(found.rows, all(), "{name}");
    }
}

#[test]
fn what_is_not_good_costs_its_row_only() {
    for (name, options, at, says) in [
        ("missing-category.csv", "", 5, "the value in column 2 `proto` is missing"),
        ("shifted.csv", "max_bad = 0.1", 7, "`x` in column 0 `f1` is not a finite number"),
        ("missing.arff", "", 3, "the value in column 1 `f2` is missing (`?`)"),
    ] {
        let found = read(name, options);
        let mut wanted = all();
        wanted.remove(at);
        let found_rows: Vec<&Vec<f32>> = found.rows.iter().map(|(values, _)| values).collect();
        assert_eq!(found_rows, wanted.iter().map(|(values, _)| values).collect::<Vec<_>>(), "{name}");
        assert!(found.dead.len() == 1 && found.dead[0].contains(says), "{name}: {:?}", found.dead);
    }
    assert_eq!(read("missing.arff", "").rows[3], (row(4).0, -1), "a row whose class is missing");
    let sparse = read("sparse-row.arff", "max_bad = 0.1");
    assert!(sparse.rows.len() == 20 && sparse.dead[0].contains("a sparse row"), "{:?}", sparse.dead);
    let filled = read("missing-category.csv", "missing = \"mean\"");
    let share = &filled.rows[5].0[2..5];
    assert!((share.iter().sum::<f32>() - 1.0).abs() < 1e-5, "the shares so far: {share:?}");
    let latin = read(
        "latin1.csv",
        "max_bad = 1.0\nignore = [\"f1\"]\nclass = \"state\"\nclasses = [\"São Paulo\", \"Île\"]",
    );
    assert!(
        latin.rows.is_empty() && latin.dead[0].contains("set source.encoding = \"latin-1\""),
        "{:?}",
        latin.dead
    );
}

#[test]
fn many_categories_are_hashed_and_declared_ones_need_not_be_texts() {
    assert_eq!(read("many.csv", "").rows[0].0.len(), 2 + 25 + 2);
    let hashed = read("many.csv", "one_hot_max = 8");
    assert_eq!((hashed.rows.len(), hashed.rows[0].0.len()), (COUNT, 2 + 8 + 2));
    let same = |a: usize, b: usize| hashed.rows[a].0[2..10] == hashed.rows[b].0[2..10];
    assert!(same(0, 25) && same(3, 53) && (1..25).any(|at| !same(0, at)));
    assert!(hashed.rows.iter().all(|(values, _)| values[2..10].iter().sum::<f32>() == 1.0));
    let declared = read("categories.csv", "categorical = [\"f1\"]");
    let own: Vec<Option<usize>> =
        declared.rows.iter().map(|(values, _)| values[..60].iter().position(|value| *value == 1.0)).collect();
    assert_eq!(own.iter().flatten().collect::<std::collections::BTreeSet<_>>().len(), COUNT, "each its own");
    assert_eq!(declared.rows[0].0.len(), 60 + 1 + 3 + 2);
    let error = refused("dates.csv", "");
    assert!(error.contains("column 0 `when` holds a text of its own in most rows"), "{error}");
    assert!(error.contains("put it into source.ignore"), "{error}");
    let error = refused("categories.csv", "categorical = [\"class\"]");
    assert!(error.contains("is categorical, but no feature"), "{error}");
}

#[test]
fn a_restored_stream_goes_on_where_it_was_if_the_categories_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in
        [("categories.csv", ""), ("utf16.csv", ""), ("table.arff", ""), ("comments.csv", "comment = \"#\"")]
    {
        let mut whole = source(&data(name), options, folder.path()).unwrap();
        whole.read(13, &mut Samples::none(Dtype::F32)).unwrap();
        let state = whole.save().unwrap();
        let mut resumed = source(&data(name), options, folder.path()).unwrap();
        resumed.load(&state).unwrap();
        let (mut rest, mut same) = (Samples::none(Dtype::F32), Samples::none(Dtype::F32));
        whole.read(100, &mut rest).unwrap();
        resumed.read(100, &mut same).unwrap();
        assert!(rest == same && rest.len() == COUNT - 13, "{name}");
        // As many categories, but others.
        let other = folder.path().join(name);
        let text = std::fs::read_to_string(data(name)).unwrap_or_default();
        if text.contains("icmp") {
            std::fs::write(&other, text.replace("icmp", "sctp")).unwrap();
            let mut other = source(&other, options, folder.path()).unwrap();
            let error = other.load(&state).unwrap_err().to_string();
            assert!(error.contains("other categories than when the state was saved"), "{error}");
        }
    }
}

#[test]
fn folders_and_feeders_read_arff_and_other_encodings() {
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    let format = Format { shape: Shape::Vector { features: 7 }, dtype: Dtype::F32, scale: 1.0, classes };
    let mut options = Options::default();
    options.table.class = Some("the class".into());
    let mut records = decode::open(&data("table.arff"), &format, &options).unwrap();
    let mut found = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        let Values::F32(values) = record.values else { panic!() };
        found.push((values, format.classes.iter().position(|class| Some(class) == record.class.as_ref())));
    }
    let wanted = all().into_iter().map(|(values, class)| (values, Some(class as usize))).collect::<Vec<_>>();
    assert_eq!(found, wanted);
    let two = Format { shape: Shape::Vector { features: 2 }, ..format };
    let mut options = Options::default();
    options.table.ignore = ["proto", "state"].map(Into::into).to_vec();
    for name in ["utf16.csv", "categories.csv"] {
        let mut records = decode::open(&data(name), &two, &options).unwrap();
        let mut count = 0;
        while let Some(record) = records.next_record().unwrap() {
            assert_eq!(record.values, Values::F32(vec![count as f32, count as f32 / 4.0]), "{name}");
            count += 1;
        }
        assert_eq!(count, COUNT, "{name}");
    }
    let mut records = decode::open(&data("categories.csv"), &two, &Options::default()).unwrap();
    assert!(
        matches!(records.next_record(), Err(DecodeError::Broken(_))),
        "four columns of values instead of two"
    );
}

//! Categories and missing values wherever records come from: the same 60 rows (`tests/data/tables`, written by pandas) as
//! CSV, JSON by name, Parquet, Arrow and through the log give the same values.

use crate::micro_batches::live_of;
use sluicebox_core::config::document::Document;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Block, Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::table::{self, Categorical, Categories, Column};
use sluicebox_stream::decode::{self, DecodeError, Missing, Options, Record};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

const COUNT: usize = 60;
const FILES: [&str; 5] =
    ["categories.csv", "categories.jsonl", "categories.parquet", "dictionary.parquet", "dictionary.feather"];
const GAPS: [&str; 3] = ["gaps.csv", "gaps.jsonl", "gaps.parquet"];
/// Rows of `GAPS` without a value, and with a category that is none.
const WITHOUT: [usize; 3] = [5, 7, 11];
const UNKNOWN: usize = 9;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tables").join(name)
}

fn format(features: usize) -> Format {
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    Format { shape: Shape::Vector { features }, dtype: Dtype::F32, scale: 1.0, classes }
}

fn named(names: &[&str]) -> Categories {
    Categories::Named(names.iter().map(|name| name.to_string()).collect())
}

fn options(categorical: &[(&str, Categories)], missing: Missing) -> Options {
    let columns = |names: &[&str]| names.iter().map(|name| Column::from(*name)).collect();
    let categorical = categorical.iter().map(|(name, of_one)| (name.to_string(), of_one.clone()));
    let table = table::Options {
        features: columns(&["f1", "f2", "proto", "state"]),
        class: Some("class".into()),
        categorical: Categorical::Declared(categorical.collect()),
        missing,
        ..table::Options::default()
    };
    Options { table, ..Options::default() }
}

fn both() -> [(&'static str, Categories); 2] {
    [("proto", named(&["icmp", "tcp", "udp"])), ("state", named(&["São Paulo", "Île"]))]
}

/// Returns the records of a file, and why others are bad.
fn read(name: &str, features: usize, options: &Options) -> (Vec<Record>, Vec<String>) {
    let mut records = decode::open(&data(name), &format(features), options).unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    loop {
        match records.next_record() {
            Ok(None) => return (good, bad),
            Ok(Some(record)) => good.push(record),
            Err(DecodeError::Bad { reason, .. }) => bad.push(reason),
            Err(DecodeError::Broken(reason)) => panic!("{name}: {reason}"),
        }
    }
}

/// Returns a row as the script makes it: numbers, then zeros and a one for each category.
fn row(at: usize) -> Vec<f32> {
    let one_of = |chosen: usize, count: usize| (0..count).map(move |place| f32::from(place == chosen));
    [at as f32, at as f32 / 4.0].into_iter().chain(one_of(at % 3, 3)).chain(one_of(at % 2, 2)).collect()
}

fn record(at: usize, values: Vec<f32>) -> Record {
    let class = ["ant", "bee", "cat"][at / 2 % 3];
    Record { id: None, values: Values::F32(values), class: Some(class.into()) }
}

#[test]
fn declared_categories_are_values_in_every_format() {
    for name in FILES {
        let (good, bad) = read(name, 7, &options(&both(), Missing::Drop));
        assert_eq!(bad, Vec::<String>::new(), "{name}");
        assert_eq!(good, (0..COUNT).map(|at| record(at, row(at))).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_hash_is_the_same_in_every_format() {
    let hashed = [("proto", Categories::Hashed(5)), ("state", named(&["São Paulo", "Île"]))];
    let whole = read("categories.csv", 9, &options(&hashed, Missing::Drop)).0;
    assert_eq!(whole.len(), COUNT);
    for record in &whole {
        let Values::F32(values) = &record.values else { panic!() };
        assert_eq!((values.len(), values[2..7].iter().sum::<f32>()), (9, 1.0));
    }
    for name in FILES {
        assert_eq!(read(name, 9, &options(&hashed, Missing::Drop)).0, whole, "{name}");
    }
}

#[test]
fn numbers_and_booleans_may_be_categories() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.csv"), "code,ok\n6,true\n17.0,false\n").unwrap();
    std::fs::write(path("a.jsonl"), "{\"code\": 6, \"ok\": true}\n{\"code\": 17.0, \"ok\": false}\n")
        .unwrap();
    let categorical = [("code".to_string(), named(&["6", "17"])), ("ok".into(), named(&["true", "false"]))];
    let features = ["code", "ok"].map(Column::from).to_vec();
    let categorical = Categorical::Declared(categorical.into());
    let table = table::Options { features, categorical, ..table::Options::default() };
    let options = Options { table, ..Options::default() };
    for name in ["a.csv", "a.jsonl"] {
        let mut records = decode::open(&path(name), &format(4), &options).unwrap();
        let mut next = || records.next_record().unwrap().map(|record| record.values);
        assert_eq!(next(), Some(Values::F32(vec![1.0, 0.0, 1.0, 0.0])), "{name}");
        assert_eq!(next(), Some(Values::F32(vec![0.0, 1.0, 0.0, 1.0])), "{name}");
    }
    // Without names columns are declared by their places, and the first row is one.
    std::fs::write(path("b.csv"), "tcp,1.5\nudp,2\n").unwrap();
    let categorical = Categorical::Declared([("0".to_string(), named(&["tcp", "udp"]))].into());
    let table = table::Options { categorical, ..table::Options::default() };
    let mut records =
        decode::open(&path("b.csv"), &format(3), &Options { table, ..Options::default() }).unwrap();
    assert_eq!(records.next_record().unwrap().unwrap().values, Values::F32(vec![1.0, 0.0, 1.5]));
}

#[test]
fn a_text_in_another_column_is_told_with_the_key_to_set() {
    let one = [("state", named(&["São Paulo", "Île"]))];
    for (name, says) in [
        ("categories.csv", "`icmp` in column 2 `proto` is not a finite number"),
        ("categories.jsonl", "`proto` is the text \"icmp\" where a number should be"),
    ] {
        let (good, bad) = read(name, 5, &options(&one, Missing::Drop));
        assert!(good.is_empty() && bad.len() == COUNT, "{name}: {}", good.len());
        assert!(bad[0].contains(says) && bad[0].contains("source.categorical"), "{name}: {}", bad[0]);
    }
    for name in &FILES[2..] {
        let error = decode::open(&data(name), &format(5), &options(&one, Missing::Drop)).err().unwrap();
        let error = error.to_string();
        assert!(error.contains("column `proto` holds text or categories"), "{name}: {error}");
        assert!(error.contains("source.categorical"), "{name}: {error}");
    }
    // What is declared must be a feature, and as many values as the job says.
    let mut without = options(&both(), Missing::Drop);
    without.table.features.retain(|column| *column != Column::from("proto"));
    for name in FILES {
        let mut opened = decode::open(&data(name), &format(4), &without);
        let broken = opened.as_mut().ok().and_then(|records| records.next_record().err());
        let told = opened.err().map(|error| error.to_string()).or(broken.map(|fault| fault.to_string()));
        let told = told.unwrap_or_else(|| panic!("{name} is read"));
        assert!(told.contains("categorical"), "{name}: {told}");
        let mut opened = decode::open(&data(name), &format(8), &options(&both(), Missing::Drop));
        let broken = opened.as_mut().ok().and_then(|records| records.next_record().err());
        let told = opened.err().map(|error| error.to_string()).or(broken.map(|fault| fault.to_string()));
        assert!(told.is_some_and(|told| told.contains("values")), "{name}");
    }
}

#[test]
fn rows_without_a_value_are_bad_or_have_none() {
    for name in GAPS {
        let (good, bad) = read(name, 7, &options(&both(), Missing::Drop));
        let kept = (0..COUNT).filter(|at| !WITHOUT.contains(at) && *at != UNKNOWN);
        assert_eq!(good, kept.map(|at| record(at, row(at))).collect::<Vec<_>>(), "{name}");
        assert_eq!(bad.len(), 4, "{name}: {bad:?}");
        for (reason, column) in bad.iter().zip(["proto", "f2", "gre", "f2"]) {
            assert!(reason.contains(column), "{name}: {reason}");
        }
        assert!(
            bad[0].contains("missing") && bad[2].contains("is none of its 3 categories"),
            "{name}: {bad:?}"
        );
        let (good, bad) = read(name, 7, &options(&both(), Missing::Mean));
        assert!(good.len() == COUNT - 1 && bad.len() == 1, "{name}: {bad:?}");
        let Values::F32(values) = &good[5].values else { panic!() };
        assert!(values[2..5].iter().all(|value| value.is_nan()) && values[1] == 1.25, "{name}: {values:?}");
    }
}

fn source(kind: &str, options: &str, folder: &Path) -> Result<Box<dyn Source>> {
    let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
    let context = Context { state: Some(folder.into()), ..Context::default() };
    (SOURCES.find(kind)?.build)(&spec, &context)
}

const TABLE: &str =
    "features = [\"f1\", \"f2\", \"proto\", \"state\"]\nclass_column = \"class\"\nmax_bad = 1.0\n";
const DECLARED: &str =
    "categorical = { proto = [\"icmp\", \"tcp\", \"udp\"], state = [\"São Paulo\", \"Île\"] }\n";
const ONCE: &str = "labelled_per_class = 0\nshuffle_buffer = 1\nrepeat = false\n";
const SHAPE: &str = "shape = [7]\ndtype = \"f32\"\nclasses = [\"ant\", \"bee\", \"cat\"]\n";

fn values(source: &mut dyn Source) -> Vec<Vec<f32>> {
    let mut samples = Samples::none(Dtype::F32);
    while source.read(7, &mut samples).unwrap() != ReadProgress::End {}
    let Values::F32(values) = samples.values else { panic!() };
    values.chunks(source.format().shape.len()).map(<[f32]>::to_vec).collect()
}

/// Returns the rows of `GAPS` with what takes the place of a missing value.
fn filled(missing: Missing) -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = (0..COUNT).filter(|at| *at != UNKNOWN).map(row).collect();
    let places = [(5, 2..5), (7, 1..2), (10, 1..7)]; // row 11 comes after one that is bad
    for (at, places) in places.clone() {
        for place in places {
            rows[at][place] = f32::NAN;
        }
    }
    for (at, places) in places {
        for place in places {
            let known = rows[..at].iter().map(|row| row[place]).filter(|value| !value.is_nan());
            let known: Vec<f32> = known.collect();
            rows[at][place] = match missing {
                Missing::Last => known[known.len() - 1],
                _ => known.iter().sum::<f32>() / known.len() as f32,
            };
        }
    }
    rows
}

fn assert_close(found: &[Vec<f32>], wanted: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let near = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(near && found.len() == wanted.len(), "{what}, row {at}: {found:?} instead of {wanted:?}");
    }
}

#[test]
fn what_is_missing_is_filled_in_by_the_stream_so_far() {
    let folder = tempfile::tempdir().unwrap();
    for (key, missing) in [("mean", Missing::Mean), ("last", Missing::Last)] {
        // What was filled in does not enter the mean: only the last missing value differs from a plain one.
        let wanted = filled(missing);
        for name in GAPS {
            let path = data(name);
            let text = format!("path = {path:?}\nmissing = \"{key}\"\n{TABLE}{DECLARED}{ONCE}{SHAPE}");
            let mut files = source("files", &text, folder.path()).unwrap();
            assert_close(&values(&mut *files), &wanted, name);
            // A restored stream goes on with the same statistics.
            let mut begun = source("files", &text, folder.path()).unwrap();
            begun.read(6, &mut Samples::none(Dtype::F32)).unwrap();
            let mut resumed = source("files", &text, folder.path()).unwrap();
            resumed.load(&begun.save().unwrap()).unwrap();
            assert_close(&values(&mut *resumed), &wanted[6..], name);
        }
    }
}

#[test]
fn labelled_samples_and_those_for_evaluation_are_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = data("gaps.parquet");
    let more = "labelled = 50\nrepeat = false\nmissing = \"mean\"\n";
    let text = format!("path = {path:?}\ntest = {path:?}\n{more}{TABLE}{DECLARED}{SHAPE}");
    let text = text.replacen("gaps.parquet", "gaps.csv", 1);
    let mut files = source("files", &text, folder.path()).unwrap();
    let labelled = files.labelled().unwrap();
    let Values::F32(found) = &labelled.values else { panic!() };
    assert!(labelled.len() == 50 && found.iter().all(|value| value.is_finite()));
    let held_out = files.held_out(100).unwrap().unwrap();
    let held_out = held_out.at(0);
    let Values::F32(found) = &held_out.values else { panic!() };
    assert!(held_out.len() == COUNT - 1 && found.iter().all(|value| value.is_finite()));
    let share = &found[5 * 7 + 2..5 * 7 + 5];
    assert!((share.iter().sum::<f32>() - 1.0).abs() < 1e-5, "the shares of the set: {share:?}");
}

#[test]
fn typed_columns_say_their_categories_themselves() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["categories.parquet", "dictionary.parquet", "dictionary.feather"] {
        let text = format!("path = {:?}\ncategorical = [\"proto\", \"state\"]\n{TABLE}{ONCE}", data(name));
        let mut files = source("files", &text, folder.path()).unwrap();
        files.read(9, &mut Samples::none(Dtype::F32)).unwrap();
        // A state is of these categories only.
        let state = files.save().unwrap();
        assert_eq!(values(&mut *files), (9..COUNT).map(row).collect::<Vec<_>>(), "{name}");
        let other = format!("path = {:?}\n{TABLE}{DECLARED}{ONCE}", data(name)).replace("icmp", "sctp");
        let mut other = source("files", &other, folder.path()).unwrap();
        other.load(&state).unwrap();
        let error = other.read(1, &mut Samples::none(Dtype::F32)).unwrap_err().to_string();
        assert!(error.contains("hold other categories"), "{error}");
    }
    let text =
        format!("path = {:?}\ncategorical = [\"proto\"]\n{TABLE}{ONCE}{SHAPE}", data("categories.jsonl"));
    let error = source("files", &text, folder.path()).err().unwrap().to_string();
    assert!(error.contains("{ \"proto\" = [\"…\", \"…\"] }"), "{error}");
}

#[test]
fn a_stream_that_is_no_file_needs_its_categories() {
    for (kind, own) in [
        ("lines", ""),
        ("http", ""),
        ("folder", "path = \"a\"\n"),
        ("kafka", "brokers = \"a:1\"\ntopic = \"t\"\nencoding = \"ndjson\"\n"),
    ] {
        let faults = |more: &str| {
            let names = "features = [\"f1\", \"f2\", \"proto\", \"state\"]\n";
            let text = format!("[source]\nkind = \"{kind}\"\n{own}{SHAPE}{names}{more}");
            let texts = Document::texts(text, &[]).unwrap();
            let (mut document, mut root) = Document::parse("job.toml", &texts, &[]);
            let section = document.section(&mut root, "source");
            SOURCES.resolve(&mut document, section, None);
            document.faults().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(
            faults(&format!("missing = \"mean\"\nmissing_markers = [\"-\"]\n{DECLARED}")),
            "",
            "{kind}"
        );
        let found = faults("categorical = [\"proto\", \"state\"]");
        assert!(found.contains("the stream cannot be read before"), "{kind}: {found}");
        assert!(faults("categorical = { proto = [] }").contains("column `proto`: 0 values"), "{kind}");
    }
}

#[test]
fn what_is_missing_goes_through_the_log_and_is_filled_in_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let live = live_of(folder.path(), &runtime, format(7));
    let text = format!("missing = \"last\"\n{}{SHAPE}", TABLE.replace("max_bad = 1.0\n", ""));
    let text = format!("{text}{DECLARED}");
    let open = || {
        let mut source = source("http", &text, folder.path()).unwrap();
        source.open(&live, 0).unwrap();
        source
    };
    let mut first = open();
    let (records, _) = read("gaps.jsonl", 7, &options(&both(), Missing::Last));
    let mut block = Block::default();
    records.iter().for_each(|record| block.push(&record.values));
    runtime.block_on(live.ingest.take(0, block, None)).unwrap();
    let mut samples = Samples::none(Dtype::F32);
    assert_eq!(first.read(6, &mut samples).unwrap(), ReadProgress::Full);
    let state = first.save().unwrap();
    first.read(100, &mut samples).unwrap();
    let Values::F32(found) = &samples.values else { panic!() };
    let wanted = filled(Missing::Last);
    assert_eq!(found.chunks(7).map(<[f32]>::to_vec).collect::<Vec<_>>(), wanted);
    let mut again = source("http", &text, folder.path()).unwrap();
    again.load(&state).unwrap();
    live.ingest.may_miss.lock().clear();
    let refused = |value: f32| {
        let mut block = Block::default();
        block.push(&Values::F32(vec![value; 7]));
        runtime.block_on(live.ingest.take(0, block, None)).unwrap_err().to_string()
    };
    assert!(refused(f32::NAN).contains("source.missing = \"mean\""), "{}", refused(f32::NAN));
    live.ingest.may_miss.lock().insert(0);
    assert!(refused(f32::NAN).contains("so are all the others"), "{}", refused(f32::NAN));
    assert!(refused(f32::INFINITY).contains("is not a finite number"), "{}", refused(f32::INFINITY));
}

//! The same command again is the same job, whatever decimals are in its numbers: through the manifest of a checkpoint,
//! and through the job that `check` prints.

use crate::support::root;
use sluicebox::engine::checkpoint::{Manifest, Saved, SavedJob, VERSION};
use sluicebox::job::Job;
use sluicebox::job::compatibility::{follows, job_of};
use sluicebox::job::effective::Effective;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_core::state::Sections;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Decimals that are not exact in binary, in 64 bits or in 32; each key accepts some of them.
const AWKWARD: [f64; 14] = [
    0.0039,
    0.1,
    1e-7,
    0.3333333,
    0.3333333333333333,
    0.7,
    0.95,
    1.1,
    2.3,
    33.3,
    1234.5678,
    123456.789,
    1e-3,
    5.0,
];

fn pipelines() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("pipelines")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(files.len() >= 14);
    files
}

fn parse(table: &Table) -> Result<Job, String> {
    let text = toml::to_string(table).unwrap();
    Job::parse("job.toml", "job", text, &[]).map_err(|error| error.to_string())
}

/// A place in a job: keys, and positions in lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    At(usize),
}

fn show(place: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Key(key) => format!(".{key}"),
        Part::At(at) => format!("[{at}]"),
    };
    place.iter().map(part).collect::<String>().trim_start_matches('.').to_string()
}

fn at<'v>(job: &'v mut Value, place: &[Part]) -> &'v mut Value {
    place.iter().fold(job, |value, part| match part {
        Part::Key(key) => value.get_mut(key.as_str()).unwrap(),
        Part::At(at) => value.get_mut(*at).unwrap(),
    })
}

/// Returns the job with one key set to a value.
fn with(job: &Table, table: &[Part], key: &str, value: Value) -> Table {
    let mut job = Value::Table(job.clone());
    at(&mut job, table).as_table_mut().unwrap().insert(key.into(), value);
    job.as_table().unwrap().clone()
}

/// Returns the keys that a table of the job has or may have: the message about a key that it may not have names them.
fn known(job: &Table, table: &[Part]) -> BTreeSet<String> {
    let error = parse(&with(job, table, "no_such_key", true.into())).unwrap_err();
    let named: Vec<String> = match (error.rsplit_once("(known: "), error.split_once(", expected ")) {
        (Some((_, names)), _) => {
            names.trim_end().trim_end_matches(')').split(", ").map(String::from).collect()
        }
        (_, Some((_, names))) => names.split('`').skip(1).step_by(2).map(String::from).collect(),
        _ => Vec::new(), // one of several kinds of table
    };
    let mut job = Value::Table(job.clone());
    let there = at(&mut job, table).as_table().unwrap().keys().cloned();
    there.chain(named).collect()
}

/// Returns the tables in a value, by their places.
fn tables(value: &Value, place: &[Part], found: &mut Vec<Vec<Part>>) {
    let below = |part: Part| [place, &[part]].concat();
    match value {
        Value::Table(table) => {
            found.push(place.to_vec());
            table.iter().for_each(|(key, value)| tables(value, &below(Part::Key(key.clone())), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| tables(item, &below(Part::At(at)), found));
        }
        _ => {}
    }
}

/// Returns the job with every optional table in it that it may have, such as `source.drift`.
fn filled(mut job: Table) -> Table {
    let mut places = Vec::new();
    tables(&Value::Table(job.clone()), &[], &mut places);
    for place in places {
        for key in known(&job, &place) {
            let is_there = at(&mut Value::Table(job.clone()), &place).get(&key).is_some();
            let filled = with(&job, &place, &key, Value::Table(Table::new()));
            if !is_there
                && let Ok(parsed) = parse(&filled)
                && Effective::foreseen(&parsed).is_ok()
            {
                job = parsed.resolved().parse().unwrap();
            }
        }
    }
    job
}

fn format() -> Format {
    let shape = Shape::Vector { features: 2 };
    Format { shape, dtype: Dtype::F32, scale: 1.0, classes: vec!["a".into(), "b".into()] }
}

/// Returns a job as a checkpoint gives it back. `change` is what becomes of its text in between.
fn saved(job: &Job, change: impl Fn(&mut serde_json::Value)) -> Saved {
    let effective = serde_json::to_value(Effective::foreseen(job).unwrap()).unwrap();
    let mut resolved = serde_json::to_value(job).unwrap();
    change(&mut resolved);
    let manifest = Manifest {
        version: VERSION,
        manifest_sha256: None,
        sluicebox: "0".into(),
        step: 8,
        log_position: None,
        log_end: None,
        job: SavedJob::new(&job.resolved(), resolved, effective, format()),
        files: Default::default(),
    };
    let manifest: Manifest = serde_json::from_str(&manifest.text().unwrap()).unwrap();
    Saved { manifest, sections: Sections::default(), folder: Path::new("state/step-000000000008").into() }
}

/// Writes every number as an earlier Sluicebox wrote some: with the digits of its conversion to 32 bits.
fn converted(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) if number.is_f64() => {
            *value = f64::from(number.as_f64().unwrap() as f32).into();
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(converted),
        serde_json::Value::Object(keys) => keys.values_mut().for_each(converted),
        _ => {}
    }
}

fn resumes(job: &Job, what: &str) {
    let now = saved(job, |_| {});
    let then = job_of(&now).unwrap();
    assert_eq!(&then, job, "{what}");
    follows(job, &then, &now).unwrap_or_else(|error| panic!("{what}: {error}"));
    let printed = Job::parse("job.toml", "job", job.resolved(), &[]).unwrap();
    assert_eq!(&printed, job, "{what}");
    let earlier = saved(job, converted);
    let then = job_of(&earlier).unwrap();
    follows(job, &then, &earlier).unwrap_or_else(|error| panic!("{what}, earlier: {error}"));
}

#[test]
fn every_number_of_every_job_is_the_same_in_its_checkpoint() {
    let mut numbers = BTreeSet::new();
    for path in pipelines() {
        let file = path.file_name().unwrap().to_str().unwrap().to_string();
        let job = filled(Job::load(&path, &[]).unwrap().resolved().parse().unwrap());
        let mut places = Vec::new();
        tables(&Value::Table(job.clone()), &[], &mut places);
        for table in places {
            for key in known(&job, &table) {
                let name = format!("{file}: {}", show(&[&table[..], &[Part::Key(key.clone())]].concat()));
                for number in AWKWARD {
                    let Ok(job) = parse(&with(&job, &table, &key, number.into())) else { continue };
                    // As `run` refuses a job whose epochs end by time and which keeps no log.
                    if Effective::foreseen(&job).is_err() {
                        continue;
                    }
                    numbers.insert(name.clone());
                    resumes(&job, &format!("{name} = {number}"));
                }
            }
        }
    }
    for key in [
        "tcp.toml: source.scale",
        "kafka.toml: source[1].scale",
        "kafka.toml: source[0].weight",
        "lines.toml: source.scale",
        "http.toml: source.scale",
        "http.toml: epoch.seconds",
        "folder.toml: source.scale",
        "folder.toml: source.max_bad",
        "digits.toml: source.drift.noise",
        "digits-phases.toml: scenario.drift.shift",
        "insects.toml: labels.rate",
        "cifar.toml: views.strong[1].shear",
        "flexmatch.toml: filter.gate.",
        "digits.toml: memory.pace",
        "digits.toml: answer.prototypes.rate",
        "digits.toml: optimiser.learning_rate",
    ] {
        assert!(numbers.iter().any(|name| name.starts_with(key)), "{key} is not among {numbers:?}");
    }
    assert!(numbers.len() > 300, "{} numbers", numbers.len());
}

#[test]
fn another_number_is_another_job() {
    let job = |scale: &str| {
        let set = format!("source.scale={scale}");
        Job::load(&root().join("pipelines/tcp.toml"), &[set]).unwrap()
    };
    let state = saved(&job("0.0039"), |_| {});
    let refused = follows(&job("0.0038"), &job_of(&state).unwrap(), &state).unwrap_err().to_string();
    assert!(refused.contains("source.scale is 0.0038 now, but was 0.0039 in the saved job"), "{refused}");
}

#[test]
fn addresses_and_limits_may_change() {
    for (file, sets) in [
        (
            "tcp.toml",
            &["source.listen=127.0.0.1:1", "source.max_clients=512", "source.max_frame_bytes=1000000"][..],
        ),
        ("kafka.toml", &["server.listen=127.0.0.1:0", "log.max_bytes=100000000", "server.token_file=token"]),
        ("folder.toml", &["source.path=elsewhere", "source.test=tests", "source.poll=5s", "history.lines=7"]),
        (
            "fashion.toml",
            &["source.path=elsewhere", "source.test_images=", "source.repeat=false", "threads=1"],
        ),
        ("npy.toml", &["source.path=elsewhere", "source.max_bad=0.5"]),
        ("cifar.toml", &["source.path=elsewhere", "source.test=test.bin", "checkpoint.keep=7"]),
    ] {
        let path = root().join("pipelines").join(file);
        let before = saved(&Job::load(&path, &[]).unwrap(), |_| {});
        for set in sets {
            let job = Job::load(&path, &[set.to_string()]).unwrap();
            let follows = follows(&job, &job_of(&before).unwrap(), &before);
            follows.unwrap_or_else(|error| panic!("{file} {set}: {error}"));
        }
    }
}

#[test]
fn a_number_that_json_does_not_have_is_refused() {
    for number in ["nan", "inf", "-inf", "1e999"] {
        for key in ["source.scale", "memory.pace", "optimiser.learning_rate", "views.weak"] {
            let value = if key == "views.weak" {
                format!("[{{ kind = \"affine\", scale = {number} }}]")
            } else {
                number.to_string()
            };
            let set = format!("{key}={value}");
            let error = Job::load(&root().join("pipelines/tcp.toml"), std::slice::from_ref(&set))
                .unwrap_err()
                .to_string();
            assert!(error.contains("not a finite number") && error.contains(&set), "{set}: {error}");
        }
    }
    for scale in ["0", "1e-50", "1e50"] {
        let set = format!("source.scale={scale}");
        let error = Job::load(&root().join("pipelines/tcp.toml"), &[set]).unwrap_err().to_string();
        assert!(error.contains("source.scale: "), "{error}");
    }
}

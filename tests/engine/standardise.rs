//! The network's input is standardised by the job: whatever the scale of a feature, wherever its values begin, and
//! whatever one wrong value does.

use crate::support::write_csv;
use sluicebox::engine::metrics::Summary;
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn job(csv: &Path, more: &[&str]) -> Summary {
    let text = format!(
        "device = \"cpu\"\nprecision = \"f32\"\nthreads = 1\nsource = {{ kind = \"csv\", path = {csv:?}, \
         labelled_first = 100 }}\nbatch = {{ labelled = 16, unlabelled = 20, warmup_steps = 200 }}\n\
         model = {{ kind = \"mlp\", hidden = [16] }}\nviews.strong = [{{ kind = \"jitter\", deviation = 0.3 }}]\n\
         epoch.steps = 10\noptimiser = {{ kind = \"adamw\", learning_rate = 0.01 }}\nreport.evaluate_epochs = 0\n"
    );
    let sets: Vec<String> = more.iter().map(|set| set.to_string()).collect();
    let job = Job::parse("rows.toml", "rows", text, &sets).unwrap();
    run(&job, &Options::default(), Arc::new(AtomicBool::new(false))).unwrap()
}

/// Writes 2,000 good rows with each feature changed: `change(row, feature, value)`.
fn rows(folder: &Path, name: &str, change: impl Fn(usize, usize, f64) -> f64) -> PathBuf {
    let (plain, path) = (folder.join("plain.csv"), folder.join(format!("{name}.csv")));
    write_csv(&plain, 2000, &[]);
    let text = std::fs::read_to_string(plain).unwrap();
    let mut lines = text.lines();
    let mut changed = format!("{}\n", lines.next().unwrap());
    for (row, line) in lines.enumerate() {
        let fields = line.split(',').enumerate().map(|(at, field)| match field.parse() {
            Ok(value) => change(row, at, value).to_string(),
            Err(_) => field.to_string(),
        });
        changed += &format!("{}\n", Vec::from_iter(fields).join(","));
    }
    std::fs::write(&path, changed).unwrap();
    path
}

#[test]
fn neither_the_scale_of_a_feature_nor_one_wrong_value_costs_accuracy() {
    let folder = tempfile::tempdir().unwrap();
    let accuracy = |name: &str, change: &dyn Fn(usize, usize, f64) -> f64, more: &[&str]| {
        let summary = job(&rows(folder.path(), name, change), more);
        assert!(summary.samples_seen > 1800, "{name}: {}", summary.samples_seen);
        summary.prequential_accuracy.unwrap()
    };
    let plain = accuracy("as-they-are", &|_, _, value| value, &[]);
    assert!(plain > 0.9, "{plain}");
    let scales = [1e-7, 1e6, 1.0, 1e-3, 1e9];
    let scaled = |_: usize, feature: usize, value: f64| scales[feature] * (value + 5.0);
    let found = accuracy("scaled", &scaled, &[]);
    assert!((found - plain).abs() < 0.01, "{found} and {plain}");
    let without = accuracy("not-standardised", &scaled, &["input.standardise=false"]);
    assert!(without < plain - 0.2, "the scales matter where nothing standardises: {without}");
    for (name, wrong) in [("far", 1e9), ("farther", 1e30), ("no-data", -3.4e38)] {
        for at in [3, 60, 700] {
            let one = |row: usize, feature, value| if (row, feature) == (at, 0) { wrong } else { value };
            let found = accuracy(name, &one, &[]);
            assert!(found > plain - 0.02, "{name} in row {at}: {found} and {plain}");
        }
    }
}

#[test]
fn the_scale_follows_the_stream_and_with_a_horizon_the_newest_of_it() {
    let folder = tempfile::tempdir().unwrap();
    // Between rows 500 and 600 all features move.
    let moved = |row: usize, _: usize, value: f64| value + 40.0 * (row.clamp(500, 600) - 500) as f64 / 100.0;
    let path = rows(folder.path(), "moved", moved);
    let accuracy = |horizon: &str| {
        job(&path, &["labels={ rate = 0.3, delay = 20 }", "answer.blend=false", "answer.prior=none", horizon])
            .prequential_accuracy
            .unwrap()
    };
    let (all, newest) = (accuracy("input.horizon=0"), accuracy("input.horizon=100"));
    assert!(newest > all + 0.02 && newest > 0.8, "{newest} and {all}");
}

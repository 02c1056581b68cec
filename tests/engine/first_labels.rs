//! The first labels: before those of two classes are known, nothing is learned from unlabelled samples and no judge
//! moves; then a warm-up, if the job has one, and further updates.

use crate::support::{root, small_job, weights_of, write_csv};
use sluicebox::engine::checkpoint::newest;
use sluicebox::engine::metrics::Summary;
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use sluicebox_core::error::Result;
use sluicebox_core::sample::Shape;
use sluicebox_core::state::Section;
use sluicebox_learn::method::METHODS;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A job on a CSV of 1,000 rows in steps of 20, whose labels come `delay` samples late.
fn late_job(csv: &Path, delay: u64, more: &[&str]) -> Job {
    parsed(csv, delay, more).unwrap()
}

fn parsed(csv: &Path, delay: u64, more: &[&str]) -> Result<Job> {
    let text = format!(
        "device = \"cpu\"\nprecision = \"f32\"\nthreads = 1\nsource = {{ kind = \"csv\", path = {csv:?}, \
         labelled_first = 0 }}\nbatch = {{ labelled = 8, unlabelled = 20 }}\nlabels = {{ rate = 0.5, delay = {delay} }}\n\
         model = {{ kind = \"mlp\", hidden = [8] }}\nviews.strong = [{{ kind = \"jitter\" }}]\nepoch.steps = 10\n\
         stop.epochs = 3\nanswer = {{ prior = \"none\", blend = false }}\n"
    );
    let sets: Vec<String> = more.iter().map(|set| set.to_string()).collect();
    Job::parse("late.toml", "late", text, &sets)
}

fn in_folder(job: &Job, state: &Path) -> Summary {
    let options = Options { state: Some(state.to_path_buf()), ..Options::default() };
    run(job, &options, Arc::new(AtomicBool::new(false))).unwrap()
}

#[test]
fn no_method_learns_or_judges_before_two_classes_have_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("late.csv");
    write_csv(&csv, 1000, &[]);
    for name in METHODS.names() {
        let method = format!("method={{ kind = \"{name}\" }}");
        let spec = small_job(&[&method]).method;
        let views = (METHODS.find(name).unwrap().build)(&spec).unwrap().views();
        if views.refuses(Shape::Vector { features: 5 }).is_some() {
            // The job file tells; where it does not, the run does.
            let refused = parsed(&csv, 900, &[&method]).unwrap_err().to_string();
            assert!(refused.contains(&format!("method.kind: `{name}` ")), "{refused}");
            let mut job = late_job(&csv, 900, &[]);
            job.method = spec;
            let refused =
                run(&job, &Options::default(), Arc::new(AtomicBool::new(false))).unwrap_err().to_string();
            assert!(refused.contains(&format!("method.kind = \"{name}\"")), "{refused}");
            continue;
        }
        let state = |epochs: u64| {
            let state = folder.path().join(format!("{name}-{epochs}"));
            let stop = format!("stop.epochs={epochs}");
            let summary = in_folder(&late_job(&csv, 900, &[&method, &stop]), &state);
            assert_eq!((summary.accepted_fraction, summary.student_samples), (0.0, 0), "{name}");
            let sections = newest(&state).unwrap().unwrap().sections;
            [Section::Method, Section::Gate].map(|section| sections.get(section).map(<[u8]>::to_vec))
        };
        assert_eq!(state(1), state(3), "{name}");
    }
}

#[test]
fn the_beginning_is_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("late.csv");
    write_csv(&csv, 1000, &[]);
    for more in [&["method={ kind = \"freematch\" }"][..], &["batch.warmup_steps=5", "batch.updates=3"]] {
        // The labels begin in epoch 2.
        let job = |epochs: &str| late_job(&csv, 260, &[more, &[epochs]].concat());
        let whole = in_folder(&job("stop.epochs=3"), &folder.path().join("whole"));
        assert!(whole.student_samples > 0 || more[0].starts_with("batch"), "it begins");
        for epochs in ["stop.epochs=1", "stop.epochs=2"] {
            let state = folder.path().join(epochs);
            in_folder(&job(epochs), &state);
            let resumed = in_folder(&job("stop.epochs=3"), &state);
            assert_eq!(resumed.weights_sha256, whole.weights_sha256, "{more:?} {epochs}");
            std::fs::remove_dir_all(&state).unwrap();
        }
        std::fs::remove_dir_all(folder.path().join("whole")).unwrap();
    }
}

#[test]
fn further_updates_and_a_warm_up_are_repeatable_and_resume_bit_by_bit() {
    let sets = |epochs: &'static str| ["batch.updates=3", "batch.warmup_steps=7", "batch.labelled=8", epochs];
    let whole = weights_of(&small_job(&sets("stop.epochs=2")));
    assert_eq!(weights_of(&small_job(&sets("stop.epochs=2"))), whole);
    let base = ["batch.labelled=8", "stop.epochs=2"];
    let others = [
        weights_of(&small_job(&base)),
        weights_of(&small_job(&[&base[..], &["batch.updates=3"]].concat())),
        weights_of(&small_job(&[&base[..], &["batch.warmup_steps=7"]].concat())),
    ];
    assert!(!others.contains(&whole) && others[0] != others[1] && others[0] != others[2]);
    let folder = tempfile::tempdir().unwrap();
    let half = in_folder(&small_job(&sets("stop.epochs=1")), folder.path());
    assert_ne!(half.weights_sha256, whole);
    let resumed = in_folder(&small_job(&sets("stop.epochs=2")), folder.path());
    assert_eq!(resumed.weights_sha256, whole);
    // Each step has 3 · 8 labelled samples, and the first one 7 · 8 more.
    let unlabelled = resumed.samples_seen as f64;
    let labelled = (16.0 * 24.0 + 56.0) / unlabelled;
    let accepted = resumed.student_samples as f64 / unlabelled;
    assert!((resumed.student_passes_per_sample.unwrap() - labelled - accepted).abs() < 1e-9);
}

#[test]
fn a_job_that_warms_up_later_does_not_warm_up() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["batch.labelled=8"];
    let whole = weights_of(&small_job(&[&base[..], &["stop.epochs=2"]].concat()));
    in_folder(&small_job(&[&base[..], &["stop.epochs=1"]].concat()), folder.path());
    let later = small_job(&[&base[..], &["stop.epochs=2", "batch.warmup_steps=7"]].concat());
    assert_eq!(in_folder(&later, folder.path()).weights_sha256, whole);
}

#[test]
fn a_batch_of_one_ends_no_job_and_poisons_nothing() {
    let one = ["batch.labelled=1", "batch.unlabelled=4", "method.threshold=0.9999", "stop.epochs=1"];
    // The last maps of this network are 1×1.
    let resnet = [
        "model={ kind = \"resnet18\", width = 4 }",
        "schedule.warmup_steps=0",
        "optimiser.learning_rate=0.001",
    ];
    let folder = tempfile::tempdir().unwrap();
    let summary = in_folder(&small_job(&[&one[..], &resnet].concat()), folder.path());
    assert_eq!(summary.skipped_updates, 0);
    // Batch norm of vectors takes no single sample: the step learns nothing, and the job goes on.
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("late.csv");
    write_csv(&csv, 1000, &[]);
    let path = root().join("crates/sluicebox-learn/tests/golden/torchscript-norm.pt");
    let model = format!("model={{ kind = \"torchscript\", path = {path:?} }}");
    let job = |epochs| late_job(&csv, 100, &[&model, "batch.labelled=1", "method.threshold=0.9999", epochs]);
    let whole = in_folder(&job("stop.epochs=2"), &folder.path().join("whole"));
    assert!(whole.skipped_updates > 0, "{}", whole.skipped_updates);
    in_folder(&job("stop.epochs=1"), &folder.path().join("half"));
    let resumed = in_folder(&job("stop.epochs=2"), &folder.path().join("half"));
    assert_eq!(
        (resumed.weights_sha256, resumed.skipped_updates),
        (whole.weights_sha256, whole.skipped_updates)
    );
}

//! Claim: a step is few operations for the device, and no more than before. Counts them by stage, as each of them
//! costs a launch, whatever the size of the batch. The counts are kept in `benches/runs`.

use crate::library;
use crate::operations_log::{Operation, read};
use crate::support::{prepared, root, write_idx};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use sluicebox::engine::flow::Stages;
use sluicebox::job::Job;
use sluicebox_stream::microbatch::batcher::Next;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;

const KEPT: &str = "benches/runs/2026-11-27-fewer-launches/operations.txt";
/// Steps that are not counted: the first ones differ from all others.
const FIRST: u64 = 2;
/// Steps that are counted.
const STEPS: u64 = 4;
/// Columns of the table. A fetch is that of the report stage, of [`STEPS`] steps.
const COLUMNS: [&str; 10] =
    ["batch", "weak", "teach", "filter", "strong", "learn", "backward", "step", "uploads", "fetch"];

/// The pretended device in this process.
struct Device(Library);

impl Device {
    fn load(folder: &Path) -> Self {
        let path = folder.join("libtorch_cuda.so");
        // SAFETY: its initialisers register it with libtorch. From now on the name alone finds it.
        Self(unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.unwrap())
    }

    /// Names the stage in the log.
    fn stage(&self, name: &'static CStr) {
        // SAFETY: the type is that of the function, and the name lives for ever.
        unsafe {
            (*self.0.get::<extern "C" fn(*const c_char)>(b"pretended_cuda_stage\0").unwrap())(name.as_ptr())
        };
    }

    /// Starts a log.
    fn log(&self, path: &Path) {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: as above; the path is read in the call.
        unsafe {
            (*self.0.get::<extern "C" fn(*const c_char)>(b"pretended_cuda_log\0").unwrap())(path.as_ptr())
        };
    }
}

/// Runs a job's stages one after the other. Returns the operations of the counted steps.
fn operations(device: &Device, job: &Job) -> Vec<Operation> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("operations");
    let stages = prepared(job).stages;
    let Stages { mut feed, mut batcher, mut weak, mut teacher, mut filter, mut strong, .. } = stages;
    let Stages { mut student, reporter, in_flight, .. } = stages;
    let mut weights = in_flight.into_iter().last().unwrap().1;
    for step in 0..FIRST + STEPS {
        if step == FIRST {
            device.log(&log);
        }
        device.stage(c"source");
        let Next::MicroBatch(micro_batch) = feed.cut_next().unwrap() else { panic!("the stream has ended") };
        device.stage(c"batch");
        let batch = batcher.batch(*micro_batch).unwrap();
        device.stage(c"weak");
        let views = weak.view(batch).unwrap();
        device.stage(c"teach");
        teacher.receive(&weights);
        let scored = teacher.score(views).unwrap();
        device.stage(c"filter");
        let selected = filter.judge(scored).unwrap();
        device.stage(c"strong");
        let training_batch = strong.view(selected).unwrap();
        device.stage(c"learn");
        let (result, next) = student.learn(training_batch).unwrap();
        weights = next;
        device.stage(c"report");
        reporter.borrow_mut().add(result).unwrap();
    }
    device.log(&folder.path().join("rest"));
    read(&log)
}

/// Returns the numbers of the table's columns.
fn counts(operations: &[Operation]) -> Vec<f64> {
    let main = operations.iter().find(|one| one.stage == "batch").unwrap().thread;
    // The backward pass has a thread of its own.
    let column = |one: &Operation| match (one.stage.as_str(), one.thread == main) {
        ("learn", false) => "backward".to_string(),
        ("report", _) => "fetch".to_string(),
        (stage, _) => stage.to_string(),
    };
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for one in operations.iter().filter(|one| one.is_work()) {
        let column = column(one);
        let per = if column == "fetch" { 1.0 } else { STEPS as f64 };
        *counts.entry(column.clone()).or_default() += 1.0 / per;
        if column != "fetch" {
            *counts.entry("step".into()).or_default() += 1.0 / per;
            *counts.entry("uploads".into()).or_default() +=
                if one.kind == "upload" { 1.0 / per } else { 0.0 };
        }
    }
    let found = COLUMNS.map(|column| counts.remove(column).unwrap_or(0.0));
    assert!(counts.is_empty(), "{counts:?} are in no column");
    found.into()
}

/// Reads the kept table: the numbers of each job.
fn kept() -> BTreeMap<String, Vec<f64>> {
    let text = std::fs::read_to_string(root().join(KEPT)).unwrap_or_default();
    let row = |line: &str| {
        let (name, cells) = line.split_once(' ')?;
        Some((name.to_string(), cells.split_whitespace().map_while(|cell| cell.parse().ok()).collect()))
    };
    text.lines().filter_map(row).collect()
}

fn line(name: &str, cells: &[String]) -> String {
    cells.iter().fold(format!("{name:<10}"), |line, cell| format!("{line}{cell:>9}"))
}

#[test]
fn a_step_has_no_more_operations_than_before() {
    let Some(folder) = library::folder() else { return };
    let device = Device::load(folder);
    let data = tempfile::tempdir().unwrap();
    images(data.path());
    let source = format!("source.path={}", data.path().display());
    let small = ["batch.labelled=4", "batch.unlabelled=8"];
    let jobs = [
        ("digits", "pipelines/digits.toml", &small[..]),
        // All of RandAugment's operations come up in a batch of this size.
        ("28x28", "pipelines/fashion.toml", &["batch.labelled=16", "batch.unlabelled=112"]),
        (
            "wrn-28-2",
            "pipelines/cifar.toml",
            &[
                "batch.labelled=2",
                "batch.unlabelled=4",
                "model={ kind = \"wide-resnet\" }",
                "source.train=[\"train.bin\"]",
                "source.test=test.bin",
                "source.labelled_per_class=4",
            ],
        ),
    ];
    let kept = kept();
    let mut table = line("job", &COLUMNS.map(String::from));
    let mut more = Vec::new();
    for (name, path, sets) in jobs {
        let fetch = format!("report.fetch_steps={STEPS}");
        let base =
            ["device=cuda:0", "precision=bf16", "threads=1", "report.evaluate_epochs=0", &source, &fetch];
        let base = base.iter().filter(|set| name != "digits" || !set.starts_with("source."));
        let sets: Vec<String> = base.chain(sets).map(|set| set.to_string()).collect();
        let operations = operations(&device, &Job::load(&root().join(path), &sets).unwrap());
        let waits: Vec<_> = operations.iter().filter(|one| one.waits && !one.is_fetch_wait()).collect();
        assert!(waits.is_empty(), "{name}: {waits:?}");
        let found = counts(&operations);
        table = format!(
            "{table}\n{}",
            line(name, &found.iter().map(|count| format!("{count:.1}")).collect::<Vec<_>>())
        );
        let before = kept.get(name).unwrap_or(&Vec::new()).clone();
        let columns = COLUMNS.iter().zip(found).enumerate();
        more.extend(columns.filter_map(|(at, (column, now))| {
            let before = *before.get(at).unwrap_or(&0.0);
            (now > before + 0.05).then(|| format!("{name}, {column}: {now:.1}, and {before:.1} before"))
        }));
    }
    println!("Operations of a step, and of a fetch of {STEPS} steps:\n{table}");
    assert!(more.is_empty(), "more operations than {KEPT} has: {more:?}\n{table}");
}

/// Writes 28×28 images as IDX files and 32×32 images in colour as CIFAR files.
fn images(folder: &Path) {
    let mut draw = 1u64;
    let mut byte = || {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (draw >> 56) as u8
    };
    for (name, count) in [("train", 900u32), ("t10k", 20)] {
        let path = |what: &str| folder.join(format!("{name}-{what}"));
        let pixels: Vec<u8> = (0..count * 784).map(|_| byte()).collect();
        write_idx(&path("images-idx3-ubyte"), &[count, 28, 28], &pixels);
        let classes: Vec<u8> = (0..count).map(|at| (at % 10) as u8).collect();
        write_idx(&path("labels-idx1-ubyte"), &[count], &classes);
    }
    for name in ["train", "test"] {
        let image = |at: u32| {
            let mut image = vec![(at % 10) as u8];
            image.extend((0..3072).map(|_| byte()));
            image
        };
        let all: Vec<u8> = (0..200).flat_map(image).collect();
        std::fs::write(folder.join(format!("{name}.bin")), all).unwrap();
    }
}

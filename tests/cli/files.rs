//! Sources that read files: every sample once, the exact next one after a restart, and errors that
//! name bad files.

use crate::support;
use crate::support::output;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, RgbImage};
use serde_json::Value;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Samples, Shape, Values};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::Path;

fn source(kind: &str, path: &Path, options: &str, state: Option<&Path>) -> Result<Box<dyn Source>> {
    let mut options: toml::Table = options.parse().unwrap();
    options.insert("path".into(), path.to_str().unwrap().into());
    let context = Context { state: state.map(Path::to_path_buf), ..Context::default() };
    (SOURCES.find(kind)?.build)(&Spec { kind: kind.into(), options }, &context)
}

fn read(source: &mut dyn Source, count: usize) -> (Samples, ReadProgress) {
    let mut samples = Samples::none(source.format().dtype);
    let progress = source.read(count, &mut samples).unwrap();
    (samples, progress)
}

/// Reads until `count` samples have come.
fn wait(source: &mut dyn Source, count: usize) -> Samples {
    let mut samples = Samples::none(source.format().dtype);
    while samples.len() < count {
        let missing = count - samples.len();
        assert_ne!(source.read(missing, &mut samples).unwrap(), ReadProgress::End);
    }
    samples
}

/// Returns the first value of each sample.
fn firsts(source: &dyn Source, values: &Values) -> Vec<f32> {
    let length = source.format().shape.len();
    match values {
        Values::U8(values) => values.chunks(length).map(|sample| f32::from(sample[0])).collect(),
        Values::F32(values) => values.chunks(length).map(|sample| sample[0]).collect(),
    }
}

fn sorted(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    values
}

fn letters(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes an array in NumPy's format.
fn npy(path: &Path, kind: &str, dims: &str, bytes: &[u8]) {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}\n");
    let length = (text.len() as u16).to_le_bytes();
    std::fs::write(path, [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), bytes].concat()).unwrap();
}

/// Writes 40 images of 10 classes; the first pixel counts up from `from`.
fn cifar(path: &Path, from: u8) {
    let records = (from..from + 40).flat_map(|index| {
        let mut record = vec![index; 3073];
        record[0] = index % 10;
        record
    });
    std::fs::write(path, records.collect::<Vec<u8>>()).unwrap();
}

#[test]
fn cifar_batches_flow_shuffled_and_a_restored_stream_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    cifar(&path.join("data_batch_1.bin"), 0);
    cifar(&path.join("data_batch_2.bin"), 40);
    cifar(&path.join("test_batch.bin"), 100);
    let options =
        "train = [\"data_batch_1.bin\", \"data_batch_2.bin\"]\nlabelled_per_class = 1\nshuffle_buffer = 16";
    let open = || source("cifar", path, options, None).unwrap();
    let mut whole = open();
    assert_eq!(whole.format().shape, Shape::Image { channels: 3, height: 32, width: 32 });
    assert_eq!(whole.format().classes[3], "3");
    let labelled = whole.labelled().unwrap();
    assert_eq!(labelled.classes, (0..10).collect::<Vec<i64>>());
    let (pass, _) = read(&mut *whole, 70);
    let all = [firsts(&*whole, &pass.values), firsts(&*whole, &labelled.values)].concat();
    assert_ne!(all[..70], sorted(all[..70].to_vec()));
    assert_eq!(sorted(all), (0..80u8).map(f32::from).collect::<Vec<_>>());
    for (first, class) in firsts(&*whole, &pass.values).iter().zip(pass.truth.reveal()) {
        assert_eq!(*first as i32 % 10, *class);
    }
    let (second, _) = read(&mut *whole, 70);
    assert!(second.ids.iter().all(|id| *id >= 80) && second.values != pass.values);
    assert_eq!(whole.held_out(25).unwrap().unwrap().at(0).classes.len(), 25);
    for skipped in [1, 13, 14, 15, 40, 69, 70, 71, 150] {
        let (mut whole, mut resumed) = (open(), open());
        read(&mut *whole, skipped);
        resumed.load(&whole.save().unwrap()).unwrap();
        assert_eq!(read(&mut *resumed, 100), read(&mut *whole, 100), "after {skipped}");
    }
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    std::fs::write(path.join("batches.meta.txt"), names).unwrap();
    assert_eq!(open().format().classes[3], "cat");
}

#[test]
fn cifar_files_that_are_wrong_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let message = |options| source("cifar", path, options, None).err().unwrap().to_string();
    assert!(message("").contains("data_batch_1.bin: no such file"));
    assert!(message("set = \"cifar-100\"").contains("train.bin: no such file"));
    cifar(&path.join("train.bin"), 0);
    let as_100 = message("set = \"cifar-100\"");
    assert!(as_100.contains("122920 bytes are not a whole number of records of 3074"), "{as_100}");
    let few = message("train = [\"train.bin\"]\nlabelled_per_class = 5");
    let of_class =
        "has 4 samples of class 0 (9 other classes have too few as well), but source.labelled_per_class is 5";
    assert!(few.contains(of_class) && few.contains("so there is no stream"), "{few}");
    std::fs::write(path.join("train.bin"), [77; 3073]).unwrap();
    let damaged = message("train = [\"train.bin\"]");
    assert!(damaged.contains("record 0 has class 77, but there are 10"), "{damaged}");
}

#[test]
fn numpy_arrays_flow_with_what_is_known_of_their_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let pixels: Vec<u8> = (0..60u8).flat_map(|index| [index, 1, 2, 3, 4, 5]).collect();
    // Every third class is unknown.
    let classes: Vec<i64> = (0..60).map(|index| if index % 3 == 0 { -1 } else { index % 2 }).collect();
    npy(&path.join("samples.npy"), "|u1", "60, 2, 3", &pixels);
    npy(
        &path.join("labels.npy"),
        "<i8",
        "60,",
        &classes.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>(),
    );
    npy(&path.join("test.npy"), "|u1", "10, 2, 3", &pixels[..60]);
    npy(&path.join("test-labels.npy"), "|u1", "10,", &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let test = "test_samples = \"test.npy\"\ntest_labels = \"test-labels.npy\"";
    let options = format!("classes = 2\nlabelled_per_class = 5\nshuffle_buffer = 16\n{test}");
    let open = || source("npy", path, &options, None).unwrap();
    let mut whole = open();
    let format = whole.format().clone();
    assert_eq!((format.shape, format.dtype), (Shape::Image { channels: 1, height: 2, width: 3 }, Dtype::U8));
    let labelled = whole.labelled().unwrap();
    let (pass, _) = read(&mut *whole, 50);
    let all = [firsts(&*whole, &pass.values), firsts(&*whole, &labelled.values)].concat();
    assert_eq!(sorted(all), (0..60u8).map(f32::from).collect::<Vec<_>>());
    for (first, class) in firsts(&*whole, &pass.values).iter().zip(pass.truth.reveal()) {
        assert_eq!(i64::from(*class), classes[*first as usize]);
    }
    assert_eq!(whole.held_out(100).unwrap().unwrap().at(0).len(), 10);
    let mut unlabelled = source("npy", path, "labels = \"\"\nrepeat = false", None).unwrap();
    assert!(unlabelled.labelled().unwrap().is_empty());
    let (all, progress) = read(&mut *unlabelled, 100);
    assert_eq!((all.len(), progress), (60, ReadProgress::End));
    assert!(all.truth.reveal().iter().all(|class| *class == -1));
}

#[test]
fn bad_samples_of_an_array_are_told_once_and_restarts_tell_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let numbers: Vec<u8> = (0..200u16)
        .flat_map(|index| {
            [f32::from(index), if [7, 50, 52, 54, 150].contains(&index) { f32::NAN } else { 1.0 }]
        })
        .flat_map(f32::to_le_bytes)
        .collect();
    npy(&path.join("samples.npy"), "<f4", "200, 2", &numbers);
    let dead = path.join("dead.jsonl");
    let options = format!("labels = \"\"\nshuffle_buffer = 32\nmax_bad = 0.09\ndead_letter = {dead:?}");
    for skipped in [1, 31, 32, 60, 140, 195, 300] {
        let mut whole = source("npy", path, &options, None).unwrap();
        read(&mut *whole, skipped);
        let state = whole.save().unwrap();
        let (rest, _) = read(&mut *whole, 250);
        let (count, told) = (whole.dead_letters(), letters(&dead));
        assert!(told.iter().all(|letter| letter["reason"].as_str().unwrap().contains("value 1 is NaN")));
        let mut resumed = source("npy", path, &options, None).unwrap();
        resumed.load(&state).unwrap();
        assert_eq!(read(&mut *resumed, 250).0, rest, "after {skipped}");
        assert_eq!(resumed.dead_letters(), count);
        let _ = std::fs::remove_file(&dead);
    }
    let mut strict = source("npy", path, &options.replace("0.09", "0.01"), None).unwrap();
    let mut samples = Samples::none(Dtype::F32);
    let error = strict.read(500, &mut samples).unwrap_err().to_string();
    assert!(error.contains("4 of 55 records are bad, more than source.max_bad = 0.01"), "{error}");
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let message = |options| source("npy", path, options, None).err().unwrap().to_string();
    assert!(message("").contains("samples.npy: no such file"));
    npy(&path.join("samples.npy"), "|u1", "2, 8, 8, 3", &[0; 384]);
    let shape = |options| source("npy", path, options, None).unwrap().format().shape;
    assert_eq!(shape("labels = \"\"").batch(1), [1, 3, 8, 8]);
    npy(&path.join("samples.npy"), "|u1", "2, 3, 3, 3", &[0; 54]);
    assert!(message("labels = \"\"").contains("set source.layout = \"channels-first\" or \"channels-last\""));
    npy(&path.join("samples.npy"), "|u1", "2, 3", &[0; 6]);
    npy(&path.join("labels.npy"), "|u1", "3,", &[0; 3]);
    assert!(message("classes = 2").contains("holds 3 classes, but"));
    npy(&path.join("labels.npy"), "|u1", "2,", &[0, 12]);
    let outside = message("classes = 10");
    assert!(outside.contains("label 12 of item 1 is outside the 10 classes"), "{outside}");
    npy(&path.join("samples.npy"), "|u1", "0, 3", &[]);
    assert!(message("").contains("the array is empty"));
}

/// Samples of a folder have 1×1×2 pixels; the first pixel identifies the sample.
const PIXELS: &str = "shape = [1, 1, 2]\ndtype = \"u8\"\nclasses = [\"cat\", \"dog\"]\n\
                      settle = \"0s\"\npoll = \"0s\"\norder = \"name\"\nmax_bad = 1.0\n";

fn png(path: &Path, first: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_fn(2, 1, |x, _| Luma([if x == 0 { first } else { 0 }]));
    DynamicImage::from(image).save_with_format(path, ImageFormat::Png).unwrap();
}

fn fill(path: &Path) {
    png(&path.join("a.png"), 1);
    std::fs::write(path.join("b.csv"), "x,y,label\n2,0,cat\n3,0,\n4,0,horse\n5,900,cat\n6,0,dog\n").unwrap();
    std::fs::write(
        path.join("c.ndjson"),
        "[7, 0]\n{\"values\": [8, 0], \"label\": 1, \"id\": 77}\nnonsense\n",
    )
    .unwrap();
    npy(&path.join("d.npy"), "<i4", "2, 2", &[9i32, 0, 10, 0].map(i32::to_le_bytes).concat());
    support::write_idx(&path.join("e-images-idx3-ubyte"), &[3, 1, 2], &[11, 0, 12, 0]);
    std::fs::write(path.join("f.jpg"), "no image").unwrap();
    png(&path.join("cat/g.png"), 13);
    png(&path.join("dog/h.png"), 14);
    png(&path.join("else/i.png"), 15);
    std::fs::write(path.join("not-yet.png.part"), "").unwrap();
    std::fs::write(path.join("README.md"), "").unwrap();
}

#[test]
fn files_of_every_kind_are_read_in_order_with_their_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let dead = path.join("dead.letters");
    fill(path);
    let options = format!("{PIXELS}dead_letter = {dead:?}");
    let mut whole = source("folder", path, &options, None).unwrap();
    assert!(whole.is_timed() && whole.labelled().unwrap().is_empty());
    let (samples, progress) = read(&mut *whole, 100);
    assert_eq!(progress, ReadProgress::NotYet, "it is followed");
    let (firsts, truth) = (firsts(&*whole, &samples.values), samples.truth.reveal());
    assert_eq!(firsts, [1., 2., 3., 6., 7., 8., 13., 9., 10., 14., 11., 12., 15.]);
    assert_eq!(truth, [-1, 0, -1, 1, -1, 1, 0, -1, -1, 1, -1, -1, -1]);
    let mut ids = samples.ids.clone();
    assert_eq!(ids[5], 77, "an id of one's own is kept");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 13);
    let told: Vec<(String, u64, String)> = letters(&dead)
        .iter()
        .map(|letter| {
            let text = |key: &str| letter[key].as_str().unwrap().to_string();
            let file = text("source").rsplit('/').next().unwrap().to_string();
            (file, letter["line"].as_u64().unwrap(), text("reason"))
        })
        .collect();
    let expected = [
        ("b.csv", 4, "unknown class `horse`"),
        ("b.csv", 5, "column 1: value 1 is 900"),
        ("c.ndjson", 3, "not JSON"),
        ("e-images-idx3-ubyte", 0, "truncated: item 2 of the 3"),
        ("f.jpg", 0, "not a readable image"),
    ];
    assert_eq!((told.len(), whole.dead_letters()), (5, 5), "{told:?}");
    for ((file, line, reason), (name, at, says)) in told.iter().zip(expected) {
        assert!((file.as_str(), *line) == (name, at) && reason.contains(says), "{told:?}");
    }
    png(&path.join("a-later.png"), 16);
    assert_eq!(wait(&mut *whole, 1).values, Values::U8(vec![16, 0]));
    let mut ending = source("folder", path, &format!("{options}\nfollow = false"), None).unwrap();
    wait(&mut *ending, 14);
    while read(&mut *ending, 1).1 != ReadProgress::End {}
}

#[test]
fn a_restored_folder_goes_on_where_it_was_whatever_came_in_meanwhile() {
    for skipped in 0..=13 {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, state) = (folder.path(), state.path());
        fill(path);
        let mut whole = source("folder", path, PIXELS, Some(state)).unwrap();
        read(&mut *whole, skipped);
        let snapshot = whole.save().unwrap();
        let (mut rest, _) = read(&mut *whole, 100);
        // These files would come first if the files were sorted again.
        png(&path.join("a-0.png"), 20);
        let more = wait(&mut *whole, 1);
        rest.ids.extend(&more.ids);
        rest.values.extend_from(&more.values, 0..more.values.len());
        let dead = letters(&state.join("dead-letter.jsonl"));
        drop(whole);
        png(&path.join("a-1.png"), 21);
        let mut resumed = source("folder", path, PIXELS, Some(state)).unwrap();
        resumed.load(&snapshot).unwrap();
        let found = wait(&mut *resumed, rest.len());
        assert_eq!((found.ids, found.values), (rest.ids, rest.values), "after {skipped}");
        assert_eq!(wait(&mut *resumed, 1).values, Values::U8(vec![21, 0]));
        if skipped >= 4 {
            // If there was no dead letter before the snapshot, those of the first run are kept too.
            assert_eq!(letters(&state.join("dead-letter.jsonl")), dead);
        }
    }
}

#[test]
fn labelled_images_do_not_stream_and_stay_the_same_after_a_kill() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, state) = (folder.path(), state.path());
    for at in 0..20u8 {
        png(&path.join(format!("cat/{at}.png")), at);
        png(&path.join(format!("dog/{at}.png")), 100 + at);
    }
    std::fs::write(path.join("cat/broken.png"), "").unwrap();
    let options = format!("{PIXELS}labelled_per_class = 4\ntest = {path:?}");
    let mut first = source("folder", path, &options, Some(state)).unwrap();
    let labelled = first.labelled().unwrap();
    assert_eq!(labelled.classes, [0, 0, 0, 0, 1, 1, 1, 1]);
    let (stream, _) = read(&mut *first, 100);
    let all = [firsts(&*first, &stream.values), firsts(&*first, &labelled.values)].concat();
    assert_eq!(sorted(all), (0..20u8).chain(100..120).map(f32::from).collect::<Vec<_>>());
    drop(first);
    png(&path.join("cat/0-new.png"), 50);
    let mut again = source("folder", path, &options, Some(state)).unwrap();
    let chosen = again.labelled().unwrap();
    assert_eq!(sorted(firsts(&*again, &chosen.values)), sorted(firsts(&*again, &labelled.values)));
    assert_eq!(read(&mut *again, stream.len()).0, stream);
    std::fs::remove_file(path.join("cat/broken.png")).unwrap();
    assert_eq!(again.held_out(30).unwrap().unwrap().at(0).len(), 30);
    let snapshot = again.save().unwrap();
    let mut elsewhere = source("folder", path, &options, None).unwrap();
    elsewhere.load(&snapshot).unwrap();
    let error = elsewhere.read(1, &mut Samples::none(Dtype::U8)).unwrap_err().to_string();
    assert!(error.contains("is missing from the state folder"), "{error}");
    let many = options.replace("labelled_per_class = 4", "labelled_per_class = 21");
    let error = source("folder", path, &many, None).unwrap().labelled().unwrap_err().to_string();
    assert!(
        error.contains("dog: has 20 images that can be read, but source.labelled_per_class is 21"),
        "{error}"
    );
    let error = source("folder", &path.join("nowhere"), PIXELS, None).err().unwrap().to_string();
    assert!(error.contains("no such folder; set source.path"), "{error}");
}

#[test]
fn a_job_learns_from_a_folder_of_images_and_ends_the_same_after_a_stop() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (class, name) in
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
            .iter()
            .enumerate()
    {
        for at in 0..20u32 {
            let image =
                RgbImage::from_fn(40, 30, |x, y| image::Rgb([(class * 25) as u8, (x * at) as u8, y as u8]));
            for part in ["train", "test"] {
                let path = folder.path().join(part).join(name).join(format!("{at}.jpg"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                DynamicImage::from(image.clone()).save_with_format(path, ImageFormat::Jpeg).unwrap();
            }
        }
    }
    let run = |more: &[&str]| {
        let path = |key: &str, part: &str| format!("source.{key}={}", folder.path().join(part).display());
        let (train, test) = (path("path", "train"), path("test", "test"));
        let mut arguments = vec!["run", "pipelines/folder.toml", "--set", &train, "--set", &test];
        for set in [
            "source.follow=false",
            "source.settle=0s",
            "source.resize=true",
            "source.labelled_per_class=4",
            "batch.labelled=10",
            "batch.unlabelled=20",
            "epoch.steps=4",
            "precision=f32",
            "threads=2",
        ] {
            arguments.extend(["--set", set]);
        }
        arguments.extend(more);
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str::<Value>(stdout.lines().last().unwrap()).unwrap()
    };
    let whole = run(&[]);
    assert_eq!((&whole["samples_seen"], &whole["steps"]), (&160.into(), &8.into()));
    assert!(whole["accuracy"].as_f64().is_some() && whole["pseudo_label_precision"] != 2.0);
    let state = state.path().to_str().unwrap();
    run(&["--state", state, "--set", "stop.epochs=1"]);
    let resumed = run(&["--state", state]);
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
    assert_eq!(resumed["samples_seen"], 160);
    let fresh = run(&["--state", state, "--fresh"]);
    assert_eq!(fresh["weights_sha256"], whole["weights_sha256"]);
}

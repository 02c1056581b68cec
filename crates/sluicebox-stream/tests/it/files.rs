//! The source `files`: several files as one set, in order; passes, places and dead letters.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Samples, Values};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::Path;

fn source(folder: &Path, options: &str) -> Result<Box<dyn Source>> {
    let context = Context { state: Some(folder.join("state")), seed: 5, ..Context::default() };
    let options = options.replace("HERE", folder.to_str().unwrap());
    let spec = Spec { kind: "files".into(), options: options.parse().unwrap() };
    (SOURCES.find("files")?.build)(&spec, &context)
}

/// Writes three files of 10 rows each, of three kinds: row i holds i, and its class is i % 2.
fn three(folder: &Path) {
    let rows = |file: usize| (10 * file..10 * file + 10).map(|row| (row, row % 2));
    let csv: String = rows(0).map(|(row, class)| format!("{row},{class}\n")).collect();
    std::fs::write(folder.join("0.csv"), format!("x,label\n{csv}")).unwrap();
    let ndjson: String =
        rows(1).map(|(row, class)| format!("{{\"values\": [{row}], \"label\": \"{class}\"}}\n")).collect();
    std::fs::write(folder.join("1.ndjson"), ndjson).unwrap();
    let csv: String = rows(2).map(|(row, class)| format!("{class};{row}\n")).collect();
    let packed = zstd::encode_all(format!("label;x\n{csv}").replace(';', ",").as_bytes(), 3).unwrap();
    std::fs::write(folder.join("2.csv.zst"), packed).unwrap();
}

const ONE: &str = "path = \"HERE\"\nshape = [1]\ndtype = \"f32\"\nclasses = [\"0\", \"1\"]\n";

fn read(source: &mut dyn Source, count: usize) -> (Vec<u64>, Vec<f32>, Vec<i32>, ReadProgress) {
    let mut samples = Samples::none(Dtype::F32);
    let progress = source.read(count, &mut samples).unwrap();
    let Values::F32(values) = samples.values else { panic!() };
    (samples.ids, values, samples.truth.reveal().to_vec(), progress)
}

#[test]
fn files_follow_one_another_in_blocks_that_are_shuffled() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let once = format!("{ONE}labelled_per_class = 0\nrepeat = false\n");
    let mut plain = source(folder.path(), &format!("{once}shuffle_buffer = 1")).unwrap();
    let (_, values, truth, progress) = read(&mut *plain, 100);
    assert_eq!(values, (0..30).map(|row| row as f32).collect::<Vec<_>>());
    assert_eq!(truth, (0..30).map(|row| row % 2).collect::<Vec<_>>());
    assert_eq!(progress, ReadProgress::End);
    let mut blocks = source(folder.path(), &format!("{once}shuffle_buffer = 12")).unwrap();
    let (_, mut values, _, _) = read(&mut *blocks, 100);
    assert_ne!(values, (0..30).map(|row| row as f32).collect::<Vec<_>>());
    for block in values.chunks_mut(12) {
        block.sort_by(f32::total_cmp);
    }
    assert_eq!(values, (0..30).map(|row| row as f32).collect::<Vec<_>>(), "shuffled within blocks only");
    let mut labelled =
        source(folder.path(), &format!("{ONE}labelled_per_class = 3\nrepeat = false")).unwrap();
    assert_eq!(labelled.labelled().unwrap().classes, [0, 0, 0, 1, 1, 1]);
    assert_eq!(read(&mut *labelled, 100).1.len(), 24);
}

#[test]
fn a_restored_stream_goes_on_with_the_very_next_sample() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    std::fs::write(folder.path().join("1.csv"), "x,label\n100,0\nbad,1\n101,1\n").unwrap();
    std::fs::write(folder.path().join("3.npy"), "no array").unwrap();
    for buffer in [1, 4, 12, 100] {
        let options = format!("{ONE}labelled_per_class = 2\nshuffle_buffer = {buffer}\nmax_bad = 1.0");
        let mut whole = source(folder.path(), &options).unwrap();
        let (ids, values, _, _) = read(&mut *whole, 90);
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "ids are unique over passes");
        for at in (0..80).step_by(7) {
            let mut first = source(folder.path(), &options).unwrap();
            read(&mut *first, at);
            let state = first.save().unwrap();
            let mut second = source(folder.path(), &options).unwrap();
            second.load(&state).unwrap();
            let (more_ids, more, _, _) = read(&mut *second, 10);
            assert_eq!(
                (&more_ids[..], &more[..]),
                (&ids[at..at + 10], &values[at..at + 10]),
                "{buffer}: {at}"
            );
            assert!(second.dead_letters() >= first.dead_letters());
        }
        assert_eq!(whole.dead_letters(), 2, "told in the first pass only");
    }
}

#[test]
fn other_files_than_before_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let options = format!("{ONE}labelled_per_class = 0\nshuffle_buffer = 4");
    let mut first = source(folder.path(), &options).unwrap();
    read(&mut *first, 9);
    let state = first.save().unwrap();
    std::fs::copy(folder.path().join("0.csv"), folder.path().join("0b.csv")).unwrap();
    let mut second = source(folder.path(), &options).unwrap();
    second.load(&state).unwrap();
    let error = second.read(1, &mut Samples::none(Dtype::F32)).unwrap_err().to_string();
    assert!(error.contains("have other names, or are others") && error.contains("--fresh"), "{error}");
}

#[test]
fn files_for_evaluation_are_not_streamed() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let mut source = source_of_all(folder.path());
    let held_out = source.held_out(100).unwrap().unwrap();
    let Values::F32(values) = &held_out.at(0).values else { panic!() };
    assert_eq!(values[..], (20..30).map(|row| row as f32).collect::<Vec<_>>());
    assert_eq!(read(&mut *source, 100).1.len(), 20);
    std::fs::write(folder.path().join("2.npy"), "no array").unwrap();
    let error = source_of_all(folder.path()).held_out(100).err().unwrap().to_string();
    assert!(error.contains("2.npy") && error.contains("the NPY header cannot be read"), "{error}");
}

fn source_of_all(folder: &Path) -> Box<dyn Source> {
    let options = format!("{ONE}test = \"HERE/2*\"\nlabelled_per_class = 0\nrepeat = false");
    source(folder, &options).unwrap()
}

#[test]
fn what_is_not_said_and_not_found_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let refused = |options: &str| source(folder.path(), options).err().unwrap().to_string();
    let unknown = refused("path = \"HERE\"");
    assert!(unknown.contains("set source.shape and source.dtype"), "{unknown}");
    let nothing = refused("path = \"HERE/none-*.csv\"");
    assert!(nothing.contains("there is no file that is read"), "{nothing}");
    let all = refused(&format!("{ONE}test = \"HERE\""));
    assert!(all.contains("also those of source.test"), "{all}");
    let missing = refused(&ONE.replace("HERE", "HERE/no.parquet"));
    assert!(missing.contains("no.parquet"), "{missing}");
    let classes =
        source(folder.path(), "path = \"HERE\"\nshape = [1]\ndtype = \"f32\"\nlabelled = 3").unwrap();
    assert_eq!(classes.format().classes, ["0", "1"]);
}

#[test]
fn what_the_job_itself_writes_is_no_data() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "1,0\n2,1\n").unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    // Those of an earlier start, and a name that only begins like that of the state folder.
    for name in ["state/dead-letter.jsonl", "own.jsonl"] {
        std::fs::write(folder.path().join(name), "{\"line\": 1, \"reason\": \"x\", \"record\": \"y\"}\n")
            .unwrap();
    }
    std::fs::write(folder.path().join("state-of-it.csv"), "3,1\n").unwrap();
    let options = format!("{ONE}class_column = 1\nfollow = false\nsettle = \"0s\"\nmax_bad = 0.0\n");
    for (more, wanted) in [("dead_letter = \"HERE/own.jsonl\"", 3), ("", 3)] {
        if more.is_empty() {
            std::fs::remove_file(folder.path().join("own.jsonl")).unwrap();
        }
        let options = format!("{options}{more}").replace("HERE", folder.path().to_str().unwrap());
        let context = Context { state: Some(folder.path().join("state")), ..Context::default() };
        let spec = Spec { kind: "folder".into(), options: options.parse().unwrap() };
        let mut source = (SOURCES.find("folder").unwrap().build)(&spec, &context).unwrap();
        let mut samples = Samples::none(Dtype::F32);
        while source.read(10, &mut samples).unwrap() != ReadProgress::End {}
        assert_eq!((samples.len(), source.dead_letters()), (wanted, 0), "{more}");
        std::fs::remove_dir_all(folder.path().join("state")).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
    }
}

/// Image `number`: 2×2 pixels of grey, of which each 7th cannot be read.
fn png(number: u8) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(2, 2, image::Luma([number]))
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    let mut file = file.into_inner();
    if number % 7 == 3 {
        file.truncate(40);
    }
    file
}

/// Writes archives of 200, 90 and no further readable images, and 100 images in files of their own.
fn images(folder: &Path) {
    let archive = |from: u8, to: u8| {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: String, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content).unwrap();
        };
        for number in from..to {
            add(format!("{number:03}.png"), &png(number));
            add(format!("{number:03}.cls"), (number % 2).to_string().as_bytes());
        }
        archive.into_inner().unwrap()
    };
    std::fs::write(folder.join("a.tar"), archive(0, 200)).unwrap();
    let whole = archive(100, 190);
    std::fs::write(folder.join("b.tar"), &whole[..whole.len() - 1500]).unwrap(); // breaks off in its last sample
    for number in 0..100 {
        std::fs::write(folder.join(format!("c{number:03}.png")), png(number)).unwrap();
    }
}

#[test]
fn images_that_are_decoded_together_are_those_that_are_decoded_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path());
    let good = |number: &u8| number % 7 != 3;
    let of_archives = (0..200).chain(100..189).filter(good);
    let expected: Vec<u8> = of_archives.chain((0..100).filter(good)).collect();
    let options = "path = \"HERE\"\nshape = [1, 2, 2]\nclasses = [\"0\", \"1\"]\nlabelled_per_class = 0\n\
                   repeat = false\nmax_bad = 1.0\n";
    let read = |source: &mut dyn Source, count: usize| {
        let mut samples = Samples::none(Dtype::U8);
        source.read(count, &mut samples).unwrap();
        let Values::U8(values) = samples.values else { panic!() };
        (values.chunks(4).map(|pixels| pixels[0]).collect::<Vec<u8>>(), samples.truth.reveal().to_vec())
    };
    for buffer in [1, 7, 1000] {
        let options = format!("{options}shuffle_buffer = {buffer}\n");
        let mut whole = source(folder.path(), &options).unwrap();
        let (numbers, truth) = read(&mut *whole, 1000);
        let mut sorted = (numbers.clone(), expected.clone());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1, "{buffer}");
        if buffer == 1 {
            assert_eq!(numbers, expected);
            let classes = expected
                .iter()
                .enumerate()
                .map(|(at, number)| if at < 247 { i32::from(number % 2) } else { -1 });
            assert_eq!(truth, classes.collect::<Vec<_>>());
        }
        let bad = (0..200u8).chain(100..189).chain(0..100).filter(|number| !good(number)).count() + 1;
        assert_eq!(whole.dead_letters(), bad as u64, "each bad one, and the archive that breaks off");
        for at in (0..300).step_by(37) {
            let mut first = source(folder.path(), &options).unwrap();
            read(&mut *first, at);
            let state = first.save().unwrap();
            let mut second = source(folder.path(), &options).unwrap();
            second.load(&state).unwrap();
            assert_eq!(read(&mut *second, 50).0, numbers[at..(at + 50).min(numbers.len())], "{buffer}, {at}");
        }
    }
}

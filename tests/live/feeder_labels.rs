//! `sluicebox feed` sends the labels of what it reads along with their samples, whatever the files are.

use crate::feeder::{fed, feed, file, refused, start, wait_until};
use crate::feeding::{Server, settings};
use crate::support;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::auth::Access;
use sluicebox_stream::protocol::MAGIC;
use sluicebox_stream::source::tcp::Settings;
use sluicebox_stream::wal::settings::LogSettings;
use std::io::Read;
use std::path::Path;

/// Returns a listener for images of these classes.
fn of_images(folder: &Path, shape: [usize; 3], classes: &[&str]) -> Server {
    let [channels, height, width] = shape;
    let classes: Vec<String> = classes.iter().map(|class| class.to_string()).collect();
    let shape = Shape::Image { channels, height, width };
    let format = Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes: classes.clone() };
    let settings = Settings { shape: vec![channels, height, width], dtype: Dtype::U8, classes, ..settings() };
    Server::of(&folder.join("log"), &settings, &LogSettings::default(), Access::default(), format)
}

/// Returns the class of every sample in the log.
fn classes(server: &Server) -> Vec<Option<u32>> {
    let size = sluicebox_core::sample::sample_bytes(server.live.ingest.format());
    let of_block = |block: sluicebox_core::sample::Block| {
        let mut classes = vec![None; block.bytes.len() / size];
        block.classes.iter().for_each(|one| classes[one.at as usize] = Some(one.class));
        classes
    };
    server.blocks().into_iter().flat_map(of_block).collect()
}

#[test]
fn every_kind_of_file_carries_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let lines = "{\"values\": [1, 0], \"label\": \"yes\"}\n[1, 1]\n{\"values\": [1, 2], \"label\": 0}\n\
                 {\"id\": 7, \"values\": [1, 3], \"label\": null}\n{\"id\": 8, \"values\": [1, 4], \"label\": 1.0}\n";
    let ndjson = file(folder.path(), "some.ndjson", lines);
    let csv = file(folder.path(), "some.csv", "a,b,label\n2,0,no\n2,1,\n2,2,1\n2,3,1.0\n");
    let told = "9 samples acknowledged, 0 of them known before";
    assert_eq!(fed(&server, &[&ndjson, &csv]), told);
    let (yes, no) = (Some(1), Some(0));
    assert_eq!(classes(&server), [yes, None, no, None, yes, no, None, yes, yes]);
    let (_, out, _) = feed(&server, &["--client-id", "again", &csv]);
    assert!(out.contains("4 samples acknowledged") && out.ends_with("; 3 with a label\n"), "{out}");
}

#[test]
fn idx_cifar_and_folders_carry_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let server = of_images(folder.path(), [1, 2, 2], &["cat", "dog"]);
    support::write_idx(&at("train-images-idx3-ubyte"), &[3, 2, 2], &[7; 12]);
    support::write_idx(&at("train-labels-idx1-ubyte"), &[3], &[1, 0, 1]);
    let (images, labels) = (at("train-images-idx3-ubyte"), at("train-labels-idx1-ubyte"));
    let (images, labels) = (images.to_str().unwrap(), labels.to_str().unwrap());
    // The file of labels is read along with that of the images, in whatever order they are given.
    assert_eq!(fed(&server, &[labels, images]), "3 samples acknowledged, 0 of them known before");
    let mut expected = vec![Some(1), Some(0), Some(1)];
    assert_eq!(classes(&server), expected);
    // Images in folders with the name of a class.
    for (place, name) in [("pictures/cat", "a.png"), ("pictures/dog", "b.png"), ("pictures", "c.png")] {
        std::fs::create_dir_all(at(place)).unwrap();
        image::GrayImage::from_raw(2, 2, vec![9; 4]).unwrap().save(at(place).join(name)).unwrap();
    }
    let pictures = at("pictures").display().to_string();
    let (code, out, err) = feed(&server, &[&pictures]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("3 samples acknowledged") && err.contains("is the name of its folder, `cat`"),
        "{err}"
    );
    expected.extend([None, Some(0), Some(1)]);
    assert_eq!(classes(&server), expected);
    // As many labels as images.
    support::write_idx(&at("few-images-idx3-ubyte"), &[2, 2, 2], &[7; 8]);
    support::write_idx(&at("few-labels-idx1-ubyte"), &[1], &[1]);
    let few = refused_after_some(&server, at("few-images-idx3-ubyte").to_str().unwrap());
    assert!(few.contains("few-labels-idx1-ubyte: they are not as many as the images"), "{few}");

    let folder = tempfile::tempdir().unwrap();
    let server = of_images(folder.path(), [3, 32, 32], &["a", "b"]);
    let record = |label: u8| [&[label][..], &[3; 3072]].concat();
    let cifar = file(folder.path(), "batch.bin", [record(1), record(0)].concat());
    assert_eq!(fed(&server, &[&cifar]), "2 samples acknowledged, 0 of them known before");
    assert_eq!(classes(&server), [Some(1), Some(0)]);
}

fn refused_after_some(server: &Server, path: &str) -> String {
    let (code, _, err) = feed(server, &[path]);
    assert_eq!(code, 2, "{err}");
    err
}

#[test]
fn what_is_no_class_is_told_with_its_place_and_none_need_to_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let csv = file(folder.path(), "some.csv", "a,b,label\n1,0,yes\n1,1,cow\n1,2,no\n");
    let (code, _, err) = feed(&server, &[&csv]);
    assert_eq!(code, 2);
    assert!(err.contains("some.csv: line 3: unknown class `cow`"), "{err}");
    let (_, out, _) = feed(&server, &["--skip-bad", &csv]);
    assert!(out.contains("; 1 with a label; 1 bad records left out"), "{out}");
    assert_eq!(classes(&server), [Some(1), Some(0)]);
    let empty = file(folder.path(), "empty.ndjson", "");
    let (code, _, err) = feed(&server, &[&empty]);
    assert!(code == 0 && err.contains("there is no sample in the input"), "{code}: {err}");
    let bad = file(folder.path(), "bad.csv", "a,b,label\n1,1,cow\n");
    let (code, _, err) = feed(&server, &["--skip-bad", &bad]);
    assert!(code == 2 && err.contains("none of the 1 records of the input can be read"), "{code}: {err}");
    // Without labels it does not matter what they are.
    let none = fed(&server, &["--no-labels", "--client-id", "none", &csv]);
    assert_eq!(none, "3 samples acknowledged, 0 of them known before");
    assert_eq!(classes(&server)[2..], [None; 3]);
}

#[test]
fn the_same_samples_with_other_labels_are_not_the_same_input() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(&folder.path().join("log"));
    let lines = |label: &str| format!("[1, 0]\n{{\"values\": [1, 1], \"label\": {label}}}\n[1, 2]\n");
    let some = file(folder.path(), "some.ndjson", lines("null"));
    assert_eq!(fed(&server, &[&some]), "3 samples acknowledged, 0 of them known before");
    file(folder.path(), "some.ndjson", lines("1") + "[1, 3]\n");
    let told = refused(&server, &[&some]);
    assert!(
        told.contains("3 samples of client") && told.contains("other labels") && told.contains("--no-labels")
    );
    assert_eq!(fed(&server, &["--no-labels", &some]), "4 samples acknowledged, 3 of them known before");
    assert_eq!(classes(&server), [None; 4]);
}

#[test]
fn a_killed_feeder_and_a_killed_job_lose_and_double_no_label() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut server = Server::new(&path);
    let address = server.address().to_string();
    let again = Settings { listen: address.clone(), ..settings() };
    let label = |number: u32| (number % 3 == 1).then_some(number % 2);
    let line = |number: u32| match label(number) {
        Some(class) => format!("{{\"values\": [1, {number}], \"label\": {class}}}\n"),
        None => format!("[1, {number}]\n"),
    };
    let many = file(folder.path(), "many.ndjson", (0..12_000).map(line).collect::<String>());
    for round in 1..=4 {
        let arguments: &[&str] = &["--rate", "20000/s", "--batch", "64", &many];
        let mut child = start(&address, arguments);
        wait_until(|| server.taken(1).len() > 1500 * round);
        child.kill().unwrap();
        child.wait().unwrap();
        server.kill();
        server = Server::with(&path, &again, &LogSettings::default(), Access::default());
    }
    let rest = fed(&server, &[&many]);
    assert!(rest.starts_with("12000 samples acknowledged, ") && !rest.contains(", 0 of"), "{rest}");
    assert_eq!(server.taken(1), (0..12_000).collect::<Vec<u64>>());
    assert_eq!(classes(&server), (0..12_000).map(label).collect::<Vec<_>>());
}

#[test]
fn ids_that_are_texts_or_large_numbers_arrive_with_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    // A frame holds 160 samples of 8 bytes, or 30 with long names.
    let small = Settings { max_frame_bytes: 4000, ..settings() };
    let server = Server::with(&folder.path().join("log"), &small, &LogSettings::default(), Access::default());
    let id = |number: u64| match number % 3 {
        0 => format!("\"{number:0100}\""),
        1 => (u64::MAX - number).to_string(),
        _ => number.to_string(),
    };
    let line = |number: u64| format!("{{\"id\": {}, \"values\": [1, {number}]}}\n", id(number));
    let many = file(folder.path(), "many.ndjson", (0..900).map(line).collect::<String>());
    assert_eq!(fed(&server, &[&many]), "900 samples acknowledged, 0 of them known before");
    assert_eq!(server.taken(1), (0..900).collect::<Vec<u64>>());
    let blocks = server.blocks();
    let ids = blocks.iter().flat_map(|block| (0..block.ids.len()).map(|at| block.id(at).unwrap()));
    let told: Vec<String> = ids.map(|id| serde_json::to_string(&id).unwrap()).collect();
    assert_eq!(told, (0..900).map(id).collect::<Vec<String>>());
    // Under another client id they are known by their names; CSV has the same.
    assert_eq!(
        fed(&server, &["--client-id", "b", &many]),
        "900 samples acknowledged, 900 of them known before"
    );
    let row = |number: u64| format!("{},1,{number}\n", id(number).trim_matches('"'));
    let csv = file(
        folder.path(),
        "many.csv",
        (0..900).map(row).fold("id,a,b\n".to_string(), |all, row| all + &row),
    );
    assert_eq!(fed(&server, &[&csv]), "900 samples acknowledged, 900 of them known before");
}

#[test]
fn a_job_of_another_version_is_told_of() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let job = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        std::io::Write::write_all(&mut stream, &[&MAGIC[..], &[1, 0]].concat()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let folder = tempfile::tempdir().unwrap();
    let some = file(folder.path(), "some.ndjson", "[1, 0]\n");
    let (code, _, err) = support::output(&["feed", &address, "--retry-for", "0s", &some]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("the other side uses version 1 of the protocol, this program version 2"), "{err}");
    job.join().unwrap();
}

//! Files on web servers and in object stores, which break, refuse and change: what is read is what a file here gives, or
//! an error says what to do.

use crate::object_server::{ObjectServer, Trouble};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape};
use sluicebox_stream::decode::{self, DecodeError, Options, Record};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use sluicebox_stream::{decode::packed, remote};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data")
}

/// Serves folders of `tests/data`.
fn server(folders: &[&str]) -> ObjectServer {
    let server = ObjectServer::start([]);
    for folder in folders {
        for entry in std::fs::read_dir(data().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            server.put(&format!("{folder}/{name}"), std::fs::read(&path).unwrap());
        }
    }
    server
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 7u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(step).collect()
}

fn whole(url: &str, offset: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let mut input = packed::open(Path::new(url), offset).map_err(|error| error.to_string())?;
    input.read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}

/// Returns the URL of a path on a web server.
fn url(server: &ObjectServer, path: &str) -> String {
    format!("http://127.0.0.1:{}/{path}", server.port)
}

#[test]
fn a_stream_that_breaks_goes_on_where_it_broke() {
    let file = noise(3_000_000);
    let server = ObjectServer::start([("a.bin".to_string(), file.clone())]);
    let url = url(&server, "a.bin");
    assert!(whole(&url, 0).unwrap() == file);
    assert_eq!(server.requests(), ["GET a.bin"], "nothing is asked for twice");
    assert!(whole(&url, 2_999_000).unwrap() == file[2_999_000..]);
    assert!(whole(&url, 3_000_000).unwrap().is_empty() && whole(&url, 4_000_000).unwrap().is_empty());
    server.requests();
    server.trouble(
        "a.bin",
        &[
            Trouble::CutAfter(1_000_000),
            Trouble::Status(503),
            Trouble::NoAnswer,
            Trouble::CutAfter(0),
            Trouble::CutAfter(500_000),
        ],
    );
    assert!(whole(&url, 0).unwrap() == file);
    let requests = server.requests();
    assert_eq!(requests[0], "GET a.bin");
    assert!(requests[1..].iter().all(|request| request.starts_with("GET a.bin bytes=")), "{requests:?}");
    server.served.lock().unwrap().no_ranges = true;
    server.trouble("a.bin", &[Trouble::CutAfter(1_000_000), Trouble::CutAfter(2_000_000)]);
    assert!(whole(&url, 0).unwrap() == file, "a server without ranges sends all of it again");
    assert!(whole(&url, 1_234_567).unwrap() == file[1_234_567..]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let server = ObjectServer::start([("a.bin".to_string(), noise(9_000_000))]);
    server.trouble("a.bin", &[Trouble::CutAfter(8_000_000)]);
    let mut input = packed::open(Path::new(&url(&server, "a.bin")), 0).unwrap();
    input.read_exact(&mut [0; 1000]).unwrap();
    server.put("a.bin", noise(9_000_001));
    let error = input.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

#[test]
fn only_a_little_is_read_ahead() {
    let server = ObjectServer::start([("a.bin".to_string(), vec![1; 64 << 20])]);
    let mut input = packed::open(Path::new(&url(&server, "a.bin")), 0).unwrap();
    input.read_exact(&mut [0; 10]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let sent = server.served.lock().unwrap().sent;
    assert!(sent < 32 << 20, "{sent} bytes were sent before anyone read them"); // sockets hold some as well
    assert_eq!(std::io::copy(&mut input, &mut std::io::sink()).unwrap(), (64 << 20) - 10);
}

#[test]
fn what_cannot_be_read_says_why() {
    let server = ObjectServer::start([("a.npy".to_string(), vec![0; 100])]);
    let told = |path: &str| whole(&url(&server, path), 0).unwrap_err();
    assert!(told("b.npy").contains("the server has no such file (404); check the URL"));
    for (status, says) in
        [(403, "access is denied (403)"), (401, "credentials are needed (401)"), (418, "answers 418")]
    {
        server.trouble("a.npy", &[Trouble::Status(status)]);
        let error = told("a.npy");
        assert!(error.contains(says), "{error}");
    }
    server.trouble("a.npy", &[Trouble::Status(503); 20]);
    let error = told("a.npy");
    assert!(error.contains("the server answers 503, again and again"), "{error}");
    assert!(server.requests().len() < 20, "requests are repeated a few times only");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = whole(&format!("http://{closed}/a"), 0).unwrap_err();
    assert!(error.contains("refused"), "{error}");
    let error = whole("sftp://host/a", 0).unwrap_err();
    assert!(error.contains("`sftp://` cannot be read"), "{error}");
}

#[test]
fn a_file_is_read_by_ranges_from_any_place() {
    let file = noise(1_000_000);
    let server = ObjectServer::start([("a.bin".to_string(), file.clone())]);
    let mut ranges = remote::Ranges::open(Path::new(&url(&server, "a.bin"))).unwrap();
    assert_eq!(ranges.size(), 1_000_000);
    assert_eq!(ranges.range(10..20).unwrap(), file[10..20]);
    assert!(ranges.range(999_999..1_000_001).is_err());
    for at in [999_990u64, 0, 500_000] {
        ranges.seek(SeekFrom::Start(at)).unwrap();
        let mut part = Vec::new();
        ranges.by_ref().take(300_000).read_to_end(&mut part).unwrap();
        assert!(part == file[at as usize..(at as usize + 300_000).min(1_000_000)]);
    }
    assert!(ranges.seek(SeekFrom::End(-1_000_001)).is_err());
    assert!(server.requests().len() < 16, "windows grow");
    server.put("a.bin", noise(1_000_001));
    assert!(ranges.range(10..20).unwrap_err().to_string().contains("changed"));
    server.served.lock().unwrap().no_ranges = true;
    assert!(ranges.range(10..20).unwrap_err().to_string().contains("gives no parts of files"));
}

fn read(path: &Path, format: &Format) -> (Vec<Record>, Vec<String>) {
    let options = Options { resize: true, ..Options::default() };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut records = match decode::open(path, format, &options) {
        Ok(records) => records,
        Err(error) => return (good, vec![error.to_string().replace(path.to_str().unwrap(), "")]),
    };
    loop {
        match records.next_record() {
            Ok(Some(record)) => good.push(record),
            Ok(None) => return (good, bad),
            Err(DecodeError::Bad { reason, .. }) => bad.push(reason),
            Err(DecodeError::Broken(reason)) => return (good, [&bad[..], &[reason]].concat()),
        }
    }
}

#[test]
fn every_kind_of_file_is_read_as_a_file_here() {
    let server = server(&["packed", "tars", "images", "arrays"]);
    let shape = Shape::Image { channels: 3, height: 3, width: 4 };
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    let images = Format { shape, dtype: Dtype::U8, scale: 1.0, classes };
    let two = Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, ..images.clone() };
    let four = Format { shape: Shape::Vector { features: 4 }, ..two.clone() };
    let names: Vec<String> = server.served.lock().unwrap().files.keys().cloned().collect();
    let mut count = 0;
    for name in names.iter().map(String::as_str).chain(["packed/arrays.npz/y.npy", "packed/arrays.npz/x"]) {
        for format in [&images, &two, &four] {
            let here = read(&data().join(name), format);
            assert_eq!(read(Path::new(&url(&server, name)), format), here, "{name}");
            count += here.0.len();
        }
    }
    assert!(count > 150, "{count}");
}

fn source(kind: &str, options: &str) -> Box<dyn Source> {
    let spec = Spec { kind: kind.into(), options: options.parse().unwrap() };
    let context = Context { is_look: true, ..Context::default() };
    (SOURCES.find(kind).unwrap().build)(&spec, &context).unwrap_or_else(|error| panic!("{error}"))
}

fn samples(source: &mut dyn Source) -> Samples {
    let mut samples = Samples::none(source.format().dtype);
    while source.read(7, &mut samples).unwrap() == ReadProgress::Full && samples.len() < 100 {}
    samples
}

#[test]
fn sources_of_data_sets_read_urls_and_go_on_where_they_were() {
    let server = server(&["packed", "arrays"]);
    let record = |number: usize| [&[(number % 10) as u8][..], &noise(3072)].concat();
    let batch: Vec<u8> = (0..20).flat_map(record).collect();
    server.put("cifar/a.bin", batch.clone());
    server.put(
        "cifar/batches.meta.txt",
        (0..10).map(|class| format!("class-{class}\n")).collect::<String>().into(),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("cifar")).unwrap();
    for name in ["cifar/a.bin", "cifar/batches.meta.txt"] {
        std::fs::write(folder.path().join(name), &server.served.lock().unwrap().files[name]).unwrap();
    }
    let here = |path: &str| match path.starts_with("cifar") {
        true => folder.path().join(path).to_str().unwrap().to_string(),
        false => data().join(path).to_str().unwrap().to_string(),
    };
    for (kind, path, options) in [
        ("csv", "packed/rows.csv", "labelled_first = 10"),
        ("csv", "packed/rows.csv.gz", "labelled_first = 10"),
        ("csv", "packed/rows.csv.zip", "labelled_first = 10"),
        ("npy", "packed", "samples = \"arrays.npz/x\"\nlabels = \"arrays.npz/y\"\nlabelled_per_class = 2"),
        (
            "idx",
            "arrays",
            "images = \"u1-idx3-ubyte\"\nlabels = \"labels-u1.idx\"\ntest_images = \"\"\nlabelled_per_class = 1\nrepeat = false",
        ),
        ("cifar", "cifar", "train = [\"a.bin\"]\ntest = \"\"\nlabelled_per_class = 1\nrepeat = false"),
    ] {
        let options = |path: &str| format!("path = {path:?}\n{options}");
        let mut local = source(kind, &options(&here(path)));
        let mut there = source(kind, &options(&url(&server, path)));
        assert_eq!(there.format(), local.format(), "{kind} {path}");
        assert_eq!(there.labelled().unwrap(), local.labelled().unwrap());
        let mut some = Samples::none(there.format().dtype);
        there.read(3, &mut some).unwrap();
        local.read(3, &mut some).unwrap();
        let mut resumed = source(kind, &options(&url(&server, path)));
        resumed.load(&there.save().unwrap()).unwrap();
        let rest = samples(&mut *local);
        assert!(samples(&mut *there) == rest && samples(&mut *resumed) == rest, "{kind} {path}");
        assert!(rest.len() > 3, "{kind} {path}: {} samples", rest.len());
    }
}

/// Runs a test of this file in a process of its own, whose S3 is `server`.
fn in_s3(test: &str, server: &ObjectServer, more: &[(&str, &str)]) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([&format!("remote::{test}"), "--exact", "--include-ignored", "--nocapture"]);
    command.envs(server.environment()).envs(more.iter().copied());
    let output = command.env("TEST_IN_S3", server.port.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn is_in_s3() -> bool {
    std::env::var("TEST_IN_S3").is_ok()
}

fn folder_options(path: &str, more: &str) -> String {
    format!(
        "path = {path:?}\nshape = [3, 3, 4]\ndtype = \"u8\"\nclasses = [\"ant\", \"bee\", \"cat\"]\nsettle = \"0s\"\n\
         poll = \"0s\"\norder = \"name\"\nmax_bad = 1.0\n{more}"
    )
}

#[test]
fn a_folder_of_an_object_store_is_streamed() {
    let server = server(&["tars"]);
    let files: Vec<(String, Vec<u8>)> = server.served.lock().unwrap().files.clone().into_iter().collect();
    for (name, content) in files {
        server.put(&format!("bucket/set/deep & far/{name}"), content.clone());
        server.put(&format!("bucket/settings/{name}"), content);
    }
    server.put("bucket/set/.hidden/a.tar", vec![1; 10]);
    server.served.lock().unwrap().page = 3;
    in_s3("inner_folder", &server, &[]);
    let denied = ObjectServer::start([]);
    denied.served.lock().unwrap().always = Some(Trouble::Status(403));
    in_s3("inner_denied", &denied, &[]);
}

#[test]
#[ignore = "run by another test"]
fn inner_folder() {
    assert!(is_in_s3());
    let state = tempfile::tempdir().unwrap();
    let build = |path: &str, more: &str| {
        let spec = Spec { kind: "folder".into(), options: folder_options(path, more).parse().unwrap() };
        let context = Context { state: Some(state.path().into()), ..Context::default() };
        (SOURCES.find("folder").unwrap().build)(&spec, &context)
    };
    let here = folder_options(data().join("tars").to_str().unwrap(), "follow = false");
    let mut local = source("folder", &here);
    let mut wanted = Samples::none(Dtype::U8);
    while local.read(1, &mut wanted).unwrap() != ReadProgress::End {}
    let mut there = build("s3://bucket/set", "follow = false").unwrap();
    there.labelled().unwrap();
    let mut some = Samples::none(Dtype::U8);
    there.read(9, &mut some).unwrap();
    let mut resumed = build("s3://bucket/set", "follow = false").unwrap();
    resumed.load(&there.save().unwrap()).unwrap();
    let mut rest = some.clone();
    while there.read(5, &mut some).unwrap() != ReadProgress::End {}
    while resumed.read(5, &mut rest).unwrap() != ReadProgress::End {}
    assert!(some == wanted && rest == wanted, "{} {} {}", wanted.len(), some.len(), rest.len());
    assert_eq!(there.dead_letters(), local.dead_letters());
    let error = build("s3://bucket/none", "follow = false").err().unwrap().to_string();
    assert!(error.contains("s3://bucket/none: it holds no file that is read"), "{error}");
    assert!(build("s3://bucket/none", "").is_ok(), "files may come later");
    let error = build("http://127.0.0.1:1/x", "").err().unwrap().to_string();
    assert!(error.contains("a web server does not say which files a folder holds"), "{error}");
    // A file that cannot be reached is not taken for a bad one.
    let answer_always = |status: u16| {
        let port: u16 = std::env::var("TEST_IN_S3").unwrap().parse().unwrap();
        let mut control = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        control.write_all(format!("GET /always/{status} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        control.read_to_end(&mut Vec::new()).unwrap(); // until it is closed
    };
    let mut first = Samples::none(Dtype::U8);
    let mut cut_off = build("s3://bucket/settings", "follow = false").unwrap();
    cut_off.labelled().unwrap();
    cut_off.read(1, &mut first).unwrap();
    let state_then = cut_off.save().unwrap();
    answer_always(503);
    let error = cut_off.read(100, &mut Samples::none(Dtype::U8)).unwrap_err().to_string();
    assert!(error.contains("it cannot be reached: the server answers 503"), "{error}");
    answer_always(403);
    let error = cut_off.read(100, &mut Samples::none(Dtype::U8)).unwrap_err().to_string();
    assert!(error.contains("it cannot be reached: access is denied (403)"), "{error}");
    answer_always(0);
    let mut resumed = build("s3://bucket/settings", "follow = false").unwrap();
    resumed.load(&state_then).unwrap();
    while resumed.read(5, &mut first).unwrap() != ReadProgress::End {}
    assert!(first == wanted, "{} {}", wanted.len(), first.len());
}

#[test]
#[ignore = "run by another test"]
fn inner_denied() {
    assert!(is_in_s3());
    let spec = |options: String| Spec { kind: "folder".into(), options: options.parse().unwrap() };
    let build = SOURCES.find("folder").unwrap().build;
    let error =
        build(&spec(folder_options("s3://bucket/set", "")), &Context::default()).err().unwrap().to_string();
    for says in ["s3://bucket/set", "access is denied (403)", "AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"] {
        assert!(error.contains(says), "{error}");
    }
    let error = whole("s3://bucket/a.npy", 0).unwrap_err();
    assert!(error.contains("access is denied (403)"), "{error}");
}

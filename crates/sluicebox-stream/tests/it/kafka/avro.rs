//! Messages of a schema registry: records of Avro that fastavro wrote (`tests/data/avro`), by schemas that change.

use super::broker::Broker;
use super::registry::Registry;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Samples, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, Source};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/avro").join(name)
}

fn message(name: &str) -> Vec<u8> {
    std::fs::read(data(&format!("{name}.avro"))).unwrap()
}

fn schemas() -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(data("schemas.json")).unwrap()).unwrap()
}

fn source(broker: &Broker, folder: &Path, more: &str) -> Box<dyn Source> {
    let text = format!(
        "brokers = \"{}\"\ntopic = \"samples\"\nencoding = \"avro\"\nshape = [2]\ndtype = \"f32\"\nmax_bad = 1.0\n\
         classes = [\"ant\", \"bee\", \"cat\"]\n{more}",
        broker.address
    );
    let spec = Spec { kind: "kafka".into(), options: text.parse().unwrap() };
    let context = Context { state: Some(folder.into()), ..Context::default() };
    (SOURCES.find("kafka").unwrap().build)(&spec, &context).unwrap()
}

/// Reads until `count` samples and `bad` bad messages have come.
fn read(source: &mut dyn Source, count: usize, bad: u64) -> Samples {
    let mut samples = Samples::none(Dtype::F32);
    let began = Instant::now();
    while samples.len() < count || source.dead_letters() < bad {
        assert!(began.elapsed() < LIMIT, "{} came, {} bad", samples.len(), source.dead_letters());
        source.read(8, &mut samples).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((samples.len(), source.dead_letters()), (count, bad));
    samples
}

fn reasons(folder: &Path) -> Vec<String> {
    let letters = std::fs::read_to_string(folder.join("dead-letter.jsonl")).unwrap_or_default();
    let reason = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["reason"].clone();
    letters.lines().map(|line| reason(line).as_str().unwrap().to_string()).collect()
}

const BY_NAME: &str = "features = [\"x1\", \"at.x\"]\nclass_column = \"kind\"\nignore = [\"when\"]\n";

#[test]
fn records_are_read_by_the_schemas_that_wrote_them() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start(1, None, None));
    let registry = Registry::start(schemas(), None);
    for name in ["first", "first-unlabelled", "second"] {
        broker.send(0, &message(name), None, &[]);
    }
    let more = format!("{BY_NAME}properties.schema.registry.url = \"{}\"", registry.url);
    let mut source = source(&broker, folder.path(), &more);
    let samples = read(&mut *source, 3, 0);
    assert_eq!(samples.values, Values::F32(vec![0.5, 3.0, 1.5, -1.0, 4.0, 7.0]));
    let key = |text: &str| SampleId::plain(text).unwrap().key;
    assert_eq!(samples.ids, [key("a-1"), key("a-2"), 12]);
    let labels: Vec<(u64, Option<u32>)> =
        samples.labels.iter().map(|label| (label.id, label.class)).collect();
    assert_eq!(labels, [(key("a-1"), Some(1)), (12, Some(2))]);
    assert_eq!(registry.asked(), ["/schemas/ids/1", "/schemas/ids/2"], "each schema is fetched once");
}

#[test]
fn values_come_in_one_field_too() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start(1, None, None));
    let registry = Registry::start(schemas(), None);
    broker.send(0, &message("array"), None, &[]);
    broker.send(0, &message("bytes"), None, &[]);
    let more = format!("properties.schema.registry.url = \"{}\"", registry.url);
    let samples = read(&mut *source(&broker, folder.path(), &more), 2, 0);
    assert_eq!(samples.values, Values::F32(vec![0.25, -2.0, 1.0, 2.0]));
    assert_eq!(samples.labels.iter().map(|label| label.class).collect::<Vec<_>>(), [Some(2)]);
}

#[test]
fn bad_messages_are_told_and_the_next_is_read() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start(1, None, None));
    let registry = Registry::start(schemas(), None);
    let whole = message("first");
    let unknown = [&[0, 0, 0, 0, 99][..], &whole[5..]].concat();
    let long = [&whole[..], &[0]].concat();
    for bad in
        [&message("first-missing"), &message("list"), &unknown, &whole[..9].to_vec(), &long, &b"x".to_vec()]
    {
        broker.send(0, bad, None, &[]);
    }
    broker.send(0, &whole, None, &[]);
    let more = format!("{BY_NAME}properties.schema.registry.url = \"{}\"", registry.url);
    read(&mut *source(&broker, folder.path(), &more), 1, 6);
    let reasons = reasons(folder.path());
    for (reason, says) in reasons.iter().zip([
        "the value of `at.x` is missing",
        "schema 5 cannot be used: `Node` contains itself",
        "the schema registry has no schema 99",
        "not Avro of its schema",
        "1 bytes are left over",
        "does not begin with 0 and the number of a schema",
    ]) {
        assert!(reason.contains(says), "{reason}");
    }
    // A field that is read, but of a logical type.
    let folder = tempfile::tempdir().unwrap();
    let more = more.replace("at.x", "when").replace("ignore = [\"when\"]", "ignore = [\"at\"]");
    let mut source = source(&broker, folder.path(), &more);
    let mut samples = Samples::none(Dtype::F32);
    let began = Instant::now();
    while source.dead_letters() < 7 {
        assert!(began.elapsed() < LIMIT);
        source.read(8, &mut samples).unwrap();
    }
    let last = self::reasons(folder.path()).pop().unwrap();
    assert!(last.contains("`when` is a time (a logical type, which is not read)"), "{last}");
}

#[test]
fn a_registry_is_shown_who_asks_and_waited_for() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Broker::start(1, None, None));
    broker.send(0, &message("first"), None, &[]);
    let file = folder.path().join("client.properties");
    let registry = Registry::start(schemas(), Some("Basic cmVhZGVyOnNlc2FtZQ=="));
    registry.fail(3);
    let write = |password: &str| {
        let text = format!(
            "schema.registry.url={}\nschema.registry.basic.auth.user.info=reader:{password}\n",
            registry.url
        );
        std::fs::write(&file, text).unwrap();
    };
    write("sesame");
    let more = format!("{BY_NAME}properties_file = {:?}", file.to_str().unwrap());
    read(&mut *source(&broker, folder.path(), &more), 1, 0);
    assert_eq!(registry.asked().len(), 4, "it failed three times");
    write("hunter2");
    let failure = |more: &str| {
        let mut source = source(&broker, folder.path(), more);
        let (mut samples, began) = (Samples::none(Dtype::F32), Instant::now());
        loop {
            assert!(began.elapsed() < LIMIT && samples.is_empty());
            if let Err(error) = source.read(1, &mut samples) {
                return error.to_string();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let reason = failure(&more);
    assert!(
        reason.contains("401") && reason.contains("set schema.registry.basic.auth.user.info"),
        "{reason}"
    );
    assert!(!reason.contains("hunter2"), "{reason}");
    // Nobody listens there.
    let nowhere = format!(
        "{BY_NAME}registry_timeout = \"1s\"\nproperties.schema.registry.url = \"http://127.0.0.1:1\""
    );
    let reason = failure(&nowhere);
    assert!(reason.contains("http://127.0.0.1:1") && reason.contains("registry_timeout"), "{reason}");
    let nothing = folder.path().join("nothing.properties");
    std::fs::write(&nothing, "").unwrap();
    let none = format!("{BY_NAME}properties_file = {:?}", nothing.to_str().unwrap());
    assert!(failure(&none).contains("set source.properties.schema.registry.url"));
    let wrong = format!("{BY_NAME}properties.schema.registry.uri = \"x\"");
    assert!(failure(&wrong).contains("unknown setting `schema.registry.uri`"));
}

//! The Kafka source on librdkafka's mock cluster: no message is lost or duplicated, in any order of
//! arrival.

use crate::support;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluicebox::job::Job;
use sluicebox::job::sinks::{JobSink, SINKS};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::report::About;
use sluicebox_core::sample::{Dtype, Label, Samples, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::step::Prediction;
use sluicebox_stream::ingest::{Ingest, IngestContext};
use sluicebox_stream::sink::Sink;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Cluster {
    /// Creates a cluster of one broker with the topic `samples`.
    fn new(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("samples", partitions, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers());
        Self { producer: config.create().unwrap(), mock }
    }

    fn send(&self, partition: i32, payload: Option<&[u8]>) {
        let mut record = BaseRecord::<(), [u8]>::to("samples").partition(partition);
        record.payload = payload;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.poll(Duration::ZERO);
    }

    /// Sends messages `range` of a partition, two bytes each.
    fn fill(&self, partition: i32, range: std::ops::Range<usize>) {
        range.for_each(|n| self.send(partition, Some(&[partition as u8, n as u8])));
        self.producer.flush(LIMIT).unwrap();
    }

    fn source(&self, more: &str) -> Box<dyn Source> {
        source(&self.mock.bootstrap_servers(), more)
    }
}

fn spec(brokers: &str, more: &str) -> Result<Spec> {
    let text = format!(
        "[source]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"samples\"\nencoding = \"raw\"\n\
         shape = [2]\ndtype = \"u8\"\nclasses = [\"cat\", \"dog\"]\n"
    );
    let sets: Vec<String> = more.lines().map(String::from).collect();
    Job::parse("test", "test", text, &sets).map(|mut job| job.sources.remove(0).spec)
}

fn source(brokers: &str, more: &str) -> Box<dyn Source> {
    let spec = spec(brokers, more).unwrap();
    (SOURCES.find("kafka").unwrap().build)(&spec, &Context::default()).unwrap()
}

/// Reads `count` samples, however long they take.
fn read(source: &mut dyn Source, count: usize) -> Samples {
    let mut samples = Samples::none(source.format().dtype);
    let began = Instant::now();
    while samples.len() < count {
        let missing = count - samples.len();
        if source.read(missing, &mut samples).unwrap() == ReadProgress::NotYet {
            assert!(began.elapsed() < LIMIT, "{} of {count} came", samples.len());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    samples
}

/// Reads until the source fails.
fn failure(source: &mut dyn Source) -> String {
    let mut samples = Samples::none(Dtype::U8);
    let began = Instant::now();
    loop {
        match source.read(64, &mut samples) {
            Err(error) => return error.to_string(),
            Ok(_) => assert!(began.elapsed() < LIMIT, "it did not fail"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Checks that there is nothing more. A longer wait could only find more faults; it cannot make a
/// correct source fail.
fn nothing_more(source: &mut dyn Source) {
    std::thread::sleep(Duration::from_millis(300));
    let mut samples = Samples::none(source.format().dtype);
    assert_eq!(source.read(1, &mut samples).unwrap(), ReadProgress::NotYet);
}

fn place(id: u64) -> (i32, u64) {
    ((id >> 40) as i32, id & ((1 << 40) - 1))
}

/// Checks that each partition's samples are complete from `first` on, in order, with their values.
fn assert_whole(samples: &[Samples], first: u64, counts: &[(i32, usize)]) {
    let mut next: BTreeMap<i32, u64> = BTreeMap::new();
    for part in samples {
        let Values::U8(values) = &part.values else { panic!("they are u8") };
        for (id, value) in part.ids.iter().zip(values.chunks_exact(2)) {
            let (partition, offset) = place(*id);
            let expected = next.entry(partition).or_insert(first);
            assert_eq!(offset, *expected, "partition {partition}");
            assert_eq!(value, [partition as u8, offset as u8]);
            *expected += 1;
        }
    }
    let counts: BTreeMap<i32, u64> =
        counts.iter().map(|(partition, count)| (*partition, first + *count as u64)).collect();
    assert_eq!(next, counts);
}

#[test]
fn every_message_of_every_partition_is_read_once() {
    let cluster = Cluster::new(3);
    (0..3).for_each(|partition| cluster.fill(partition, 0..200));
    let mut source = cluster.source("");
    let samples = [read(&mut *source, 600)];
    assert_whole(&samples, 0, &[(0, 200), (1, 200), (2, 200)]);
    nothing_more(&mut *source);
    cluster.fill(1, 200..210);
    let later = read(&mut *source, 10);
    assert_eq!(place(later.ids[0]), (1, 200));
}

#[test]
fn a_restored_stream_gives_the_very_next_samples() {
    let cluster = Cluster::new(3);
    (0..3).for_each(|partition| cluster.fill(partition, 0..100));
    let mut source = cluster.source("");
    let before = read(&mut *source, 137);
    let state = source.save().unwrap();
    read(&mut *source, 50); // read again below
    let mut again = cluster.source("");
    again.load(&state).unwrap();
    let after = read(&mut *again, 163);
    assert_whole(&[before, after], 0, &[(0, 100), (1, 100), (2, 100)]);
    nothing_more(&mut *again);
}

#[test]
fn what_is_noted_is_read_again_in_the_same_order_though_it_arrives_otherwise() {
    for start in ["earliest", "latest"] {
        let cluster = Cluster::new(3);
        let more = format!("source.start={start}");
        let mut source = cluster.source(&more);
        nothing_more(&mut *source);
        let (mut steps, mut states) = (Vec::new(), Vec::new());
        // The first read finds one partition after the other; a repeated read finds all partitions
        // at once.
        for step in 0..9 {
            cluster.fill([2, 0, 1][step % 3], 40 * (step / 3)..40 * (step / 3) + 40);
            let samples = read(&mut *source, 31 + step);
            steps.push((samples, source.note().unwrap()));
            states.push(source.save().unwrap());
        }
        for from in [None, Some(0), Some(4)] {
            let mut again = cluster.source(&more);
            if let Some(at) = from {
                let state: &Vec<u8> = &states[at];
                again.load(state).unwrap();
            }
            let first = from.map_or(0, |at| at + 1);
            for (samples, note) in &steps[first..] {
                again.replay(note).unwrap();
                assert_eq!(read(&mut *again, samples.len()), *samples);
                assert!(again.note().unwrap().is_empty(), "it was noted before");
            }
            let rest = 360 - steps.iter().map(|(samples, _)| samples.len()).sum::<usize>();
            let mut whole: Vec<Samples> = steps.iter().map(|(samples, _)| samples.clone()).collect();
            whole.push(read(&mut *again, rest));
            assert_whole(&whole, 0, &[(0, 120), (1, 120), (2, 120)]);
            assert!(!again.note().unwrap().is_empty());
            nothing_more(&mut *again);
        }
    }
}

#[test]
fn a_step_that_is_done_again_waits_until_its_messages_are_there() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0..10);
    cluster.fill(1, 0..10);
    let mut source = cluster.source("");
    let samples = read(&mut *source, 20);
    let note = source.note().unwrap();
    let poorer = Cluster::new(2);
    poorer.fill(1, 0..10);
    let mut again = poorer.source("");
    again.replay(&note).unwrap();
    let mut repeated = Samples::none(Dtype::U8);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(again.read(20, &mut repeated).unwrap(), ReadProgress::NotYet);
    assert!(repeated.len() < 20);
    poorer.fill(0, 0..10);
    let rest = read(&mut *again, 20 - repeated.len());
    assert_eq!([repeated.ids, rest.ids].concat(), samples.ids);
}

#[test]
fn a_small_buffer_and_messages_larger_than_it_lose_nothing() {
    let cluster = Cluster::new(3);
    (0..3).for_each(|partition| cluster.fill(partition, 0..300));
    for bytes in [1, 2000, 20_000] {
        let mut source = cluster.source(&format!("source.buffer_bytes={bytes}"));
        if bytes > 1 {
            let samples = read(&mut *source, 900);
            assert_whole(&[samples], 0, &[(0, 300), (1, 300), (2, 300)]);
            nothing_more(&mut *source);
            continue;
        }
        // With one message of a partition at a time it is slow, but none is left out.
        let samples = read(&mut *source, 30);
        let count = |partition| samples.ids.iter().filter(|id| place(**id).0 == partition).count();
        let counts = [(0, count(0)), (1, count(1)), (2, count(2))];
        assert_whole(&[samples], 0, &counts);
    }
}

#[test]
fn a_broker_goes_down_and_comes_back() {
    let cluster = Cluster::new(2);
    cluster.fill(0, 0..50);
    cluster.fill(1, 0..50);
    let mut source = cluster.source("source.buffer_bytes=4000");
    let mut samples = vec![read(&mut *source, 30)];
    cluster.mock.broker_down(-1).unwrap();
    let mut while_down = Samples::none(Dtype::U8);
    for _ in 0..50 {
        source.read(5, &mut while_down).unwrap(); // messages fetched before may still come
        std::thread::sleep(Duration::from_millis(10));
    }
    cluster.mock.broker_up(-1).unwrap();
    cluster.fill(0, 50..80);
    let missing = 130 - 30 - while_down.len();
    samples.push(while_down);
    samples.push(read(&mut *source, missing));
    assert_whole(&samples, 0, &[(0, 80), (1, 50)]);
    nothing_more(&mut *source);
    // A job can end while no broker is up.
    cluster.mock.broker_down(-1).unwrap();
    drop(source);
}

#[test]
fn bad_messages_are_named_and_counted_and_deleted_ones_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters.jsonl");
    let more = format!("source.max_bad=0.05\nsource.dead_letter={}", letters.display());
    let cluster = Cluster::new(1);
    cluster.fill(0, 0..3);
    cluster.send(0, Some(&[1, 2, 3]));
    cluster.send(0, None);
    cluster.send(0, Some(&[]));
    cluster.fill(0, 6..9);
    let mut source = cluster.source(&more);
    let samples = read(&mut *source, 6);
    let offsets: Vec<u64> = samples.ids.iter().map(|id| place(*id).1).collect();
    assert_eq!(offsets, [0, 1, 2, 6, 7, 8]);
    assert_eq!(source.dead_letters(), 2);
    let text = std::fs::read_to_string(&letters).unwrap();
    let kept: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert_eq!(
        (&kept[0]["topic"], &kept[0]["partition"], &kept[0]["offset"]),
        (&"samples".into(), &0.into(), &3.into())
    );
    assert!(kept[0]["reason"].as_str().unwrap().contains("3 bytes instead of 2"), "{text}");
    assert_eq!(kept[1]["offset"], 5);
    // Read again, they are counted once.
    let (note, state) = (source.note().unwrap(), source.save().unwrap());
    let mut again = cluster.source(&more);
    again.load(&state).unwrap();
    (0..4).for_each(|_| cluster.send(0, Some(b"wrong")));
    cluster.producer.flush(LIMIT).unwrap();
    let error = failure(&mut *again);
    assert!(error.contains("4 of 13 records are bad") && error.contains("max_bad"), "{error}");
    let mut from_start = cluster.source(&more.replace("letters", "others"));
    from_start.replay(&note).unwrap();
    assert_eq!(read(&mut *from_start, 6), samples);
}

#[test]
fn json_says_id_and_label() {
    let cluster = Cluster::new(1);
    for text in [
        r#"{"id": 7, "values": [1, 2], "label": "dog"}"#,
        r#"{"values": [3, 4], "label": 0}"#,
        r#"{"values": [3, 4], "label": "cow"}"#,
        "[5, 6]",
    ] {
        cluster.send(0, Some(text.as_bytes()));
    }
    cluster.producer.flush(LIMIT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters.jsonl");
    let more = format!("source.encoding=ndjson\nsource.dead_letter={}", letters.display());
    let mut source = cluster.source(&more);
    let samples = read(&mut *source, 3);
    assert_eq!(samples.ids, [7, 1, 3]);
    let label = |id, class| Label { id, class: Some(class) };
    assert_eq!(samples.labels, [label(7, 1), label(1, 0)]);
    assert_eq!(samples.values, Values::U8(vec![1, 2, 3, 4, 5, 6]));
    assert!(std::fs::read_to_string(letters).unwrap().contains("cow"));
}

/// Opens a source as a job does, with a log in `folder` that goes on from `section`; `needed` is its first record.
fn opened(cluster: &Cluster, more: &str, folder: &std::path::Path, section: Option<&[u8]>) -> Opened {
    let mut source = cluster.source(more);
    let log = Wal::open(folder, "test", &LogSettings::default()).unwrap();
    let format = source.format().clone();
    let ingest = match section {
        Some(section) => Ingest::resume(log, format, 1, section, 0),
        None => Ingest::new(log, format, 1),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ingest = Arc::new(ingest.unwrap());
    let handle = runtime.handle().clone();
    let live = IngestContext { ingest: ingest.clone(), runtime: handle, access: Arc::default() };
    source.open(&live, 0).unwrap();
    Opened { source, ingest, _runtime: runtime }
}

struct Opened {
    source: Box<dyn Source>,
    ingest: Arc<Ingest>,
    _runtime: tokio::runtime::Runtime,
}

#[test]
fn an_id_that_comes_again_is_taken_once_and_refused_with_other_values() {
    let (cluster, folder) = (Cluster::new(1), tempfile::tempdir().unwrap());
    let letters = folder.path().join("letters");
    let more = format!("source.encoding=ndjson\nsource.max_bad=1\nsource.dead_letter={}", letters.display());
    let send = |id: &str, values: &str| {
        cluster.send(0, Some(format!("{{\"id\": {id}, \"values\": {values}}}").as_bytes()));
        cluster.producer.flush(LIMIT).unwrap();
    };
    let uuid = "\"7f3b1c9e-2d4a-4a51-9c60-0f6d2b8e7a11\"";
    for (id, values) in
        [("7", "[1, 2]"), (uuid, "[3, 4]"), ("7", "[1, 2]"), (uuid, "[5, 6]"), ("8", "[7, 8]")]
    {
        send(id, values);
    }
    let mut first = opened(&cluster, &more, &folder.path().join("log"), None);
    let samples = read(&mut *first.source, 3);
    let text = SampleId::quoted(uuid.trim_matches('"')).unwrap();
    assert_eq!(samples.ids, [7, text.key, 8]);
    assert_eq!(samples.names, [(1, text.name.clone().unwrap())]);
    let refused = first.ingest.refused();
    assert_eq!((refused["id-repeated"], refused["id-reused"], first.source.dead_letters()), (1, 1, 1));
    let letter = std::fs::read_to_string(&letters).unwrap();
    assert!(
        letter.contains("id 7f3b1c9e-2d4a-4a51-9c60-0f6d2b8e7a11 was used before with other values"),
        "{letter}"
    );
    // What was trained on is known after a restart, also without the log.
    first.ingest.set_trained(&samples.ids[..2]);
    let (section, position) = (first.ingest.save(0).unwrap(), first.source.save().unwrap());
    first.ingest.log().close();
    let mut again = opened(&cluster, &more, &folder.path().join("other"), Some(&section));
    again.source.load(&position).unwrap();
    for (id, values) in [(uuid, "[3, 4]"), ("7", "[0, 0]"), ("8", "[7, 8]"), ("9", "[9, 9]")] {
        send(id, values);
    }
    assert_eq!(read(&mut *again.source, 2).ids, [8, 9]);
    assert_eq!(again.source.dead_letters(), 2);
}

#[test]
fn a_job_that_starts_with_the_latest_leaves_out_what_was_there() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0..20);
    let mut source = cluster.source("source.start=latest");
    nothing_more(&mut *source);
    cluster.fill(0, 20..30);
    assert_whole(&[read(&mut *source, 10)], 20, &[(0, 10)]);
}

#[test]
fn a_partition_that_is_new_is_read_from_its_beginning() {
    let one = Cluster::new(1);
    one.fill(0, 0..20);
    let mut source = one.source("source.start=latest");
    nothing_more(&mut *source);
    one.fill(0, 20..30);
    let first = read(&mut *source, 10);
    let state = source.save().unwrap();
    let two = Cluster::new(2);
    two.fill(0, 0..40);
    two.fill(1, 0..40);
    let mut source = two.source("source.start=latest");
    source.load(&state).unwrap();
    let second = read(&mut *source, 50);
    let of_new = second.ids.iter().filter(|id| place(**id).0 == 1).count();
    assert_eq!(of_new, 40);
    assert_eq!(first.ids.iter().chain(&second.ids).filter(|id| place(**id).0 == 0).count(), 20);
}

/// Sends more than the mock broker keeps (5 MiB), so that it drops its oldest messages.
fn overflow(cluster: &Cluster) {
    let large = vec![7; 50_000];
    (0..120).for_each(|_| cluster.send(0, Some(&large)));
    cluster.producer.flush(LIMIT).unwrap();
}

const LARGE: &str = "source.shape=[50000]";

#[test]
fn messages_that_are_gone_are_told_or_skipped() {
    let cluster = Cluster::new(1);
    let large = vec![7; 50_000];
    (0..10).for_each(|_| cluster.send(0, Some(&large)));
    cluster.producer.flush(LIMIT).unwrap();
    let mut source = cluster.source(LARGE);
    read(&mut *source, 5);
    let state = source.save().unwrap();
    drop(source);
    overflow(&cluster);
    let mut source = cluster.source(LARGE);
    source.load(&state).unwrap();
    let error = failure(&mut *source);
    assert!(error.contains("were deleted by the brokers") && error.contains("from offset 5 on"), "{error}");
    assert!(error.contains("source.on_gap"), "{error}");
    let mut source = cluster.source(&format!("{LARGE}\nsource.on_gap=skip"));
    source.load(&state).unwrap();
    let samples = read(&mut *source, 10);
    assert!(place(samples.ids[0]).1 > 5);
}

#[test]
fn messages_that_go_while_a_slow_job_runs_are_told_or_skipped() {
    for (skip, more) in [(false, ""), (true, "\nsource.on_gap=skip")] {
        let cluster = Cluster::new(1);
        let large = vec![7; 50_000];
        (0..100).for_each(|_| cluster.send(0, Some(&large)));
        cluster.producer.flush(LIMIT).unwrap();
        let mut source = cluster.source(&format!("{LARGE}\nsource.buffer_bytes=200000{more}"));
        let first = read(&mut *source, 2);
        overflow(&cluster);
        if skip {
            let rest = read(&mut *source, 80);
            let offsets: Vec<u64> = first.ids.iter().chain(&rest.ids).map(|id| place(*id).1).collect();
            assert!(offsets.is_sorted_by(|a, b| a < b));
            assert!(offsets.windows(2).any(|pair| pair[1] > pair[0] + 1), "{offsets:?}");
        } else {
            let error = failure(&mut *source);
            assert!(error.contains("were deleted by the brokers"), "{error}");
        }
    }
}

#[test]
fn a_topic_that_was_made_anew_is_noticed() {
    let old = Cluster::new(1);
    old.fill(0, 0..50);
    let mut source = old.source("");
    read(&mut *source, 50);
    let state = source.save().unwrap();
    let new = Cluster::new(1);
    new.fill(0, 0..10);
    let mut source = new.source("");
    source.load(&state).unwrap();
    let error = failure(&mut *source);
    assert!(error.contains("ends at offset 10, but 50 is next") && error.contains("--fresh"), "{error}");
}

#[test]
fn what_cannot_be_reached_is_named() {
    let nobody = source("127.0.0.1:1", "source.connect_timeout=300ms").read(1, &mut Samples::none(Dtype::U8));
    let error = nobody.unwrap_err().to_string();
    assert!(error.contains("no broker at 127.0.0.1:1") && error.contains("300ms"), "{error}");
    assert!(error.contains("refused"), "{error}");
    let cluster = Cluster::new(1);
    let mut source = cluster.source("source.topic=smaples");
    let error = failure(&mut *source);
    assert!(error.contains("have no topic `smaples`"), "{error}");
}

#[test]
fn settings_of_librdkafka_are_passed_on_and_checked() {
    let cluster = Cluster::new(1);
    cluster.fill(0, 0..5);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.properties");
    std::fs::write(&file, "# secrets\nclient.rack = a\n").unwrap();
    let more = format!("source.properties.fetch.wait.max.ms=50\nsource.properties_file={}", file.display());
    assert_eq!(read(&mut *cluster.source(&more), 5).len(), 5);
    std::fs::write(&file, "no.such.setting=1\n").unwrap();
    let error = failure(&mut *cluster.source(&more));
    assert!(error.contains("no.such.setting"), "{error}");
    std::fs::write(&file, "nonsense\n").unwrap();
    let error = failure(&mut *cluster.source(&more));
    assert!(error.contains("line 1: expected key=value"), "{error}");
    for (wrong, says) in [
        ("source.properties.enable.auto.commit=true", "set by the job's other options"),
        ("source.properties.sasl.password=x", "is a secret, and the job is printed and kept"),
        ("source.properties.debug=[1]", "neither text nor a number"),
        ("source.brokers=\"\"", "source.brokers: is empty"),
        ("source.buffer_bytes=0", "source.buffer_bytes"),
        ("source.connect_timeout=0s", "source.connect_timeout"),
        ("source.encoding=xml", "source.encoding"),
        ("source.encoding=avro", "schema.registry.url"),
    ] {
        let error = spec("127.0.0.1:1", wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

/// Writes a job of 25 steps that ends with sample 1,600 of the topic `samples`.
fn job(cluster: &Cluster, folder: &std::path::Path) -> String {
    let text = std::fs::read_to_string(support::root().join("pipelines/kafka.toml")).unwrap();
    let text = text.replace("localhost:9092", &cluster.mock.bootstrap_servers());
    let path = folder.join("job.toml");
    std::fs::write(&path, text.replace("\"digits\"\nencoding", "\"samples\"\nencoding")).unwrap();
    path.display().to_string()
}

fn arguments(job: &str, state: &std::path::Path) -> Vec<String> {
    let state = state.display().to_string();
    let mut all: Vec<String> = ["run", job, "--state", &state].map(String::from).into();
    for set in [
        "batch.unlabelled=64",
        "batch.max_wait=50ms",
        "epoch.steps=10",
        "stop.samples=1600",
        "checkpoint.steps=3",
        "threads=2",
        "precision=f32",
    ] {
        all.extend(["--set".into(), set.into()]);
    }
    all
}

fn finish(arguments: &[String]) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = support::output(&arguments);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn sigkill_while_messages_arrive_changes_nothing() {
    let cluster = Cluster::new(3);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let job = job(&cluster, folder.path());
    let killed = arguments(&job, &state);
    let image = |n: usize| -> Vec<u8> { (0..64).map(|pixel| ((n * 7 + pixel * n) % 17) as u8).collect() };
    let fill = |round: usize| {
        for n in 0..200 {
            cluster.send(((n / 5 + round) % 3) as i32, Some(&image(round * 200 + n)));
        }
        cluster.producer.flush(LIMIT).unwrap();
    };
    for round in 0..6 {
        let mut child = support::sluicebox();
        let child = child.args(&killed).stdout(std::process::Stdio::null());
        let mut child = child.stderr(std::process::Stdio::null()).spawn().unwrap();
        fill(round);
        std::thread::sleep(Duration::from_millis(300 + 150 * round as u64));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    (6..8).for_each(fill);
    let after_kills = finish(&killed);
    assert_eq!(after_kills["samples_seen"], 1600);
    // The log's step journal says how each step was cut; without a checkpoint all steps are repeated.
    let again = folder.path().join("again");
    copy(&state.join("log"), &again.join("log"));
    let whole = finish(&arguments(&job, &again));
    for key in ["samples_seen", "steps", "student_samples", "accepted_fraction", "weights_sha256"] {
        assert_eq!(after_kills[key], whole[key], "{key}");
    }
}

fn sink(brokers: &str, more: &str) -> Result<Box<dyn Sink>> {
    let text = format!(
        "[source]\nkind = \"digits\"\n[[sink]]\nkind = \"predictions-kafka\"\nbrokers = \"{brokers}\"\n\
         topic = \"samples\"\n{more}"
    );
    let mut job = Job::parse("test", "test", text, &[])?;
    match (SINKS.find("predictions-kafka").unwrap().build)(&job.sinks.remove(0), &About::default())? {
        JobSink::Samples(sink) => Ok(sink),
        JobSink::Epochs(_) => panic!("it takes predictions"),
    }
}

fn predictions(ids: std::ops::Range<u64>) -> Vec<Prediction> {
    let of = |id| Prediction {
        id: SampleId::number(id),
        class: 1,
        confidence: 0.75,
        pseudo_label: 0,
        pseudo_label_confidence: 0.5,
        accepted: true,
        confident: true,
        networks_agree: None,
        teacher_step: 9,
    };
    ids.map(of).collect()
}

#[test]
fn predictions_are_delivered_before_a_snapshot_and_wait_for_a_broker() {
    let cluster = Cluster::new(2);
    let brokers = cluster.mock.bootstrap_servers();
    let classes = ["cat".to_string(), "dog".to_string()];
    let (said, heard) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let at = brokers.clone();
    let told = std::thread::spawn(move || {
        let mut sink = sink(&at, "buffer_bytes = 65536").unwrap();
        sink.predictions(&predictions(0..500), &classes).unwrap();
        sink.save().unwrap();
        said.send(()).unwrap();
        may_go.recv().unwrap();
        // More than the queue holds: the job waits until the broker is back.
        sink.predictions(&predictions(500..2000), &classes).unwrap();
        sink.save().unwrap();
    });
    heard.recv().unwrap();
    cluster.mock.broker_down(-1).unwrap();
    go.send(()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    cluster.mock.broker_up(-1).unwrap();
    told.join().unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range("samples", 0, 1);
    list.set_all_offsets(Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut told = BTreeMap::new();
    let began = Instant::now();
    while told.len() < 2000 {
        assert!(began.elapsed() < LIMIT, "{} came", told.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        assert_eq!(std::str::from_utf8(message.key().unwrap()).unwrap(), value["id"].to_string());
        assert!(told.insert(value["id"].as_u64().unwrap(), value).is_none(), "one came twice");
    }
    let expected = serde_json::json!(
        {"id": 1234, "class": "dog", "confidence": 0.75, "pseudo_label": "cat", "accepted": true, "teacher_step": 9}
    );
    assert_eq!(told[&1234], expected);
}

#[test]
fn predictions_that_cannot_be_delivered_end_the_job() {
    let cluster = Cluster::new(1);
    let brokers = cluster.mock.bootstrap_servers();
    let mut hasty = sink(&brokers, "properties.message.timeout.ms = 5000").unwrap();
    hasty.predictions(&predictions(0..10), &[]).unwrap();
    hasty.save().unwrap();
    cluster.mock.broker_down(-1).unwrap();
    hasty.predictions(&predictions(0..10), &[]).unwrap();
    let error = hasty.save().unwrap_err().to_string();
    assert!(error.contains("topic `samples`"), "{error}");
    let error = sink("127.0.0.1:1", "connect_timeout = \"300ms\"").err().unwrap().to_string();
    assert!(error.contains("no broker at 127.0.0.1:1") && error.contains("300ms"), "{error}");
    let error = sink(&brokers, "properties.enable.idempotence = false").err().unwrap().to_string();
    assert!(error.contains("set by the job's other options"), "{error}");
}

/// Waits until `holds`.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn brokers_that_do_not_answer_are_told_and_do_not_hold_a_job_that_is_to_stop() {
    let cluster = Cluster::new(1);
    let at = cluster.mock.bootstrap_servers();
    let (controls, (said, heard), (go, may_go)) =
        (Controls::default(), std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let own = controls.clone();
    let job = std::thread::spawn(move || {
        let mut sink = sink(&at, "").unwrap();
        sink.watch(&own);
        for round in 0..2 {
            said.send(()).unwrap();
            may_go.recv().unwrap(); // the brokers are down now
            sink.predictions(&predictions(0..10), &[]).unwrap();
            let saved = sink.save();
            if round == 1 {
                return saved.unwrap_err().to_string();
            }
            saved.unwrap();
        }
        unreachable!()
    });
    let troubles = || controls.health.troubles();
    for round in 0..2 {
        heard.recv().unwrap();
        cluster.mock.broker_down(-1).unwrap();
        go.send(()).unwrap();
        until("the wait is told", || troubles().contains_key("predictions-kafka"));
        assert!(
            troubles()["predictions-kafka"].contains("10 predictions to topic `samples` are not delivered")
        );
        if round == 0 {
            cluster.mock.broker_up(-1).unwrap();
            until("the end of the wait is told", || troubles().is_empty());
        }
    }
    controls.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    until("a job that is to stop ends", || job.is_finished());
    let reason = job.join().unwrap();
    assert!(
        reason.contains("10 predictions to topic `samples`") && reason.contains("sent again"),
        "{reason}"
    );
}

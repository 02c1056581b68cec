//! How far a job is behind the end of its topic.

use super::broker::Broker;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Label, Samples, Shape};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::auth::Access;
use sluicebox_stream::ingest::{Ingest, IngestContext};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, Source};
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(60);

fn source(broker: &Broker, more: &str) -> Box<dyn Source> {
    let text = format!(
        "brokers = \"{}\"\ntopic = \"samples\"\nencoding = \"raw\"\nshape = [2]\ndtype = \"u8\"\n\
         classes = [\"cat\", \"dog\"]\n{more}",
        broker.address
    );
    let spec = Spec { kind: "kafka".into(), options: text.parse().unwrap() };
    (SOURCES.find("kafka").unwrap().build)(&spec, &Context::default()).unwrap()
}

/// Reads `count` samples, and then none, until the lag is as expected.
fn read_until(source: &mut dyn Source, count: usize, lag: u64) -> Samples {
    let mut samples = Samples::none(Dtype::U8);
    let began = Instant::now();
    while samples.len() < count || source.lag() != Some(lag) {
        assert!(began.elapsed() < LIMIT, "{} came, lag {:?}", samples.len(), source.lag());
        source.read(count - samples.len(), &mut samples).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    samples
}

#[test]
fn it_is_known_whether_or_not_messages_come_and_after_a_restart() {
    let broker = Broker::start(2, None, None);
    (0..6).for_each(|n| broker.send(0, &[0, n], None, &[]));
    (0..4).for_each(|n| broker.send(1, &[1, n], None, &[]));
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let format = Format {
        shape: Shape::Vector { features: 2 },
        dtype: Dtype::U8,
        scale: 1.0,
        classes: vec!["cat".into(), "dog".into()],
    };
    let log = Wal::open(folder.path(), "test", &LogSettings::default()).unwrap();
    let ingest = Arc::new(Ingest::new(log, format, 1).unwrap());
    let live = IngestContext {
        ingest: ingest.clone(),
        runtime: runtime.handle().clone(),
        access: Arc::new(Access::default()),
    };
    let mut first = source(&broker, "");
    assert_eq!(first.lag(), None);
    first.open(&live, 0).unwrap();
    read_until(&mut *first, 0, 10);
    read_until(&mut *first, 7, 3);
    assert_eq!(ingest.backlog.sum(), Some(3));
    let parts: Vec<i32> = ingest.backlog.parts().into_iter().map(|((_, partition), _)| partition).collect();
    assert_eq!(parts, [0, 1]);
    // More come while nothing is read.
    (6..9).for_each(|n| broker.send(0, &[0, n], None, &[]));
    read_until(&mut *first, 0, 6);
    let state = first.save().unwrap();
    drop(first);
    let mut again = source(&broker, "");
    again.load(&state).unwrap();
    read_until(&mut *again, 0, 6);
    read_until(&mut *again, 6, 0);
}

#[test]
fn ids_and_labels_are_around_the_values() {
    let broker = Broker::start(1, None, None);
    broker.send(0, &[1, 2], Some("k-1"), &[("class", "dog"), ("trace", "t-1")]);
    broker.send(0, &[3, 4], Some("k-2"), &[("trace", "t-2")]);
    let text = |text: &str| SampleId::plain(text).unwrap().key;
    let samples = read_until(&mut *source(&broker, "id = \"header:trace\"\nlabel = \"header:class\""), 2, 0);
    assert_eq!(samples.ids, [text("t-1"), text("t-2")]);
    assert_eq!(samples.labels, [Label { id: text("t-1"), class: Some(1) }]);
    let samples = read_until(&mut *source(&broker, "id = \"key\""), 2, 0);
    assert_eq!(samples.ids, [text("k-1"), text("k-2")]);
    let samples = read_until(&mut *source(&broker, "label = \"header:class\""), 2, 0);
    assert_eq!((samples.ids, samples.labels), (vec![0, 1], vec![Label { id: 0, class: Some(1) }]));
}

//! A log without room: whoever asks to be refused rather than to wait gets an answer, and nothing that is refused
//! counts as taken.

use sluicebox_core::sample::{Block, Dtype, Format, Shape};
use sluicebox_stream::ingest::{Ingest, Refusal, STEP_JOURNAL, Taken};
use sluicebox_stream::wal::settings::LogSettings;
use sluicebox_stream::wal::{Entry, Wal};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const MAX_BYTES: u64 = 64 << 10;
/// Far longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn gate() -> Arc<Ingest> {
    let log = Wal::temporary(&LogSettings { max_bytes: MAX_BYTES, ..LogSettings::default() }).unwrap();
    let classes = ["a", "b"].map(String::from).into();
    let format = Format { shape: Shape::Vector { features: 8 }, dtype: Dtype::U8, scale: 1.0, classes };
    Arc::new(Ingest::new(log, format, 1).unwrap())
}

fn samples(ids: std::ops::Range<u64>) -> Block {
    Block { bytes: ids.clone().flat_map(u64::to_le_bytes).collect(), ids: ids.collect(), ..Block::default() }
}

/// Writes what needs no room, as the job itself does.
fn fill(runtime: &Runtime, gate: &Ingest, bytes: usize) {
    let entry = Entry { stream: STEP_JOURNAL, payload: vec![0; bytes], mark: None };
    runtime.block_on(gate.log().append_now(vec![entry]).unwrap().durable()).unwrap();
}

fn post(runtime: &Runtime, gate: &Arc<Ingest>, block: Block) -> Result<Taken, Refusal> {
    let answer = runtime.block_on(async { timeout(PATIENCE, gate.take_now(0, block)).await });
    answer.expect("there is no answer")
}

#[test]
fn a_request_is_taken_or_refused_however_little_room_there_is() {
    let runtime = runtime();
    // Values alone are 800 bytes; with ids and the record's head they are 1697.
    for room in [0, 799, 800, 1200, 1696, 1697, 2000] {
        let gate = gate();
        fill(&runtime, &gate, MAX_BYTES as usize - 64 - room);
        assert!(room == 0 || gate.log().has_room(room), "{room}");
        match post(&runtime, &gate, samples(0..100)) {
            Ok(taken) => assert!(room >= 1697 && taken.repeated == 0, "{room}: {taken:?}"),
            Err(Refusal::Full) if room < 1697 => {
                // What was refused is new when there is room again.
                gate.log().trim(gate.log().durable()).unwrap();
                fill(&runtime, &gate, 0);
                assert_eq!(post(&runtime, &gate, samples(0..100)).unwrap().repeated, 0, "{room}");
            }
            Err(other) => panic!("{room}: {other}"),
        }
        assert_eq!(post(&runtime, &gate, samples(0..10)).map_or(10, |taken| taken.repeated), 10, "{room}");
    }
}

#[test]
fn a_feeder_that_waits_for_room_holds_up_no_request() {
    let (runtime, gate) = (runtime(), gate());
    fill(&runtime, &gate, MAX_BYTES as usize - 4000);
    let waiting = gate.clone();
    let feeder = runtime.spawn(async move { waiting.take(0, samples(0..500), None).await });
    while gate.log().has_room(1) {
        std::thread::yield_now(); // it holds the room that there is
    }
    for request in [samples(1000..1001), samples(0..1), Block::default()] {
        let answer = post(&runtime, &gate, request);
        assert!(matches!(answer, Err(Refusal::Full)), "{answer:?}");
    }
    assert!(!feeder.is_finished());
    gate.log().trim(gate.log().durable()).unwrap();
    assert_eq!(runtime.block_on(feeder).unwrap().unwrap().repeated, 0);
    assert_eq!(post(&runtime, &gate, samples(0..1)).unwrap().repeated, 1);
}

#[test]
fn a_sample_is_a_repeated_one_only_if_the_log_has_it() {
    let (runtime, gate) = (runtime(), gate());
    // Too many ids for the thread of the listeners, and too many bytes for the log.
    let many = || samples(0..10_000);
    for _ in 0..20 {
        let asked: Vec<_> = (0..4)
            .map(|_| {
                let gate = gate.clone();
                runtime.spawn(async move { gate.take_now(0, many()).await })
            })
            .collect();
        for asked in asked {
            let answer = runtime.block_on(asked).unwrap();
            let repeated = answer.as_ref().map(|taken| taken.repeated);
            assert!(
                matches!(answer, Err(Refusal::TooLarge(_))),
                "{repeated:?} samples are said to be repeated"
            );
        }
    }
    assert_eq!(gate.arrived(), 0);
}

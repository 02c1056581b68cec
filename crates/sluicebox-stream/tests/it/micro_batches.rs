//! The micro-batcher: several sources by weight, decisions written to the step journal and
//! replayed, late labels.

use sluicebox_core::controls::Controls;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Block;
use sluicebox_core::sample::{Dtype, Format, Label, Labelled, Samples, Shape, Values};
use sluicebox_core::state::{Section, Sections, Stateful};
use sluicebox_core::step::MicroBatch;
use sluicebox_stream::auth::Access;
use sluicebox_stream::ingest::IngestContext;
use sluicebox_stream::ingest::{Ingest, LABELS};
use sluicebox_stream::microbatch::batcher::{MicroBatcher, Next};
use sluicebox_stream::microbatch::late_labels::LateLabels;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::microbatch::plan::BatchPlan;
use sluicebox_stream::source::api::{HeldOut, ReadProgress, Source};
use sluicebox_stream::source::logged::Logged;
use sluicebox_stream::wal::settings::LogSettings;
use sluicebox_stream::wal::{Expected, SavedEnds, Wal};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

fn format() -> Format {
    let classes = ["a", "b", "c"].map(String::from).into();
    Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes }
}

/// Counts up; has samples up to `there` so far, and ends at `end`.
struct Counting {
    format: Format,
    next: u64,
    there: Rc<Cell<u64>>,
    end: u64,
}

impl Source for Counting {
    fn format(&self) -> &Format {
        &self.format
    }
    fn labelled(&mut self) -> Result<Labelled> {
        Ok(Labelled { values: Values::F32(vec![0.0, 0.0]), classes: vec![2] })
    }
    fn held_out(&self, _limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        Ok(None)
    }
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let Values::F32(values) = &mut samples.values else { panic!() };
        for _ in 0..count {
            if self.next == self.end {
                return Ok(ReadProgress::End);
            }
            if self.next == self.there.get() {
                return Ok(ReadProgress::NotYet);
            }
            values.extend([self.next as f32; 2]);
            samples.ids.push(self.next);
            samples.truth.push(Some((self.next % 3) as usize));
            self.next += 1;
        }
        Ok(ReadProgress::Full)
    }
}

impl Stateful for Counting {
    fn save(&self) -> Result<Vec<u8>> {
        Ok(self.next.to_le_bytes().to_vec())
    }
    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.next = u64::from_le_bytes(state.try_into().map_err(Error::request)?);
        Ok(())
    }
}

fn counting(there: u64, end: u64) -> (Box<dyn Source>, Rc<Cell<u64>>) {
    let there = Rc::new(Cell::new(there));
    (Box::new(Counting { format: format(), next: 0, there: there.clone(), end }), there)
}

fn schedule(batch: usize, max_wait_ms: u64) -> BatchPlan {
    let max_wait = Duration::from_millis(max_wait_ms);
    BatchPlan {
        batch,
        max_wait,
        epoch_steps: 4,
        epoch_time: None,
        stop_step: None,
        stop_samples: None,
        checkpoint_steps: Some(1),
        checkpoint_epochs: false,
        phases: None,
    }
}

fn feed(sources: Vec<(Box<dyn Source>, f64)>, schedule: BatchPlan, rate: f64) -> MicroBatcher {
    let labels = LateLabels::new(rate, 10, Randomness::new(0, 0));
    MicroBatcher::new(Mix::new(sources).unwrap(), labels, schedule, Controls::default(), None, None).unwrap()
}

/// Waits for the next micro-batch and returns it.
pub fn next(feed: &mut MicroBatcher) -> Option<MicroBatch> {
    let began = Instant::now();
    loop {
        match feed.cut_next().unwrap() {
            Next::MicroBatch(chunk) => return Some(*chunk),
            Next::Over => return None,
            Next::Wait(wait) => std::thread::sleep(wait),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nothing comes");
    }
}

#[test]
fn each_source_gives_its_share_of_every_step() {
    let sources = vec![(counting(1000, 1000).0, 3.0), (counting(1000, 1000).0, 1.0), (counting(9, 9).0, 0.0)];
    let mut feed = feed(sources, schedule(10, 1000), 0.0);
    let (mut sums, mut labelled) = ([0, 0, 0], 0);
    for _ in 0..20 {
        let chunk = next(&mut feed).unwrap();
        labelled += chunk.labelled.map_or(0, |labelled| labelled.len());
        assert_eq!(chunk.info.ids.len(), 10);
        for (sum, taken) in sums.iter_mut().zip(&chunk.info.notes.taken) {
            assert!([7, 8, 2, 3, 0].contains(taken));
            *sum += taken;
        }
    }
    assert_eq!(sums, [150, 50, 0]);
    assert_eq!(labelled, 3, "labelled samples come from all sources, also from those of weight 0");
}

#[test]
fn ids_stay_apart_and_what_one_cannot_give_the_others_do() {
    let (slow, there) = counting(3, 30);
    let mut feed = feed(vec![(slow, 1.0), (counting(1000, 40).0, 1.0)], schedule(10, 1000), 0.0);
    let mut ids = Vec::new();
    let mut take = |feed: &mut MicroBatcher| {
        let chunk = next(feed)?;
        ids.extend(chunk.info.ids.iter().copied());
        Some(chunk.info.notes.taken)
    };
    assert_eq!(take(&mut feed).unwrap(), [3, 7]);
    assert_eq!(take(&mut feed).unwrap(), [0, 10]);
    there.set(1000);
    assert_eq!(take(&mut feed).unwrap(), [5, 5]);
    let mut rest = [0, 0];
    while let Some(taken) = take(&mut feed) {
        taken.iter().zip(&mut rest).for_each(|(taken, sum)| *sum += taken);
    }
    assert_eq!(rest, [22, 18]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 70);
}

#[test]
fn a_job_stops_after_so_many_samples() {
    let mut feed = feed(
        vec![(counting(1000, 1000).0, 1.0)],
        BatchPlan { stop_samples: Some(25), ..schedule(10, 1000) },
        0.0,
    );
    let sizes: Vec<(usize, bool)> = std::iter::from_fn(|| next(&mut feed))
        .map(|chunk| (chunk.info.ids.len(), chunk.info.ends_epoch))
        .collect();
    assert_eq!(sizes, [(10, false), (10, false), (5, true)]);
}

#[test]
fn simulated_labels_come_after_their_delay_and_once() {
    let mut feed = feed(vec![(counting(1000, 1000).0, 1.0)], schedule(7, 1000), 0.3);
    let mut labels = Vec::new();
    for _ in 0..100 {
        let chunk = next(&mut feed).unwrap();
        for label in &chunk.info.labels {
            assert!(label.id + 10 < chunk.info.notes.position, "too early");
            assert!(label.id + 10 + 7 >= chunk.info.notes.position, "too late");
            assert_eq!(label.class, Some((label.id % 3) as u32));
        }
        labels.extend(chunk.info.labels.iter().map(|label| label.id));
    }
    assert!((160..260).contains(&labels.len()), "{} of 700", labels.len());
    let count = labels.len();
    labels.dedup();
    assert_eq!(labels.len(), count);
}

/// Opens a write-ahead log with an ingest gate, in a folder.
pub fn live(folder: &Path, runtime: &Runtime) -> IngestContext {
    live_of(folder, runtime, format())
}

/// The same for samples of a format.
pub fn live_of(folder: &Path, runtime: &Runtime, format: Format) -> IngestContext {
    let log = Wal::open(folder, "test", &LogSettings::default()).unwrap();
    IngestContext {
        ingest: Arc::new(Ingest::new(log, format, 1).unwrap()),
        runtime: runtime.handle().clone(),
        access: Arc::new(Access::default()),
    }
}

pub fn live_feed(live: &IngestContext, resumed: Option<(u64, &Sections)>) -> MicroBatcher {
    let source = Logged::new(format(), Box::new(|_, _| Ok(())));
    let sources = Mix::new(vec![(Box::new(source), 1.0)]).unwrap();
    let labels = LateLabels::new(0.0, 0, Randomness::new(0, 0));
    MicroBatcher::new(sources, labels, schedule(10, 5), Controls::default(), Some(live), resumed).unwrap()
}

pub fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    range.flat_map(|value| [(value as f32).to_le_bytes(); 2].concat()).collect()
}

/// Returns the content of a step.
fn content(chunk: &MicroBatch) -> (Vec<u64>, Values, Vec<Label>, u64) {
    let info = &chunk.info;
    (info.ids.clone(), chunk.values.clone(), info.labels.clone(), info.notes.cut_ms)
}

#[test]
fn a_restart_cuts_as_was_cut_before() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    let mut feed = live_feed(&outside, None);
    let mut before = Vec::new();
    let mut snapshots = Vec::new();
    let mut sent = 0;
    for round in 0..12u64 {
        // Whole batches and fractions of them, with labels in between.
        let count = [10, 3, 14][round as usize % 3];
        let ids = if round % 2 == 0 { (sent..sent + count).collect() } else { Vec::new() };
        let block = Block { ids, bytes: bytes(sent..sent + count), ..Block::default() };
        runtime.block_on(outside.ingest.take(0, block, None)).unwrap();
        sent += count;
        let label = Label { id: round, class: Some(round as u32 % 3) };
        runtime.block_on(outside.ingest.label(&[label])).unwrap();
        let mut got = before.iter().map(|(ids, ..): &(Vec<u64>, _, _, _)| ids.len()).sum::<usize>();
        while (got as u64) < sent {
            let chunk = next(&mut feed).unwrap();
            got += chunk.info.ids.len();
            before.push(content(&chunk));
            let snapshot = chunk.info.snapshot.unwrap();
            snapshots.push((snapshot.step, snapshot.sections));
        }
    }
    assert!(before.iter().any(|(ids, ..)| ids.len() < 10) && before.iter().any(|(ids, ..)| ids.len() == 10));
    let labelled: Vec<u64> =
        before.iter().flat_map(|(_, _, labels, _)| labels).map(|label| label.id).collect();
    assert_eq!(labelled, (0..12).collect::<Vec<u64>>());
    drop(feed);
    outside.ingest.log().close();
    drop(outside);

    // Replay from the beginning, and from every snapshot, gives the same steps.
    let outside = live(folder.path(), &runtime);
    let steps = before.len();
    let mut again = live_feed(&outside, None);
    let replayed: Vec<_> = (0..steps).map(|_| content(&next(&mut again).unwrap())).collect();
    assert_eq!(replayed, before);
    for (step, sections) in &snapshots[..steps - 1] {
        let mut resumed = live_feed(&outside, Some((*step, sections)));
        let rest: Vec<_> = (*step as usize..steps).map(|_| content(&next(&mut resumed).unwrap())).collect();
        assert_eq!(rest, before[*step as usize..]);
    }
    // Then it continues with new samples.
    let block = Block { bytes: bytes(sent..sent + 10), ..Block::default() };
    let taken = runtime.block_on(outside.ingest.take(0, block, None)).unwrap();
    assert_eq!(content(&next(&mut again).unwrap()).0, taken.ids);
}

#[test]
fn what_was_trained_is_known_also_where_the_log_was_trimmed_or_lost() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let open = |name: &str, resumed: Option<(&[u8], SavedEnds)>| {
        // Segments of 16 KiB: two records of samples fill one.
        let settings = LogSettings { max_bytes: 256 << 10, ..LogSettings::default() };
        let saved = resumed.map(|(_, ends)| ends);
        let expected = Expected { saved, ..Expected::default() };
        let log = Wal::open_expecting(&folder.path().join(name), "test", &settings, expected).unwrap();
        let ingest = match resumed {
            Some((section, ends)) => Ingest::resume(log, format(), 1, section, ends.needed),
            None => Ingest::new(log, format(), 1),
        };
        IngestContext {
            ingest: Arc::new(ingest.unwrap()),
            runtime: runtime.handle().clone(),
            access: Arc::new(Access::default()),
        }
    };
    let block = |range: std::ops::Range<u64>| Block {
        ids: range.clone().collect(),
        bytes: bytes(range),
        ..Block::default()
    };
    let take = |live: &IngestContext, block, mark| runtime.block_on(live.ingest.take(0, block, mark));
    let mark = |count: u64| Some((b"client/0/x".to_vec(), count.to_le_bytes().to_vec()));

    let outside = open("log", None);
    let mut feed = live_feed(&outside, None);
    let mut snapshot = None;
    for block_at in 0..8 {
        let first = block_at * 600;
        take(&outside, block(first..first + 600), mark(first + 600)).unwrap();
        for _ in 0..60 {
            snapshot = next(&mut feed).unwrap().info.snapshot.or(snapshot);
        }
    }
    let snapshot = *snapshot.unwrap();
    take(&outside, block(4800..4900), mark(4900)).unwrap();
    let log = outside.ingest.log();
    assert!(snapshot.log_end.unwrap() < log.durable());
    log.trim(snapshot.log_position.unwrap()).unwrap();
    runtime.block_on(log.append_now(Vec::new()).unwrap().durable()).unwrap();
    let mut kept = log.reader(0, 0);
    let first = kept.read().unwrap().unwrap();
    assert!(sluicebox_stream::ingest::block(&first.1).unwrap().ids[0] > 2000, "little was trimmed");
    log.close();
    drop((feed, outside, kept));

    let section = snapshot.sections.get(Section::Ingest).unwrap();
    let ends = SavedEnds { needed: snapshot.log_position.unwrap(), end: snapshot.log_end.unwrap() };
    let reused = |live: &IngestContext| {
        let other =
            take(live, Block { ids: vec![5], bytes: bytes(6..7), ..Block::default() }, None).unwrap_err();
        assert!(other.to_string().contains("id 5 was used before"), "{other}");
    };
    // Trimmed: all that was acknowledged is known.
    let outside = open("log", Some((section, ends)));
    assert_eq!(take(&outside, block(0..4910), None).unwrap().repeated, 4900);
    reused(&outside);
    let mut feed = live_feed(&outside, Some((snapshot.step, &snapshot.sections)));
    let rest: Vec<u64> = (0..11).flat_map(|_| next(&mut feed).unwrap().info.ids).collect();
    assert_eq!(rest, (4800..4910).collect::<Vec<u64>>());
    outside.ingest.log().close();
    // Lost: what was trained on is known, the rest can be sent again; so can feeders go on.
    let outside = open("other", Some((section, ends)));
    let progress = outside.ingest.log().mark(b"client/0/x").unwrap().unwrap();
    assert_eq!(progress, 4800u64.to_le_bytes());
    let mut feed = live_feed(&outside, Some((snapshot.step, &snapshot.sections)));
    assert_eq!(take(&outside, block(0..4910), None).unwrap().repeated, 4800);
    reused(&outside);
    let rest: Vec<u64> = (0..11).flat_map(|_| next(&mut feed).unwrap().info.ids).collect();
    assert_eq!(rest, (4800..4910).collect::<Vec<u64>>());
}

#[test]
fn what_is_sent_twice_is_taken_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    let block = |range: std::ops::Range<u64>| Block {
        ids: range.clone().collect(),
        bytes: bytes(range),
        ..Block::default()
    };
    let take = |live: &IngestContext, block| runtime.block_on(live.ingest.take(0, block, None));
    assert_eq!(take(&outside, block(0..5)).unwrap().repeated, 0);
    assert_eq!(take(&outside, block(3..8)).unwrap().repeated, 2);
    outside.ingest.log().close();
    drop(outside);
    let outside = live(folder.path(), &runtime);
    assert_eq!(take(&outside, block(6..9)).unwrap().repeated, 2);
    let other = Block { ids: vec![9, 2], bytes: bytes(9..11), ..Block::default() };
    let refused = take(&outside, other).unwrap_err();
    assert!(refused.to_string().contains("id 2 was used before"), "{refused}");
    // Nothing of a refused request was taken.
    assert_eq!(take(&outside, block(9..10)).unwrap().repeated, 0);
    let mut feed = live_feed(&outside, None);
    assert_eq!(next(&mut feed).unwrap().info.ids, (0..10).collect::<Vec<u64>>());

    let bad = |ids: Vec<u64>, bytes: Vec<u8>| {
        take(&outside, Block { ids, bytes, ..Block::default() }).unwrap_err().to_string()
    };
    assert!(bad(vec![], vec![0; 9]).contains("9 bytes are not a whole number"));
    assert!(bad(vec![1], bytes(1..3)).contains("1 ids for 2 samples"));
    assert!(bad(vec![1 << 52], bytes(1..2)).contains("is not for feeders to choose"));
    assert!(bad(vec![1 << 63], bytes(1..2)).contains("the id of sample 0 has no name"));
    let nan = [1.0f32, 1.0, 1.0, f32::NAN].map(f32::to_le_bytes).concat();
    assert!(bad(vec![], nan).contains("sample 1 is not a finite number"));
    let unknown = runtime.block_on(outside.ingest.label(&[Label { id: 1, class: Some(3) }])).unwrap_err();
    assert!(unknown.to_string().contains("class 3 of id 1 is not from 0 to 2"), "{unknown}");
    assert_eq!(outside.ingest.refused()["bad"], 5);
    let none = outside.ingest.log().reader(LABELS, 0).read().unwrap();
    assert!(none.is_none(), "a refused label is not written");
}

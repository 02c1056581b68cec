//! A stream that waits: labels take effect without samples, do not fill the log for ever, and a log that
//! has failed is noticed.

use sluicebox_core::controls::Controls;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::{Block, Dtype, Format, Label, Samples, Shape};
use sluicebox_core::state::{Sections, Stateful};
use sluicebox_core::step::MicroBatch;
use sluicebox_stream::auth::Access;
use sluicebox_stream::ingest::{Ingest, IngestContext, Refusal};
use sluicebox_stream::microbatch::batcher::{MicroBatcher, Next};
use sluicebox_stream::microbatch::late_labels::LateLabels;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::microbatch::plan::BatchPlan;
use sluicebox_stream::source::api::{ReadProgress, Source};
use sluicebox_stream::source::logged::Logged;
use sluicebox_stream::wal::Wal;
use sluicebox_stream::wal::settings::LogSettings;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const MAX_BYTES: u64 = 1 << 20;

fn format() -> Format {
    let classes = ["a", "b", "c"].map(String::from).into();
    Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn live(folder: &Path, runtime: &Runtime) -> IngestContext {
    let settings = LogSettings { max_bytes: MAX_BYTES, ..LogSettings::default() };
    let log = Wal::open(folder, "test", &settings).unwrap();
    IngestContext {
        ingest: Arc::new(Ingest::new(log, format(), 1).unwrap()),
        runtime: runtime.handle().clone(),
        access: Arc::new(Access::default()),
    }
}

fn batcher(live: &IngestContext, controls: &Controls, resumed: Option<(u64, &Sections)>) -> MicroBatcher {
    batcher_of(live, controls, resumed, None)
}

fn batcher_of(
    live: &IngestContext,
    controls: &Controls,
    resumed: Option<(u64, &Sections)>,
    epoch_time: Option<Duration>,
) -> MicroBatcher {
    let source = Logged::new(format(), Box::new(|_, _| Ok(())));
    let plan = BatchPlan {
        batch: 10,
        max_wait: Duration::from_millis(5),
        epoch_steps: 1000,
        epoch_time,
        stop_step: None,
        stop_samples: None,
        checkpoint_steps: None,
        checkpoint_epochs: false,
        phases: None,
    };
    let sources = Mix::new(vec![(Box::new(source), 1.0)]).unwrap();
    let labels = LateLabels::new(0.0, 0, Randomness::new(0, 0));
    MicroBatcher::new(sources, labels, plan, controls.clone(), Some(live), resumed).unwrap()
}

/// Returns the steps that are cut until none comes for `quiet`. Trims the log as a checkpoint would.
fn steps_until(batcher: &mut MicroBatcher, live: &IngestContext, quiet: Duration) -> Vec<MicroBatch> {
    let (mut steps, mut since, mut waits) = (Vec::new(), Instant::now(), 0);
    // On a busy machine time may pass without a look.
    while since.elapsed() < quiet || waits < 100 {
        waits += 1;
        match batcher.cut_next().unwrap() {
            Next::MicroBatch(batch) => {
                let position = batch.info.snapshot.as_ref().and_then(|snapshot| snapshot.log_position);
                position.iter().for_each(|position| live.ingest.log().trim(*position).unwrap());
                steps.push(*batch);
                (since, waits) = (Instant::now(), 0);
            }
            Next::Over => break,
            Next::Wait(wait) => std::thread::sleep(wait),
        }
    }
    steps
}

const QUIET: Duration = Duration::from_millis(500);

fn samples(range: std::ops::Range<u64>) -> Block {
    let bytes = range.clone().flat_map(|value| [(value as f32).to_le_bytes(); 2].concat()).collect();
    Block { ids: range.collect(), bytes, ..Block::default() }
}

fn label(id: u64) -> Label {
    Label { id, class: Some(id as u32 % 3) }
}

#[test]
fn a_label_on_an_idle_stream_is_a_step_and_a_restart_cuts_it_again() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let outside = live(folder.path(), &runtime);
    let mut first = batcher(&outside, &Controls::default(), None);
    runtime.block_on(outside.ingest.take(0, samples(0..10), None)).unwrap();
    let mut before = steps_until(&mut first, &outside, QUIET);
    assert_eq!(before.len(), 1);
    // Two labels at a time and one later; between them there is nothing else.
    runtime.block_on(outside.ingest.label(&[label(3), label(4)])).unwrap();
    before.extend(steps_until(&mut first, &outside, QUIET));
    runtime.block_on(outside.ingest.label(&[label(5)])).unwrap();
    before.extend(steps_until(&mut first, &outside, QUIET));
    let content = |steps: &[MicroBatch]| -> Vec<(u64, Vec<u64>, Vec<Label>)> {
        steps.iter().map(|step| (step.info.step, step.info.ids.clone(), step.info.labels.clone())).collect()
    };
    let expected = vec![
        (0, (0..10).collect::<Vec<u64>>(), vec![]),
        (1, vec![], vec![label(3), label(4)]),
        (2, vec![], vec![label(5)]),
    ];
    assert_eq!(content(&before), expected);
    drop(first);
    outside.ingest.log().close();
    drop(outside);

    let outside = live(folder.path(), &runtime);
    let mut again = batcher(&outside, &Controls::default(), None);
    assert_eq!(content(&steps_until(&mut again, &outside, QUIET)), expected);
}

#[test]
fn an_epoch_ends_by_time_also_where_the_stream_waits_and_a_restart_ends_it_there_again() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let outside = live(folder.path(), &runtime);
    let time = Some(Duration::from_millis(50));
    let cut = |live: &IngestContext, resumed, time| batcher_of(live, &Controls::default(), resumed, time);
    let mut first = cut(&outside, None, time);
    let mut before = Vec::new();
    for from in [0, 10] {
        runtime.block_on(outside.ingest.take(0, samples(from..from + 10), None)).unwrap();
        before.extend(steps_until(&mut first, &outside, QUIET));
    }
    let content = |steps: &[MicroBatch]| -> Vec<(u64, usize, bool)> {
        steps.iter().map(|step| (step.info.step, step.info.ids.len(), step.info.ends_epoch)).collect()
    };
    // A step, and an empty one that ends the epoch; no further epoch begins until there is a sample.
    let expected = [(0, 10, false), (1, 0, true), (2, 10, false), (3, 0, true)];
    assert_eq!(content(&before), expected);
    drop(first);
    outside.ingest.log().close();
    drop(outside);

    // What was decided is followed, however long an epoch may take now; after that it is decided anew.
    let outside = live(folder.path(), &runtime);
    let mut again = cut(&outside, None, Some(Duration::from_secs(3600)));
    assert_eq!(content(&steps_until(&mut again, &outside, QUIET)), expected);
    runtime.block_on(outside.ingest.take(0, samples(20..30), None)).unwrap();
    assert_eq!(content(&steps_until(&mut again, &outside, QUIET)), [(4, 10, false)]);
}

#[test]
fn an_epoch_that_a_checkpoint_was_within_ends_after_as_many_steps() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (outside, controls) = (live(folder.path(), &runtime), Controls::default());
    let mut first = batcher_of(&outside, &controls, None, Some(Duration::from_millis(50)));
    runtime.block_on(outside.ingest.take(0, samples(0..10), None)).unwrap();
    assert_eq!(steps_until(&mut first, &outside, QUIET).len(), 2);
    controls.ask_for_checkpoint();
    let snapshot = loop {
        if let Next::MicroBatch(step) = first.cut_next().unwrap() {
            break step.info.snapshot.unwrap();
        }
    };
    drop(first);
    let resumed = Some((snapshot.step, &snapshot.sections));
    let hour = Some(Duration::from_secs(3600));
    let mut resumed = batcher_of(&outside, &Controls::default(), resumed, hour);
    runtime.block_on(outside.ingest.take(0, samples(10..10_100), None)).unwrap();
    let steps = steps_until(&mut resumed, &outside, QUIET);
    let end = steps.iter().find(|step| step.info.ends_epoch).unwrap();
    assert_eq!(end.info.step, 1001); // the second epoch began with step 2
}

#[test]
fn a_checkpoint_that_is_asked_for_needs_no_sample() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (outside, controls) = (live(folder.path(), &runtime), Controls::default());
    let mut batcher = batcher(&outside, &controls, None);
    assert_eq!(steps_until(&mut batcher, &outside, QUIET).len(), 0);
    controls.ask_for_checkpoint();
    let steps = steps_until(&mut batcher, &outside, QUIET);
    assert_eq!(steps.len(), 1);
    assert!(steps[0].info.is_empty() && steps[0].info.snapshot.is_some() && !steps[0].info.barrier);
}

/// Sends labels until the log takes no more of them, from several feeders at once; returns how many it took.
fn flood(outside: &IngestContext, runtime: &Runtime, at_once: u64) -> u64 {
    let flooders: Vec<_> = (0..4u64)
        .map(|feeder| {
            let ingest = outside.ingest.clone();
            runtime.spawn(async move {
                let mut taken = 0;
                loop {
                    let ids = feeder << 32 | taken..;
                    let labels: Vec<Label> = ids.take(at_once as usize).map(label).collect();
                    match ingest.label(&labels).await {
                        Ok(count) => taken += count as u64,
                        Err(Refusal::Full) => return taken,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    flooders.into_iter().map(|flooder| runtime.block_on(flooder).unwrap()).sum()
}

#[test]
fn labels_fill_a_paused_log_to_its_bound_and_it_frees_itself() {
    for at_once in [1, 500] {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let mut outside = live(folder.path(), &runtime);
        let controls = Controls::default();
        controls.pause(true).unwrap();
        let mut cutting = batcher(&outside, &controls, None);
        let sent = flood(&outside, &runtime, at_once);
        let bytes = outside.ingest.log().fill().bytes;
        let bound = MAX_BYTES + MAX_BYTES / 2;
        assert!((bound - 20_000..=bound).contains(&bytes), "{bytes} of {bound}");
        assert!(outside.ingest.refused()["full"] >= 4);
        assert!(matches!(runtime.block_on(outside.ingest.take_now(0, samples(0..1))), Err(Refusal::Full)));
        assert_eq!(steps_until(&mut cutting, &outside, QUIET).len(), 0, "a paused job cuts nothing");
        if at_once == 1 {
            // The log is over its maximum size after a restart too.
            drop(cutting);
            outside.ingest.log().close();
            drop(outside);
            outside = live(folder.path(), &runtime);
            cutting = batcher(&outside, &controls, None);
            assert!(matches!(runtime.block_on(outside.ingest.label(&[label(0)])), Err(Refusal::Full)));
        }
        controls.pause(false).unwrap();
        let steps = steps_until(&mut cutting, &outside, QUIET);
        assert_eq!(steps.iter().map(|step| step.info.labels.len() as u64).sum::<u64>(), sent);
        assert!(steps.iter().any(|step| step.info.snapshot.is_some()), "a checkpoint frees the log");
        runtime.block_on(outside.ingest.log().append_now(Vec::new()).unwrap().durable()).unwrap();
        let left = outside.ingest.log().fill().bytes;
        assert!(left < MAX_BYTES / 2, "{left} are left");
        runtime.block_on(outside.ingest.take_now(0, samples(0..10))).unwrap();
        runtime.block_on(outside.ingest.label(&[label(7)])).unwrap();
        let steps = steps_until(&mut cutting, &outside, QUIET);
        let ids: Vec<u64> = steps.iter().flat_map(|step| step.info.ids.clone()).collect();
        assert_eq!(ids, (0..10).collect::<Vec<u64>>());
    }
}

#[test]
fn more_labels_at_once_than_the_log_ever_takes_are_refused_for_good() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let outside = live(folder.path(), &runtime);
    let many: Vec<Label> = (0..40_000).map(label).collect();
    let refused = runtime.block_on(outside.ingest.label(&many)).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge(_)), "{refused}");
    assert!(refused.to_string().contains("send less at a time"), "{refused}");
    // Room that is not used is given back.
    for _ in 0..1000 {
        drop(outside.ingest.room_for_labels(10_000).unwrap());
    }
    runtime.block_on(outside.ingest.label(&many[..10_000])).unwrap();
}

#[test]
fn a_part_that_fails_ends_a_stream_that_waits() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let outside = live(folder.path(), &runtime);
    for paused in [false, true] {
        let controls = Controls::default();
        controls.pause(paused).unwrap();
        let mut batcher = batcher(&outside, &controls, None);
        assert!(matches!(batcher.cut_next().unwrap(), Next::Wait(_)));
        controls.health.fail("the listener has failed");
        let failed = batcher.cut_next().err().unwrap().to_string();
        assert_eq!(failed, "the listener has failed");
    }
}

#[test]
fn a_snapshot_of_an_empty_step_resumes() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let (outside, controls) = (live(folder.path(), &runtime), Controls::default());
    let mut first = batcher(&outside, &controls, None);
    runtime.block_on(outside.ingest.label(&[label(1)])).unwrap();
    controls.ask_for_checkpoint();
    let steps = steps_until(&mut first, &outside, QUIET);
    let snapshot = steps.iter().rev().find_map(|step| step.info.snapshot.as_ref()).unwrap();
    runtime.block_on(outside.ingest.label(&[label(2)])).unwrap();
    let mut resumed = batcher(&outside, &Controls::default(), Some((snapshot.step, &snapshot.sections)));
    let later: Vec<Label> =
        steps_until(&mut resumed, &outside, QUIET).into_iter().flat_map(|step| step.info.labels).collect();
    let before = steps.iter().take_while(|step| step.info.step < snapshot.step);
    let mut all: Vec<Label> = before.flat_map(|step| step.info.labels.clone()).collect();
    all.extend(later);
    assert_eq!(all, [label(1), label(2)]);
}

#[test]
fn a_silent_stream_needs_nothing_of_what_others_wrote() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let outside = live(folder.path(), &runtime);
    let source = || Logged::new(format(), Box::new(|_, _| Ok(())));
    let mut silent = source();
    silent.open(&outside, 0).unwrap();
    runtime.block_on(outside.ingest.take(0, samples(0..4), None)).unwrap();
    let mut read = Samples::none(Dtype::F32);
    assert_eq!(silent.read(4, &mut read).unwrap(), ReadProgress::Full);
    runtime.block_on(outside.ingest.label(&[label(1)])).unwrap();
    assert_eq!(silent.read(4, &mut read).unwrap(), ReadProgress::NotYet);
    let needed = silent.log_position();
    assert_eq!(needed, Some(outside.ingest.log().durable()));
    // A job that ends before its first step says the same: the log may have been trimmed up to there.
    let mut again = source();
    again.load(&silent.save().unwrap()).unwrap();
    assert_eq!(again.log_position(), needed);
}

//! Labels that come with samples: they are one record with them, and count in the step of their sample.

use crate::micro_batches::{bytes, live, live_feed, next};
use sluicebox_core::sample::{Block, Label, SampleClass};
use sluicebox_core::sample_id::GIVEN_IDS;
use sluicebox_core::step::MicroBatch;
use sluicebox_stream::ingest::{IngestContext, Taken};
use sluicebox_stream::wal::Entry;
use tokio::runtime::Runtime;

/// Returns samples `range`, of which every third has a label; with ids, if `named`.
fn block(range: std::ops::Range<u64>, named: bool) -> Block {
    let class = |(at, number): (u32, u64)| {
        number.is_multiple_of(3).then_some(SampleClass { at, class: number as u32 % 2 })
    };
    Block {
        ids: if named { range.clone().collect() } else { Vec::new() },
        classes: (0..).zip(range.clone()).filter_map(class).collect(),
        bytes: bytes(range),
        ..Block::default()
    }
}

fn take(runtime: &Runtime, live: &IngestContext, block: Block) -> Result<Taken, String> {
    runtime.block_on(live.ingest.take(0, block, None)).map_err(|refusal| refusal.to_string())
}

fn told(step: &MicroBatch) -> (Vec<u64>, Vec<Label>, Vec<Label>) {
    (step.info.ids.clone(), step.info.sample_labels.clone(), step.info.labels.clone())
}

#[test]
fn they_count_in_the_step_of_their_sample_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    let mut feed = live_feed(&outside, None);
    // Records end within steps of 10, and steps within records; some samples get their id from the job.
    let given = take(&runtime, &outside, block(0..13, false)).unwrap().ids;
    assert_eq!(given[0], GIVEN_IDS);
    take(&runtime, &outside, block(13..40, true)).unwrap();
    let steps: Vec<MicroBatch> = (0..4).map(|_| next(&mut feed).unwrap()).collect();
    let ids: Vec<u64> = given.iter().copied().chain(13..40).collect();
    for (at, step) in steps.iter().enumerate() {
        let numbers = 10 * at as u64..10 * (at as u64 + 1);
        assert_eq!(step.info.ids, ids[10 * at..10 * at + 10]);
        let labelled = numbers.filter(|number| number.is_multiple_of(3));
        let label = |number: u64| Label { id: ids[number as usize], class: Some(number as u32 % 2) };
        assert_eq!(step.info.sample_labels, labelled.map(label).collect::<Vec<Label>>());
        assert!(step.info.labels.is_empty());
    }
    drop(feed);
    outside.ingest.log().close();
    drop(outside);
    let outside = live(folder.path(), &runtime);
    let mut again = live_feed(&outside, None);
    let replayed: Vec<_> = (0..4).map(|_| told(&next(&mut again).unwrap())).collect();
    assert_eq!(replayed, steps.iter().map(told).collect::<Vec<_>>());
    let snapshot = steps[1].info.snapshot.as_ref().unwrap();
    let mut resumed = live_feed(&outside, Some((snapshot.step, &snapshot.sections)));
    assert_eq!(told(&next(&mut resumed).unwrap()), told(&steps[2]));
}

#[test]
fn the_label_of_a_sample_that_is_known_comes_late_and_the_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    let mut feed = live_feed(&outside, None);
    take(&runtime, &outside, Block { classes: Vec::new(), ..block(0..10, true) }).unwrap();
    assert!(next(&mut feed).unwrap().info.sample_labels.is_empty());
    // 6 to 9 come again, now with their labels, among new samples.
    let taken = take(&runtime, &outside, block(6..16, true)).unwrap();
    assert_eq!(taken.repeated, 4);
    let step = next(&mut feed).unwrap();
    let label = |id: u64| Label { id, class: Some(id as u32 % 2) };
    assert_eq!(told(&step), ((10..16).collect(), [12, 15].map(label).into(), [6, 9].map(label).into()));
}

#[test]
fn labels_that_are_wrong_are_refused_with_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    let with = |classes: &[(u32, u32)]| Block {
        classes: classes.iter().map(|(at, class)| SampleClass { at: *at, class: *class }).collect(),
        ..block(0..3, true)
    };
    let refused = |classes| take(&runtime, &outside, with(classes)).unwrap_err();
    assert_eq!(refused(&[(0, 1), (2, 3)]), "class 3 of sample 2 is not from 0 to 2");
    for classes in [&[(3, 0)][..], &[(1, 0), (1, 0)], &[(2, 0), (1, 0)], &[(u32::MAX, 0)]] {
        assert!(refused(classes).contains("out of order, or there is no such sample among 3"));
    }
    let counts = outside.ingest.refused();
    assert_eq!((counts["unknown-class"], counts["bad"]), (1, 4));
    assert_eq!(take(&runtime, &outside, with(&[(2, 2)])).unwrap().repeated, 0, "nothing of it was taken");
}

#[test]
fn records_of_before_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let outside = live(folder.path(), &runtime);
    // Version, ids and bytes, each with their number.
    let ids: Vec<u8> = (0..10u64).flat_map(u64::to_le_bytes).collect();
    let bytes = bytes(0..10);
    let numbers = [10u64, bytes.len() as u64].map(u64::to_le_bytes);
    let payload = [&[1][..], &numbers[0], &ids, &numbers[1], &bytes].concat();
    let entry = Entry { stream: 0, payload, mark: None };
    runtime.block_on(outside.ingest.log().append(vec![entry])).unwrap();
    outside.ingest.log().close();
    drop(outside);
    let outside = live(folder.path(), &runtime);
    let mut feed = live_feed(&outside, None);
    assert_eq!(next(&mut feed).unwrap().info.ids, (0..10).collect::<Vec<u64>>());
    assert_eq!(take(&runtime, &outside, block(0..10, true)).unwrap().repeated, 10);
}

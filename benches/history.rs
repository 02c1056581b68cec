//! Claim: a history of a million epochs is bounded in size, costs well under a thousandth of an
//! epoch's time per epoch, and is opened and read in well under 0.1 s.
//!
//!     cargo bench --bench history [-- EPOCHS]

#![allow(missing_docs)]
mod allocator;

use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{
    About, Cell, ClassMeters, Confusion, JobMeters, Meters, Named, OperatorMeters, Report,
};
use sluicebox_observe::history::settings::History as HistorySettings;
use sluicebox_observe::history::{History, HistoryWriter};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const BATCH: u64 = 1000;
const CLASSES: u32 = 10;
const OPERATORS: usize = 13;

/// Returns meters with values that do not compress, all of them known.
fn filled<M: Meters>(epoch: u64) -> M {
    let mut numbers = M::default();
    for (at, meter) in M::METERS.iter().enumerate() {
        numbers.put(meter.name, Some((epoch as f64 + at as f64).sin().abs()));
    }
    numbers
}

fn report(epoch: u64) -> Event {
    let cells = (0..CLASSES * CLASSES).map(|at| Cell {
        truth: at / CLASSES,
        given: at % CLASSES,
        samples: epoch,
        accepted: 1,
    });
    let confusion = Confusion { of: "stream".into(), cells: cells.collect() };
    let class = |at: u32| Named { name: at.to_string(), meters: filled::<ClassMeters>(epoch) };
    let operator =
        |at: usize| Named { name: format!("operator-{at}"), meters: filled::<OperatorMeters>(epoch) };
    Event::Epoch(Arc::new(Report {
        epoch,
        ended_ms: 1_700_000_000_000 + epoch,
        job: filled::<JobMeters>(epoch),
        classes: (0..CLASSES).map(class).collect(),
        operators: (0..OPERATORS).map(operator).collect(),
        confusions: vec![confusion],
        ..Report::default()
    }))
}

/// Returns the milliseconds that `work` takes, median of nine.
fn ms<T>(work: impl Fn() -> T) -> f64 {
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    allocator::keep_freed_memory();
    let epochs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000u64);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let state = folder.path();
    let retention = HistorySettings::default();
    let open = || HistoryWriter::open(Some(state), &retention, &About::default()).expect("it opens");
    let mut history_writer = open();
    let start = Instant::now();
    for first in (1..=epochs).step_by(BATCH as usize) {
        let events: Vec<Event> = (first..(first + BATCH).min(epochs + 1)).map(report).collect();
        history_writer.notify(&events).expect("it is written");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{epochs} epochs in batches of {BATCH}   {:>9.0} epochs/s", epochs as f64 / seconds);
    let single: Vec<Event> = (epochs + 1..=epochs + 500).map(report).collect();
    let start = Instant::now();
    for event in &single {
        history_writer.notify(std::slice::from_ref(event)).expect("it is written");
    }
    println!("one by one   {:>9.0} µs an epoch", 1e6 * start.elapsed().as_secs_f64() / single.len() as f64);
    drop(history_writer);
    let bytes = std::fs::metadata(state.join("history.db")).expect("it is there").len();
    println!("the file   {:>9.1} MB", bytes as f64 / 1e6);
    println!("open to write   {:>9.2} ms", ms(|| drop(open())));

    let read = || History::read(state).expect("it opens");
    let last = epochs + 500;
    println!("open to read   {:>9.2} ms", ms(read));
    println!("open, and all in 1000 points   {:>9.2} ms", ms(|| read().series(1..=last, 1000)));
    let history = read();
    for points in [100, 1000, 10_000] {
        let found = history.series(1..=last, points).expect("it is read").len();
        println!("all in {points} ({found})   {:>9.2} ms", ms(|| history.series(1..=last, points)));
    }
    println!("the last 1000   {:>9.2} ms", ms(|| history.series(last - 999..=last, 1000)));
    println!("a report   {:>9.2} ms", ms(|| history.report(last)));
}

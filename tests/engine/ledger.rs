//! The ledger against a recount from scratch after every step; its memory and its restart; and a
//! job's results, which it leaves unchanged unless the method uses it.

use crate::alone::{Alone, Draws, row};
use crate::support::{small_job, weights_of};
use sluicebox::engine::flow::Ledger;
use sluicebox_core::report::CellCounts;
use sluicebox_core::report::ledger::{Disagreement, LabelCounts, LedgerReport, LedgerStats, Verdict};
use sluicebox_core::sample::Label;
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::{Section, Sections};
use sluicebox_core::step::{LedgerInput, Prediction};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const CLASSES: u64 = 3;

#[derive(Clone, Copy)]
struct Window {
    retain: u64,
    retain_ms: Option<u64>,
}

impl Window {
    fn ledger(&self, lag: u64) -> Ledger {
        Ledger::new(self.retain, self.retain_ms.map(Duration::from_millis), CLASSES as usize, lag)
    }
}

type Samples = HashMap<u64, (u64, u64, Prediction)>;
type Labels = HashMap<u64, (u64, u64, u32)>;

/// Returns the final content of the window, by going through all facts from the beginning.
fn scan(all: &[LedgerInput], window: Window) -> (Samples, Labels, LabelCounts) {
    let (mut samples, mut labels) = (Samples::new(), Labels::new());
    let mut counts = LabelCounts::default();
    for ledger_input in all {
        for label in &ledger_input.labels {
            let Some(class) = label.class else {
                counts.withdrawn += u64::from(labels.remove(&label.id).is_some());
                continue;
            };
            match labels.insert(label.id, (ledger_input.position, ledger_input.cut_ms, class)) {
                Some(_) => counts.corrected += 1,
                None => {
                    counts.given += 1;
                    counts.late += u64::from(samples.contains_key(&label.id));
                }
            }
        }
        for (row, position) in ledger_input.rows.iter().zip(ledger_input.position..) {
            samples.insert(row.id.key, (position, ledger_input.cut_ms, row.clone()));
        }
        let end = ledger_input.position + ledger_input.rows.len() as u64;
        let over = |position: u64, cut_ms: u64| {
            position + window.retain < end
                || window.retain_ms.is_some_and(|ms| cut_ms + ms < ledger_input.cut_ms)
        };
        let gone: Vec<u64> =
            samples.iter().filter(|(_, (at, ms, _))| over(*at, *ms)).map(|(id, _)| *id).collect();
        for id in gone {
            samples.remove(&id);
            labels.remove(&id);
        }
        let mut waiting: Vec<(u64, u64, u64)> = labels
            .iter()
            .filter(|(id, _)| !samples.contains_key(id))
            .map(|(id, (at, ms, _))| (*at, *ms, *id))
            .collect();
        waiting.sort();
        let surplus = waiting.len().saturating_sub(window.retain as usize);
        for (index, (at, ms, id)) in waiting.into_iter().enumerate() {
            if index < surplus || over(at, ms) {
                labels.remove(&id);
                counts.too_late += 1;
            }
        }
    }
    (samples, labels, counts)
}

/// Returns the samples with both a pseudo-label and a label: class, confidence and whether it is right.
fn met(samples: &Samples, labels: &Labels) -> BTreeMap<u64, (u32, u32, bool)> {
    let both = samples.iter().filter_map(|(id, (_, _, row))| Some((id, row, labels.get(id)?.2)));
    let confidence = |row: &Prediction| ((row.confidence * 65535.0).round() / 65535.0).to_bits();
    both.map(|(id, row, given)| (*id, (row.class, confidence(row), row.class == given))).collect()
}

/// Returns the samples that are new in `now` or changed since the step before.
fn newly_met(
    before: &BTreeMap<u64, (u32, u32, bool)>,
    now: &BTreeMap<u64, (u32, u32, bool)>,
) -> Vec<Verdict> {
    let mut found = Vec::new();
    for (id, present) in now.iter().filter(|(id, present)| before.get(id) != Some(present)) {
        let mut changes = vec![(*present, 1)];
        changes.extend(before.get(id).map(|earlier| (*earlier, -1)));
        changes.sort();
        found.extend(changes.into_iter().map(|((class, confidence, right), by)| Verdict {
            class,
            confidence: f32::from_bits(confidence),
            right,
            by,
        }));
    }
    found
}

/// Computes the ledger statistics by scanning all facts from the beginning.
fn recount(all: &[LedgerInput], window: Window) -> (LedgerStats, LedgerReport) {
    let (samples, labels, counts) = scan(all, window);
    let (before, earlier, _) = scan(&all[..all.len() - 1], window);
    let mut ledger_stats = LedgerStats { labels: counts, ..LedgerStats::new(CLASSES as usize) };
    ledger_stats.newly_met = newly_met(&met(&before, &earlier), &met(&samples, &labels));
    ledger_stats.step = all.last().unwrap().step;
    let mut confusion: BTreeMap<(u32, u32), CellCounts> = BTreeMap::new();
    let mut disagreements = BTreeMap::new();
    for (id, (position, _, row)) in &samples {
        ledger_stats.judged[row.class as usize] += 1;
        let Some((came, ms, given)) = labels.get(id) else {
            ledger_stats.pseudo[row.class as usize] += u64::from(row.accepted);
            ledger_stats.confident[row.class as usize] += u64::from(row.confident);
            continue;
        };
        ledger_stats.met += 1;
        ledger_stats.right += u64::from(row.class == *given);
        ledger_stats.accepted_met += u64::from(row.accepted);
        ledger_stats.accepted_right += u64::from(row.accepted && row.class == *given);
        ledger_stats.delays[LedgerStats::bucket(came.saturating_sub(*position))] += 1;
        let cell = confusion.entry((*given, row.class)).or_default();
        cell.samples += 1;
        cell.accepted += u64::from(row.accepted);
        if row.class != *given {
            let confidence = (row.confidence * 65535.0).round() / 65535.0;
            let accepted = row.accepted;
            let found = Disagreement {
                id: SampleId::of_key(*id),
                judged: row.class,
                confidence,
                given: *given,
                accepted,
            };
            disagreements.insert((*came, *ms, *id), found);
        }
    }
    labels.values().for_each(|(_, _, given)| ledger_stats.given[*given as usize] += 1);
    let report = LedgerReport {
        ledger_stats: ledger_stats.clone(),
        confusion,
        disagreements: disagreements.len() as u64,
        newest: disagreements.into_values().rev().take(16).collect(),
        state: None,
    };
    (ledger_stats, report)
}

/// Returns steps of 0 to 7 samples, some of which are repeated, with labels for earlier samples,
/// later ones, ones that left the window long ago and ones that never come; some labels are
/// corrected, some withdrawn.
fn random_steps(count: u64, seed: u64) -> Vec<LedgerInput> {
    let mut draws = Draws(seed);
    let (mut position, mut cut_ms) = (0u64, 1000);
    let step = |step| {
        let labels = (0..draws.below(5)).map(|_| {
            let id = (position + 10).saturating_sub(draws.below(50));
            let class = (draws.below(4) > 0).then(|| draws.below(CLASSES) as u32);
            Label { id, class }
        });
        let labels = labels.collect();
        let rows: Vec<Prediction> = (0..draws.below(8))
            .map(|at| {
                let again = draws.below(10) == 0;
                let id = if again { position.saturating_sub(draws.below(30)) } else { position + at };
                row(id, draws.below(CLASSES) as u32, &mut draws)
            })
            .collect();
        let ledger_input = LedgerInput {
            step,
            position,
            cut_ms,
            labels,
            rows,
            ends_epoch: step % 7 == 6,
            ..LedgerInput::default()
        };
        position += ledger_input.rows.len() as u64;
        cut_ms += draws.below(100);
        ledger_input
    };
    (0..count).map(step).collect()
}

fn same(report: &LedgerReport, expected: &LedgerReport) {
    assert_eq!(report.ledger_stats, expected.ledger_stats);
    assert_eq!(report.confusion, expected.confusion);
    assert_eq!((report.disagreements, &report.newest), (expected.disagreements, &expected.newest));
}

/// Returns the sections of a checkpoint that holds the ledger's state alone.
fn section(state: Vec<u8>) -> Sections {
    let mut sections = Sections::default();
    sections.put(Section::Ledger, state);
    sections
}

#[test]
fn every_standing_is_that_of_a_recount() {
    let windows = [(20, None), (3, None), (1000, Some(300)), (25, Some(400)), (1, None)];
    let mut fates = [0; 4];
    for (seed, (retain, retain_ms)) in (1..).zip(windows) {
        let window = Window { retain, retain_ms };
        let steps = random_steps(300, seed);
        let mut ledger = Alone::new(window.ledger(1));
        for (at, ledger_input) in steps.iter().enumerate() {
            let (ledger_stats, report) = ledger.step(ledger_input.clone());
            let (expected, expected_report) = recount(&steps[..=at], window);
            assert_eq!(ledger_stats.unwrap(), expected, "step {at}, retain {retain}");
            assert_eq!(report.is_some(), ledger_input.ends_epoch);
            report.iter().for_each(|report| same(report, &expected_report));
        }
        let end = recount(&steps, window).0.labels;
        let counts = [end.late, end.corrected, end.withdrawn, end.too_late];
        fates.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(fates.iter().all(|sum| *sum > 50), "nothing happens in these steps: {fates:?}");
}

#[test]
fn many_steps_at_once_stand_as_one_by_one() {
    let window = Window { retain: 20, retain_ms: None };
    let steps = random_steps(60, 9);
    let mut one_by_one = Alone::new(window.ledger(1));
    let expected: Vec<LedgerStats> =
        steps.iter().map(|ledger_input| one_by_one.step(ledger_input.clone()).0.unwrap()).collect();
    let mut at_once = Alone::new(window.ledger(1));
    steps.into_iter().for_each(|ledger_input| at_once.hand_in(ledger_input));
    at_once.settle();
    assert_eq!(at_once.ledger_stats(), expected);
}

#[test]
fn a_restored_ledger_goes_on_as_if_nothing_had_happened() {
    let window = Window { retain: 20, retain_ms: Some(700) };
    for cut in [1, 5, 40, 79] {
        let mut steps = random_steps(80, 5);
        steps[cut - 1].snapshot = true;
        let mut whole = Alone::new(window.ledger(2));
        let mut state = None;
        let mut expected = Vec::new();
        for ledger_input in &steps {
            let (ledger_stats, report) = whole.step(ledger_input.clone());
            state = report.and_then(|report| report.state).or(state);
            expected.push(ledger_stats.unwrap());
        }
        let mut restored = window.ledger(2);
        restored.load_from(&section(state.unwrap())).unwrap();
        // The values on the feedback edge are restored.
        let from = cut.saturating_sub(2);
        let on_the_loop: Vec<(u64, LedgerStats)> = expected[from..cut]
            .iter()
            .map(|ledger_stats| (ledger_stats.step + 2, ledger_stats.clone()))
            .collect();
        assert_eq!(restored.in_flight(), on_the_loop);
        let mut resumed = Alone::new(restored);
        for (ledger_input, expected) in steps[cut..].iter().zip(&expected[cut..]) {
            assert_eq!(resumed.step(ledger_input.clone()).0.as_ref(), Some(expected));
        }
    }
    assert!(window.ledger(1).load_from(&section(vec![1, 2, 3])).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn a_barrier_shows_the_state_and_changes_nothing() {
    let window = Window { retain: 20, retain_ms: Some(50) };
    let mut steps = random_steps(30, 3);
    let mut ledger = Alone::new(window.ledger(1));
    let last = steps.pop().unwrap();
    let before = steps.into_iter().map(|ledger_input| ledger.step(ledger_input).0).last().unwrap();
    let barrier = LedgerInput {
        rows: Vec::new(),
        labels: Vec::new(),
        cut_ms: last.cut_ms + 1000,
        barrier: true,
        snapshot: true,
        ..last
    };
    let (ledger_stats, report) = ledger.step(barrier);
    assert!(ledger_stats.is_none());
    let report = report.unwrap();
    assert_eq!(Some(&report.ledger_stats), before.as_ref());
    assert!(report.state.is_some());
}

#[test]
fn traces_stay_as_small_as_the_window() {
    let (retain, batch): (u64, u64) = (2000, 100);
    let mut ledger = Alone::new(Ledger::new(retain, None, 10, 1));
    let mut draws = Draws(1);
    let mut most = [0; 2];
    for step in 0..600 {
        let position = step * batch;
        let labels = (0..5).map(|_| Label {
            id: position.saturating_sub(1 + draws.below(4 * retain)),
            class: Some(draws.below(10) as u32),
        });
        let labels = labels.collect();
        let rows = (0..batch).map(|at| row(position + at, draws.below(10) as u32, &mut draws)).collect();
        ledger.step(LedgerInput { step, position, labels, rows, ..LedgerInput::default() });
        let half = &mut most[usize::from(step >= 300)];
        *half = ledger.held().max(*half);
    }
    // Traces hold two to three times the live updates, since merging lags behind; and the second
    // half holds no more than the first.
    assert!(most[0] > retain as i64 && most[0] < 4 * retain as i64, "{most:?}");
    assert!(most[1] < most[0] * 11 / 10, "{most:?}");
}

#[test]
fn a_ledger_changes_nothing_unless_the_method_asks() {
    let without = weights_of(&small_job(&["method.threshold=0.5"]));
    for more in ["ledger.retain=1000", "ledger.retain=1"] {
        assert_eq!(weights_of(&small_job(&["method.threshold=0.5", more])), without);
    }
}

#[test]
fn a_method_that_asks_is_repeatable_at_every_lag() {
    let of_lag = |lag: u64, retain: u64| {
        let sets = [
            "method.kind=flexmatch".to_string(),
            "method.threshold=0.8".into(),
            "method.warm_up=false".into(),
            "teacher.ema=0.5".into(),
            format!("teacher.lag={lag}"),
            format!("ledger.retain={retain}"),
            "labels.rate=0.1".into(),
            "labels.delay=300".into(),
            "flow.window=5".into(),
        ];
        weights_of(&small_job(&sets.each_ref().map(String::as_str)))
    };
    for lag in [1, 4] {
        let first = of_lag(lag, 1000);
        assert_eq!(first, of_lag(lag, 1000));
        assert_ne!(first, of_lag(lag, 200), "the window says nothing");
    }
}

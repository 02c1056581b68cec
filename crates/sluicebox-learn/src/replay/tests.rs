//! Tests of the replay buffer and of the choice of a step's samples.

use crate::device::{Compute, Precision};
use crate::replay::buffer::{Keep, ReplayBuffer};
use crate::replay::draw::Choice;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Labelled, Shape, Values};
use sluicebox_core::state::Stateful;
use tch::Device;

fn some(range: std::ops::Range<i64>) -> Labelled {
    Labelled {
        values: Values::F32(range.clone().map(|value| value as f32).collect()),
        classes: range.collect(),
    }
}

fn memory(capacity: usize) -> ReplayBuffer {
    keeping(capacity, Keep::Newest)
}

fn keeping(capacity: usize, keep: Keep) -> ReplayBuffer {
    seeded(capacity, keep, 0)
}

fn seeded(capacity: usize, keep: Keep, seed: u64) -> ReplayBuffer {
    let format = Format {
        shape: Shape::Vector { features: 1 },
        dtype: Dtype::F32,
        scale: 1.0,
        classes: vec!["a".into(), "b".into()],
    };
    ReplayBuffer::new(&format, capacity, keep, Randomness::new(seed, 0))
}

/// Draws uniformly; returns the value and class of each sample, which are equal unless corrected.
fn drawn(memory: &ReplayBuffer, count: usize, step: u64) -> Vec<(i64, i64)> {
    chosen(memory, count, &Choice::Uniform, step)
}

fn chosen(memory: &ReplayBuffer, count: usize, choice: &Choice, step: u64) -> Vec<(i64, i64)> {
    let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
    let batch =
        memory.draw(count, choice, &mut Randomness::new(0, 0).at(step, Stage::Labelled), compute).unwrap();
    assert_eq!(batch.input.size(), [count as i64, 1]);
    let values: Vec<f32> = batch.input.view(-1).try_into().unwrap();
    let classes: Vec<i64> = batch.classes.try_into().unwrap();
    values.into_iter().map(|value| value as i64).zip(classes).collect()
}

fn all(memory: &ReplayBuffer) -> Vec<(i64, i64)> {
    let mut all = drawn(memory, memory.len(), 0);
    all.sort();
    all
}

#[test]
fn the_newest_are_kept_and_draws_differ_within_a_step() {
    let mut memory = memory(5);
    memory.add(&some(0..4));
    memory.add(&some(4..7));
    assert_eq!(memory.len(), 5);
    assert_eq!(drawn(&memory, 5, 0), drawn(&memory, 5, 0));
    let pairs = |step| (drawn(&memory, 5, step), drawn(&memory, 5, step + 1));
    assert_ne!(pairs(0), pairs(1));
    assert_eq!(all(&memory), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
    assert_eq!(drawn(&memory, 12, 3).len(), 12);
}

#[test]
fn labels_are_learned_corrected_and_withdrawn() {
    let mut memory = memory(4);
    memory.add(&some(0..2));
    let late = Values::F32(vec![7.0, 8.0, 9.0]);
    memory.learn(70, &late, 0, 1);
    memory.learn(80, &late, 1, 1);
    assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 1), (8, 1)]);
    assert!(memory.correct(70, 5));
    assert!(!memory.correct(71, 5));
    assert!(memory.forget(80));
    assert!(!memory.forget(81));
    assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 5)]);
    memory.learn(90, &late, 2, 2);
    memory.learn(70, &late, 0, 6); // learned again: kept once, as the newest
    assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 6), (9, 2)]);
    memory.learn(91, &late, 1, 3); // full: the oldest is evicted
    assert_eq!(all(&memory), [(1, 1), (7, 6), (8, 3), (9, 2)]);
}

#[test]
fn a_restored_memory_is_the_same() {
    let mut first = memory(4);
    first.add(&some(0..3));
    first.learn(70, &Values::F32(vec![7.0]), 0, 1);
    first.forget(70);
    first.learn(71, &Values::F32(vec![8.0]), 0, 2);
    let mut second = memory(4);
    second.load(&first.save().unwrap()).unwrap();
    for memory in [&mut first, &mut second] {
        memory.learn(72, &Values::F32(vec![9.0]), 0, 3);
        memory.correct(71, 4);
    }
    assert_eq!(drawn(&first, 9, 5), drawn(&second, 9, 5));
    assert_eq!(first.save().unwrap(), second.save().unwrap());
}

#[test]
fn an_alarm_makes_old_samples_rare_in_every_choice_and_outlives_a_restart() {
    let mut first = memory(100);
    first.add(&some(0..50));
    first.decay_weights(0.0);
    let old = |memory: &ReplayBuffer, choice: &Choice| {
        chosen(memory, 40, choice, 3).iter().filter(|(value, _)| *value < 50).count()
    };
    assert_eq!(old(&first, &Choice::Uniform), 40, "nothing came since");
    first.add(&some(50..60));
    let mut second = memory(100);
    second.load(&first.save().unwrap()).unwrap();
    let to = Values::F32(vec![5.0, 6.0]);
    for memory in [&first, &second] {
        assert_eq!(old(memory, &Choice::Uniform), 0);
        assert_eq!(old(memory, &Choice::Recent { time_constants: &[1e6], shares: &[1.0] }), 0);
        assert_eq!(old(memory, &Choice::Similar { to: &to, scale: None }), 0);
    }
    assert_eq!(first.between_alarms().len(), 2);
}

#[test]
fn what_is_like_the_stream_is_chosen() {
    let mut memory = memory(100);
    memory.add(&Labelled { values: Values::F32(vec![-3.0, -2.0, 2.0, 4.0]), classes: vec![0, 0, 1, 1] });
    let to = Values::F32(vec![5.0, 6.0]);
    let found = chosen(&memory, 4, &Choice::Similar { to: &to, scale: None }, 0);
    assert!(found.iter().all(|(_, class)| *class == 1), "{found:?}");
    let none = Values::F32(Vec::new());
    assert_eq!(chosen(&memory, 3, &Choice::Similar { to: &none, scale: None }, 0).len(), 3);
}

#[test]
fn a_reservoir_keeps_each_with_the_same_chance_and_a_balanced_memory_each_class() {
    let mut kept = [0.0; 40];
    for seed in 0..600 {
        let mut memory = seeded(10, Keep::Reservoir, seed);
        memory.add(&some(0..40));
        assert_eq!(memory.len(), 10);
        all(&memory).iter().for_each(|(value, _)| kept[*value as usize] += 1.0 / 600.0);
    }
    assert!(kept.iter().all(|part| (part - 0.25f64).abs() < 0.08), "{kept:?}");
    let mut memory = keeping(6, Keep::Balanced);
    let classes: Vec<i64> = (0..40).map(|at| i64::from(at % 10 == 0)).collect();
    memory.add(&Labelled { values: Values::F32((0..40u8).map(f32::from).collect()), classes });
    let of_class = |wanted| all(&memory).iter().filter(|(_, class)| *class == wanted).count();
    assert_eq!((of_class(0), of_class(1)), (3, 3));
}

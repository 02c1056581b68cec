//! Experts on streams of two features.

use crate::adapt::experts::Experts;
use crate::adapt::learned::{Kind, time_constants};
use sluicebox_core::state::Stateful;

/// Two features; class 0 lies on the left until row `turns`, then on the right.
fn row(at: usize, turns: usize) -> ([f32; 2], i64) {
    let (class, turn) = (at % 2, at as f32 * 0.7);
    let side = if (class == 0) == (at < turns) { -2.0 } else { 2.0 };
    ([side + turn.sin(), turn.cos()], class as i64)
}

fn experts() -> Experts {
    Experts::new(&Kind::ALL, 2, 2, 50, 7)
}

/// Rows stream by one by one, and each gets its label at once.
fn stream(experts: &mut Experts, range: std::ops::Range<usize>, turns: usize) -> usize {
    let mut right = 0;
    for at in range {
        let (row, class) = row(at, turns);
        let scaled = experts.stream(at as u64, &[at as u64], &row);
        let answer = experts.answer(&scaled);
        right += usize::from(answer[class as usize] > 0.5f32.ln());
        experts.learn(at as u64, &[at as u64], &row, &[class]);
        experts.renew();
    }
    right
}

#[test]
fn they_learn_a_stream_and_follow_its_change() {
    let mut experts = experts();
    assert!(!experts.knows());
    stream(&mut experts, 0..100, 200);
    assert!(stream(&mut experts, 100..200, 200) > 97);
    let before = experts.rates();
    stream(&mut experts, 200..240, 200);
    assert!(stream(&mut experts, 240..340, 200) > 90);
    let after = experts.rates();
    let fast = |rates: &[f64]| rates[..3].iter().sum::<f64>();
    assert!(fast(&after) > fast(&before), "{before:?} {after:?}");
    let sum: f64 = experts.learned.kinds().iter().map(|(_, share)| share).sum();
    assert!((sum - 1.0).abs() < 1e-9 && (after.iter().sum::<f64>() - 1.0).abs() < 1e-9);
}

/// Returns what experts of `kinds` answer after 40 rows have streamed by: of which each got its label at once, or
/// all at the end, these with the ids `from` on.
fn after_labels(kinds: &[Kind], at_once: bool, from: u64) -> Vec<f32> {
    let mut experts = Experts::new(kinds, 2, 2, 50, 7);
    let rows: Vec<_> = (0..40).map(|at| row(at, 100)).collect();
    for (at, (row, class)) in (0..).zip(&rows) {
        experts.stream(at, &[at], row);
        if at_once {
            experts.learn(at, &[at], row, &[*class]);
            experts.renew();
        }
    }
    for (at, (row, class)) in (0..).zip(&rows).filter(|_| !at_once) {
        let foretold = experts.learn(99, &[from + at], row, &[*class]);
        experts.renew();
        assert!(at == 0 || foretold.unwrap().steps == [if from == 0 { at } else { 99 }]);
    }
    let scaled = experts.stream(40, &[40], &[1.0, 0.0]);
    experts.answer(&scaled)
}

#[test]
fn a_label_is_learned_with_what_its_row_was_when_it_streamed_by() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Rescaled).collect();
    assert_eq!(after_labels(&kinds, false, 0), after_labels(&kinds, true, 0));
}

#[test]
fn rescaled_rows_are_learned_with_what_they_are_when_the_label_comes() {
    let late = after_labels(&[Kind::Rescaled], false, 0);
    assert_ne!(late, after_labels(&[Kind::Rescaled], true, 0));
    // A row that nobody saw stream by can only be scaled as it is now. The discriminants are the same; their shares, which
    // count what was said when the row streamed by, are nearly so.
    let unseen = after_labels(&[Kind::Rescaled], false, 1000);
    assert!(late.iter().zip(&unseen).all(|(one, other)| (one - other).abs() < 0.1), "{late:?} {unseen:?}");
}

#[test]
fn restored_experts_go_on_alike() {
    let (mut first, mut second) = (experts(), experts());
    stream(&mut first, 0..70, 50);
    second.load(&first.save().unwrap()).unwrap();
    for experts in [&mut first, &mut second] {
        stream(experts, 70..90, 50);
        experts.correct(75, Some(1));
        experts.relearn();
        experts.decay_weights(0.5);
        stream(experts, 90..95, 50);
    }
    assert_eq!(first.save().unwrap(), second.save().unwrap());
    let (one, other) = (first.snapshot(1, true), second.snapshot(1, true));
    assert_eq!(one.answer(&[0.3, 0.4, -1.0, 2.0]), other.answer(&[0.3, 0.4, -1.0, 2.0]));
    assert!(experts().load(b"bad").is_err());
    assert!(!Experts::new(&[Kind::Neighbours], 2, 2, 50, 7).load_matching(&first.save().unwrap()).unwrap());
}

#[test]
fn only_labels_that_were_foretold_are_evidence() {
    let mut experts = experts();
    experts.add(&[1.0; 100], &[0; 50]);
    assert!(!experts.trusted() && experts.knows());
    assert_eq!(experts.rates()[..2], [0.0, 0.0]);
    stream(&mut experts, 0..6, 100);
    assert!(!experts.trusted());
    stream(&mut experts, 6..7, 100);
    assert!(experts.trusted());
}

#[test]
fn a_corrected_label_leaves_no_trace_of_the_wrong_one() {
    let (mut corrected, mut plain) = (experts(), experts());
    for (at, wrong) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        let (row, class) = row(at, 100);
        for (experts, class) in [(&mut corrected, wrong), (&mut plain, class)] {
            experts.stream(at as u64, &[at as u64], &row);
            experts.learn(at as u64, &[at as u64], &row, &[class]);
            experts.renew();
        }
    }
    corrected.correct(1, Some(1));
    corrected.correct(99, Some(1));
    corrected.relearn();
    let scaled = plain.stream(5, &[5], &[0.5, 0.1]);
    let each = |experts: &Experts| experts.learned.each(&scaled, &experts.random);
    // All but the two forests, the last kind: their trees are drawn anew.
    let but_forests = |experts: &Experts| each(experts)[..each(experts).len() - 4].to_vec();
    assert_eq!(but_forests(&corrected), but_forests(&plain));
    assert_eq!(corrected.prior(), plain.prior());
    plain.correct(1, Some(0));
    plain.correct(1, Some(1));
    plain.relearn();
    assert_eq!(each(&corrected), each(&plain));
    corrected.correct(1, None);
    corrected.relearn();
    assert_ne!(corrected.prior(), plain.prior());
}

#[test]
fn of_many_classes_fewer_discriminants_are_kept() {
    assert_eq!(Experts::new(&Kind::ALL, 33, 6, 0, 0).time_constants(), time_constants());
    assert_eq!(Experts::new(&Kind::ALL, 64, 1000, 0, 0).time_constants(), [f64::INFINITY]);
    let some = Experts::new(&Kind::ALL, 100, 300, 0, 0);
    assert_eq!((some.time_constants().len(), some.time_constants()[2]), (3, f64::INFINITY));
}

#[test]
fn a_fill_value_or_a_class_that_appears_late_does_no_harm() {
    let mut experts = experts();
    stream(&mut experts, 0..50, 100);
    experts.stream(50, &[50], &[1e20, -1e20]);
    experts.learn(50, &[50], &[1e20, -1e20], &[1]);
    assert!(stream(&mut experts, 51..100, 100) > 45);
    let mut three = Experts::new(&Kind::ALL, 2, 3, 50, 0);
    (0..60).for_each(|at| _ = three.learn(at, &[at], &row(at as usize, 100).0, &[row(at as usize, 100).1]));
    (60..90).for_each(|at| _ = three.learn(at, &[at], &[0.0, 9.0], &[2]));
    let scaled = three.stream(99, &[99], &[0.0, 9.0]);
    assert!(three.answer(&scaled)[2].exp() > 0.8, "{:?}", three.answer(&scaled));
}

//! A step without samples, as a stream that waits cuts for labels: it changes what is known of labels, and
//! nothing that was learned.

use crate::step_by_step::StepByStep;
use crate::support::small_job;
use sluicebox::engine::flow::Stages;
use sluicebox_core::sample::{Dtype, Label, Values};
use sluicebox_core::state::Section;
use sluicebox_core::step::{MicroBatch, Snapshot, StepInfo};
use sluicebox_learn::messages::StepResult;
use sluicebox_learn::method::METHODS;

/// Runs the next samples of the stream as step `step`.
fn samples(stages: &mut StepByStep, step: u64) -> StepResult {
    let mut batch = stages.cut();
    batch.info.step = step;
    run(stages, batch)
}

fn run(stages: &mut StepByStep, batch: MicroBatch) -> StepResult {
    stages.step(batch, |_| {}).unwrap()
}

fn snapshot(result: &StepResult) -> &Snapshot {
    result.info.snapshot.as_ref().unwrap()
}

#[test]
fn an_empty_step_changes_labels_and_nothing_that_was_learned() {
    let base =
        ["batch.labelled=8", "batch.unlabelled=16", "schedule.kind=inverse-sqrt", "schedule.warmup_steps=2"];
    let others: [&[&str]; 3] = [&[], &["labels.rate=0.001"], &["filter.mode=mask", "answer.prior=uniform"]];
    for (name, more) in METHODS.names().into_iter().flat_map(|name| others.map(|more| (name, more))) {
        let kind = format!("method.kind={name}");
        let job = small_job(&[&base[..], &[&kind], more].concat());
        let mut whole = StepByStep::new(&job);
        let rates: Vec<f64> = (0..4).map(|step| samples(&mut whole, step).learning_rate).collect();

        let mut with = StepByStep::new(&job);
        (0..2).for_each(|step| _ = samples(&mut with, step));
        let before = samples(&mut with, 2);
        let weights = with.weights.share();
        let info = StepInfo {
            step: 3,
            labels: vec![Label { id: before.info.ids[0], class: Some(1) }],
            ..StepInfo::default()
        };
        let empty = run(&mut with, MicroBatch { info, labelled: None, values: Values::none(Dtype::U8) });
        assert_eq!((empty.student_samples, empty.labelled_samples), (0, 0), "{name}");
        assert!(with.weights.parameters.equal(&weights.parameters), "{name}: the teacher's weights");
        assert!(with.weights.buffers.equal(&weights.buffers), "{name}: the teacher's statistics");
        let section =
            |result: &StepResult, section| snapshot(result).sections.get(section).map(<[u8]>::to_vec);
        assert_eq!(section(&empty, Section::Method), section(&before, Section::Method), "{name}");
        assert_eq!(section(&before, Section::Empty), None);
        assert!(section(&empty, Section::Empty).is_some());
        if more.contains(&"labels.rate=0.001") {
            assert_eq!(empty.info.notes.labels_known, before.info.notes.labels_known + 1, "{name}");
        }
        // The next samples are trained on at the rate that was their turn.
        let after = samples(&mut with, 4);
        assert_eq!(after.learning_rate, rates[3], "{name}");
        assert!(bool::try_from(after.measures.isfinite().all()).unwrap(), "{name}");
        assert!(bool::try_from(after.confidence.isfinite().all()).unwrap(), "{name}");
        // Resumed from the empty step it is the same.
        let mut resumed = StepByStep::new(&job);
        resumed.stages.student.load_from(&snapshot(&empty).sections).unwrap();
        (0..3).for_each(|_| _ = resumed.stages.feed.cut_next().unwrap());
        let Stages { student, .. } = &mut resumed.stages;
        resumed.weights = student.in_flight().pop().unwrap().1;
        assert_eq!(samples(&mut resumed, 4).learning_rate, rates[3], "{name}");
    }
}

#[test]
fn a_stream_that_begins_with_labels_alone_learns_as_any() {
    for more in [&[][..], &["answer.prior=uniform"], &["labels.rate=0.001", "answer.prior=present"]] {
        let job = small_job(&[&["batch.unlabelled=16"], more].concat());
        let mut stages = StepByStep::new(&job);
        for step in 0..2 {
            let info =
                StepInfo { step, labels: vec![Label { id: 5, class: Some(1) }], ..StepInfo::default() };
            let empty =
                run(&mut stages, MicroBatch { info, labelled: None, values: Values::none(Dtype::U8) });
            assert_eq!(empty.info.step, step);
        }
        let after = samples(&mut stages, 2);
        assert!(bool::try_from(after.measures.isfinite().all()).unwrap(), "{more:?}");
        assert!(bool::try_from(after.confidence.isfinite().all()).unwrap(), "{more:?}");
        let predicted = &after.filter_stats.predicted_confidence;
        assert!(bool::try_from(predicted.isfinite().all()).unwrap(), "{more:?}");
    }
}

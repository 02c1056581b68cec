//! A step without samples, as a stream that waits cuts for labels: it changes what is known of labels, and
//! nothing that was learned.

use crate::support::{prepared, small_job};
use sluicebox::engine::flow::Stages;
use sluicebox::job::Job;
use sluicebox_core::sample::{Dtype, Label, Values};
use sluicebox_core::state::Section;
use sluicebox_core::step::{MicroBatch, Snapshot, StepInfo};
use sluicebox_learn::messages::{StepResult, Weights};
use sluicebox_learn::method::METHODS;
use sluicebox_stream::microbatch::batcher::Next;

/// The stages of a job, called one after the other.
struct Loop {
    stages: Stages,
    weights: Weights,
}

impl Loop {
    fn new(job: &Job) -> Self {
        let mut stages = prepared(job).stages;
        let weights = stages.in_flight.drain(..).next_back().unwrap().1;
        Self { stages, weights }
    }

    /// Runs the next samples of the stream as step `step`.
    fn samples(&mut self, step: u64) -> StepResult {
        let Next::MicroBatch(mut batch) = self.stages.feed.cut_next().unwrap() else { panic!() };
        batch.info.step = step;
        self.step(*batch)
    }

    /// Runs a step; its result carries a snapshot.
    fn step(&mut self, mut batch: MicroBatch) -> StepResult {
        batch.info.snapshot = Some(Box::<Snapshot>::default());
        let Stages { batcher, weak, teacher, filter, strong, student, .. } = &mut self.stages;
        let views = weak.view(batcher.batch(batch).unwrap()).unwrap();
        teacher.receive(&self.weights);
        let training_batch = strong.view(filter.judge(teacher.score(views).unwrap()).unwrap()).unwrap();
        let (result, weights) = student.learn(training_batch).unwrap();
        self.weights = weights;
        result
    }
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
        let mut whole = Loop::new(&job);
        let rates: Vec<f64> = (0..4).map(|step| whole.samples(step).learning_rate).collect();

        let mut with = Loop::new(&job);
        (0..2).for_each(|step| _ = with.samples(step));
        let before = with.samples(2);
        let weights = with.weights.share();
        let info = StepInfo {
            step: 3,
            labels: vec![Label { id: before.info.ids[0], class: Some(1) }],
            ..StepInfo::default()
        };
        let empty = with.step(MicroBatch { info, labelled: None, values: Values::none(Dtype::U8) });
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
        let after = with.samples(4);
        assert_eq!(after.learning_rate, rates[3], "{name}");
        assert!(bool::try_from(after.measures.isfinite().all()).unwrap(), "{name}");
        assert!(bool::try_from(after.confidence.isfinite().all()).unwrap(), "{name}");
        // Resumed from the empty step it is the same.
        let mut resumed = Loop::new(&job);
        resumed.stages.student.load_from(&snapshot(&empty).sections).unwrap();
        (0..3).for_each(|_| _ = resumed.stages.feed.cut_next().unwrap());
        let Stages { student, .. } = &mut resumed.stages;
        resumed.weights = student.in_flight().pop().unwrap().1;
        assert_eq!(resumed.samples(4).learning_rate, rates[3], "{name}");
    }
}

#[test]
fn a_stream_that_begins_with_labels_alone_learns_as_any() {
    for more in [&[][..], &["answer.prior=uniform"], &["labels.rate=0.001", "answer.prior=present"]] {
        let job = small_job(&[&["batch.unlabelled=16"], more].concat());
        let mut stages = Loop::new(&job);
        for step in 0..2 {
            let info =
                StepInfo { step, labels: vec![Label { id: 5, class: Some(1) }], ..StepInfo::default() };
            let empty = stages.step(MicroBatch { info, labelled: None, values: Values::none(Dtype::U8) });
            assert_eq!(empty.info.step, step);
        }
        let after = stages.samples(2);
        assert!(bool::try_from(after.measures.isfinite().all()).unwrap(), "{more:?}");
        assert!(bool::try_from(after.confidence.isfinite().all()).unwrap(), "{more:?}");
        let predicted = &after.filter_stats.predicted_confidence;
        assert!(bool::try_from(predicted.isfinite().all()).unwrap(), "{more:?}");
    }
}

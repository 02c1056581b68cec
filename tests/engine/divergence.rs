//! Training that diverges changes nothing for the worse: such updates are skipped, several in a row end the job, and
//! the checkpoints of before stay.

use crate::step_by_step::StepByStep;
use crate::support::small_job;
use sluicebox::engine::checkpoint::newest;
use sluicebox::engine::metrics::MOST_IN_A_ROW;
use sluicebox::job::Job;
use sluicebox::run::{Options, run};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::{StepResult, TrainingBatch, outcome};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tch::{Kind, Tensor};

fn in_folder(job: &Job, state: &Path) -> Result<sluicebox::engine::metrics::Summary> {
    let options = Options { state: Some(state.to_path_buf()), ..Options::default() };
    run(job, &options, Arc::new(AtomicBool::new(false)))
}

#[test]
fn a_job_that_diverges_ends_and_its_checkpoints_are_those_of_before() {
    for more in [&[][..], &["optimiser={ kind = \"adamw\" }"], &["report.fetch_steps=1"]] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let job = |sets: &[&str]| small_job(&[more, &["checkpoint.steps=4"], sets].concat());
        in_folder(&job(&["stop.epochs=1"]), &state).unwrap();
        let good = newest(&state).unwrap().unwrap();
        let bad = job(&["stop.epochs=9", "optimiser.learning_rate=1e30"]);
        for _ in 0..2 {
            let error = in_folder(&bad, &state).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            let Error::Operator { operator, step, reason } = error else { panic!("{error}") };
            assert_eq!(operator, "learn");
            assert!(
                step >= 8 + MOST_IN_A_ROW && reason.contains("optimiser.learning_rate"),
                "{step}: {reason}"
            );
        }
        let left = newest(&state).unwrap().unwrap();
        assert!(left.manifest.step >= good.manifest.step);
        for (name, weights) in Tensor::read_safetensors(left.model()).unwrap() {
            assert!(bool::try_from(weights.to_kind(Kind::Float).isfinite().all()).unwrap(), "{name}");
        }
    }
}

/// Runs the next step; with `spoilt`, a labelled sample is not a number.
fn step(stages: &mut StepByStep, spoilt: bool) -> StepResult {
    let batch = stages.cut();
    let spoil = |training_batch: &mut TrainingBatch| {
        if let Some(labelled) = training_batch.labelled.as_mut().filter(|_| spoilt) {
            let _ = labelled.input.narrow(0, 0, 1).fill_(f64::NAN);
        }
    };
    stages.step(batch, spoil).unwrap()
}

#[test]
fn a_skipped_update_leaves_weights_statistics_moments_and_teacher_as_they_were() {
    let others: [&[&str]; 4] = [
        &[],
        &["optimiser={ kind = \"adamw\" }"],
        &["teacher.ema=0", "filter.mode=mask"],
        &["regularise={ center = 0.1, spectral = 0.1, prior = 0.1, prior_of = \"labelled\" }"],
    ];
    for more in others {
        let job = small_job(&[&["batch.labelled=8", "batch.unlabelled=16"], more].concat());
        let mut stages = StepByStep::new(&job);
        for _ in 0..3 {
            assert_eq!(step(&mut stages, false).measures.double_value(&[4]), f64::from(outcome::UPDATED));
        }
        let (parameters, buffers) = (stages.weights.parameters.copy(), stages.weights.buffers.copy());
        let skipped = step(&mut stages, true);
        assert!(skipped.measures.double_value(&[4]).is_nan(), "{more:?}");
        assert!(stages.weights.parameters.equal(&parameters), "{more:?}: the teacher's weights");
        assert!(stages.weights.buffers.equal(&buffers), "{more:?}: the running statistics");
        assert_eq!(skipped.info.snapshot.unwrap().not_finite, None, "{more:?}");
        // What the student and the terms of the loss remember is whole too: it goes on.
        let after = step(&mut stages, false);
        assert!(bool::try_from(after.measures.isfinite().all()).unwrap(), "{more:?}");
        assert_eq!(after.info.snapshot.unwrap().not_finite, None, "{more:?}");
        assert!(!stages.weights.parameters.equal(&parameters), "{more:?}");
    }
}

#[test]
fn a_checkpoint_that_is_not_finite_is_refused_and_those_of_before_stay() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let job = |sets: &[&str]| {
        let base = ["epoch.steps=1", "checkpoint.steps=1", "checkpoint.keep=1", "schedule.warmup_steps=0"];
        small_job(&[&base[..], sets].concat())
    };
    in_folder(&job(&["stop.epochs=2"]), &state).unwrap();
    // A finite gradient times this rate is beyond every f32. The job ends before a next update could be skipped.
    let error = in_folder(&job(&["stop.epochs=3", "optimiser.learning_rate=1e300"]), &state).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("operator \"commit\"") && text.contains("not finite"), "{text}");
    assert_eq!(newest(&state).unwrap().unwrap().manifest.step, 2);
    let resumed = in_folder(&job(&["stop.epochs=4"]), &state).unwrap();
    assert_eq!(resumed.steps, 4);
}

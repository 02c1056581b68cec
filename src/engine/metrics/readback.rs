//! Readback: keeps step results on the device and copies those of many steps to the host at once, so that no
//! step waits for the device.

use crate::engine::metrics::Counts;
use sluicebox_core::error::Result;
use sluicebox_core::report::thumbnail::{Candidate, Thumbnail};
use sluicebox_core::step::{LedgerInput, Prediction};
use sluicebox_learn::messages::StepResult;
use sluicebox_learn::torch::TorchResult;
use tch::{Device, Kind, Tensor};

/// Step results since the last readback.
#[derive(Default)]
pub struct DeviceQueue {
    /// Counts that are known without a readback.
    pub counts: Counts,
    measures: Vec<Tensor>,
    classes: Vec<Tensor>,
    answered: Vec<Tensor>,
    answered_confidence: Vec<Tensor>,
    confidence: Vec<Tensor>,
    accepted: Vec<Tensor>,
    features: Vec<Tensor>,
    truth: Vec<i32>,
    /// Number of samples of each step.
    sizes: Vec<usize>,
    /// Whether agreement was measured.
    compared: bool,
    /// Picked samples, each with its position among all samples here.
    picks: Vec<(usize, Candidate)>,
    /// Filled only if each sample's pseudo-label is needed.
    confident: Vec<Tensor>,
    facts: Vec<LedgerInput>,
}

/// Sums over one step: samples, right predictions, the teacher's mean confidence and mean features.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepSum {
    /// Number of samples.
    pub samples: u64,
    /// Number of samples whose class is known.
    pub known: u32,
    /// Number of samples that the teacher predicted correctly.
    pub right: u32,
    /// Mean confidence of the pseudo-labels; none if the step had no sample.
    pub confidence: Option<f64>,
    /// `[F]`: mean of the teacher's features.
    pub features: Vec<f32>,
}

/// Result of a readback.
#[derive(Default)]
pub struct Readback {
    /// Counts over all steps.
    pub counts: Counts,
    /// Sums of each step.
    pub steps: Vec<StepSum>,
    /// Facts with complete rows, if a ledger or a sink needs them.
    pub facts: Vec<LedgerInput>,
    /// Thumbnails; the caller sets their epoch.
    pub thumbnails: Vec<Thumbnail>,
}

impl DeviceQueue {
    /// Adds a step result, and its facts if `each_sample`.
    pub fn add(&mut self, outcome: &mut StepResult, each_sample: bool) {
        let info = &mut outcome.info;
        if !info.barrier {
            for pick in info.picks.drain(..) {
                let at = pick.at.map(|at| self.truth.len() + at);
                self.picks.extend(at.map(|at| (at, pick)));
            }
            self.measures.push(outcome.measures.shallow_clone());
            self.classes.push(outcome.class.shallow_clone());
            self.answered.push(outcome.filter_stats.answered.shallow_clone());
            self.answered_confidence.push(outcome.filter_stats.answered_confidence.shallow_clone());
            self.confidence.push(outcome.confidence.shallow_clone());
            self.accepted.push(outcome.accepted.shallow_clone());
            self.features.push(outcome.filter_stats.features.shallow_clone());
            self.truth.extend(info.truth.reveal());
            self.sizes.push(info.ids.len());
            self.compared |= outcome.compared;
            self.counts.steps += 1;
            self.counts.samples += info.ids.len() as u64;
            self.counts.add_sources(&info.taken);
            self.counts.student_samples += outcome.student_samples;
            self.counts.labelled_samples += outcome.labelled_samples;
            self.counts.lag += info.step + 1 - outcome.teacher_step.min(info.step + 1);
        }
        if !each_sample {
            return;
        }
        if !info.barrier {
            self.confident.push(outcome.confident.shallow_clone());
        }
        let row = |id: &u64| Prediction {
            id: *id,
            class: 0,
            confidence: 0.0,
            pseudo_label: 0,
            pseudo_label_confidence: 0.0,
            accepted: false,
            confident: false,
            teacher_step: outcome.teacher_step,
        };
        self.facts.push(LedgerInput {
            step: info.step,
            position: info.position,
            cut_ms: info.cut_ms,
            labels: info.labels.clone(),
            rows: info.ids.iter().map(row).collect(),
            barrier: info.barrier,
            ends_epoch: info.ends_epoch,
            snapshot: info.snapshot.is_some(),
        });
    }

    /// Copies the results to the host in a few transfers.
    pub fn fetch(self) -> Result<Readback> {
        let Self { mut counts, mut facts, .. } = self;
        if counts.steps == 0 {
            return Ok(Readback { facts, ..Readback::default() });
        }
        let fetched = |parts: &[Tensor]| Tensor::cat(parts, 0).to_device(Device::Cpu);
        let measures: Vec<f32> = fetched(&self.measures).try_into().torch()?;
        let classes: Vec<i64> = fetched(&self.classes).try_into().torch()?;
        let answered: Vec<i64> = fetched(&self.answered).try_into().torch()?;
        let confidence: Vec<f32> = fetched(&self.confidence).try_into().torch()?;
        let accepted: Vec<u8> = fetched(&self.accepted).to_kind(Kind::Uint8).try_into().torch()?;
        let features: Vec<f32> = fetched(&self.features).try_into().torch()?;
        for step in measures.chunks_exact(4) {
            counts.losses[0] += f64::from(step[0]);
            counts.losses[1] += f64::from(step[1]);
            counts.gradient_norm += f64::from(step[2]);
            counts.agreed += f64::from(step[3]);
        }
        let truth = |at: usize| u32::try_from(self.truth[at]).ok();
        let mut steps = Vec::with_capacity(self.sizes.len());
        let mut first = 0;
        let width = features.len() / self.sizes.len();
        for (step, size) in self.sizes.iter().enumerate() {
            let before = (counts.known, counts.right, counts.confidence);
            for at in first..first + size {
                let given = (classes[at] as usize, answered[at] as usize);
                counts.add_sample(given, truth(at), confidence[at], accepted[at] == 1);
            }
            steps.push(StepSum {
                samples: *size as u64,
                known: (counts.known - before.0) as u32,
                right: (counts.right - before.1) as u32,
                confidence: (*size > 0).then(|| (counts.confidence - before.2) / *size as f64),
                features: features[step * width..(step + 1) * width].to_vec(),
            });
            first += size;
        }
        counts.compared = if self.compared { counts.accepted } else { 0 };
        let thumbnail = |(at, pick): (usize, Candidate)| Thumbnail {
            id: pick.id,
            epoch: 0,
            given: classes[at] as u32,
            confidence: confidence[at],
            accepted: accepted[at] == 1,
            truth: truth(at),
            shape: pick.shape,
            pixels: pick.pixels,
        };
        let thumbnails = self.picks.into_iter().map(thumbnail).collect();
        if !self.confident.is_empty() {
            let confident: Vec<u8> = fetched(&self.confident).to_kind(Kind::Uint8).try_into().torch()?;
            let answered_confidence: Vec<f32> = fetched(&self.answered_confidence).try_into().torch()?;
            for (at, row) in facts.iter_mut().flat_map(|facts| &mut facts.rows).enumerate() {
                (row.class, row.confidence) = (answered[at] as u32, answered_confidence[at]);
                (row.pseudo_label, row.pseudo_label_confidence) = (classes[at] as u32, confidence[at]);
                row.accepted = accepted[at] == 1;
                row.confident = confident[at] == 1;
            }
        }
        Ok(Readback { counts, steps, facts, thumbnails })
    }
}

//! Readback: keeps step results on the device and copies those of many steps to the host at once, so that no
//! step waits for the device.

use crate::engine::metrics::counts::Counts;
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
    predicted: Vec<Tensor>,
    predicted_confidence: Vec<Tensor>,
    confidence: Vec<Tensor>,
    accepted: Vec<Tensor>,
    /// Of the steps that had samples.
    features: Vec<Tensor>,
    truth: Vec<i32>,
    /// Number of samples of each step.
    sizes: Vec<usize>,
    /// Whether agreement was measured.
    compared: bool,
    /// Candidates for thumbnails, each with its position among all samples here.
    candidates: Vec<(usize, Candidate)>,
    /// Filled only if each sample's pseudo-label is needed.
    confident: Vec<Tensor>,
    ledger_inputs: Vec<LedgerInput>,
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
    /// The ledger's input for each step, if a ledger or a sink needs the predictions.
    pub ledger_inputs: Vec<LedgerInput>,
    /// Thumbnails; the caller sets their epoch.
    pub thumbnails: Vec<Thumbnail>,
}

impl DeviceQueue {
    /// Adds a step result; with the predictions of its samples if `each_sample`.
    pub fn add(&mut self, result: &mut StepResult, each_sample: bool) {
        let info = &mut result.info;
        let notes = &mut info.notes;
        if !info.barrier {
            for candidate in notes.candidates.drain(..) {
                let at = candidate.at.map(|at| self.truth.len() + at);
                self.candidates.extend(at.map(|at| (at, candidate)));
            }
            self.measures.push(result.measures.shallow_clone());
            self.classes.push(result.class.shallow_clone());
            self.predicted.push(result.filter_stats.predicted.shallow_clone());
            self.predicted_confidence.push(result.filter_stats.predicted_confidence.shallow_clone());
            self.confidence.push(result.confidence.shallow_clone());
            self.accepted.push(result.accepted.shallow_clone());
            if !info.ids.is_empty() {
                self.features.push(result.filter_stats.features.shallow_clone());
            }
            self.truth.extend(notes.truth.reveal());
            self.sizes.push(info.ids.len());
            self.compared |= result.compared;
            self.counts.steps += 1;
            self.counts.samples += info.ids.len() as u64;
            self.counts.add_sources(&notes.taken);
            self.counts.student_samples += result.student_samples;
            self.counts.labelled_samples += result.labelled_samples;
            self.counts.lag += info.step + 1 - result.teacher_step.min(info.step + 1);
        }
        if !each_sample {
            return;
        }
        if !info.barrier {
            self.confident.push(result.confident.shallow_clone());
        }
        let row = |id: &u64| Prediction {
            id: *id,
            class: 0,
            confidence: 0.0,
            pseudo_label: 0,
            pseudo_label_confidence: 0.0,
            accepted: false,
            confident: false,
            teacher_step: result.teacher_step,
        };
        self.ledger_inputs.push(LedgerInput {
            step: info.step,
            position: notes.position,
            cut_ms: notes.cut_ms,
            labels: info.labels.clone(),
            rows: info.ids.iter().map(row).collect(),
            barrier: info.barrier,
            ends_epoch: info.ends_epoch,
            snapshot: info.snapshot.is_some(),
        });
    }

    /// Copies the results to the host in a few transfers.
    pub fn read_back(self) -> Result<Readback> {
        let Self { mut counts, mut ledger_inputs, .. } = self;
        if counts.steps == 0 {
            return Ok(Readback { ledger_inputs, ..Readback::default() });
        }
        let to_host = |parts: &[Tensor]| Tensor::cat(parts, 0).to_device(Device::Cpu);
        let measures: Vec<f32> = to_host(&self.measures).try_into().torch()?;
        let classes: Vec<i64> = to_host(&self.classes).try_into().torch()?;
        let predicted: Vec<i64> = to_host(&self.predicted).try_into().torch()?;
        let confidence: Vec<f32> = to_host(&self.confidence).try_into().torch()?;
        let accepted: Vec<u8> = to_host(&self.accepted).to_kind(Kind::Uint8).try_into().torch()?;
        let features: Vec<f32> = match self.features.is_empty() {
            true => Vec::new(),
            false => to_host(&self.features).try_into().torch()?,
        };
        for step in measures.chunks_exact(4) {
            counts.losses[0] += f64::from(step[0]);
            counts.losses[1] += f64::from(step[1]);
            counts.gradient_norm += f64::from(step[2]);
            counts.agreed += f64::from(step[3]);
        }
        let truth = |at: usize| u32::try_from(self.truth[at]).ok();
        let mut steps = Vec::with_capacity(self.sizes.len());
        let mut first = 0;
        let mut features = features.chunks((features.len() / self.features.len().max(1)).max(1));
        for size in &self.sizes {
            let before = (counts.known, counts.right, counts.confidence);
            for at in first..first + size {
                let given = (classes[at] as usize, predicted[at] as usize);
                counts.add_sample(given, truth(at), confidence[at], accepted[at] == 1);
            }
            steps.push(StepSum {
                samples: *size as u64,
                known: (counts.known - before.0) as u32,
                right: (counts.right - before.1) as u32,
                confidence: (*size > 0).then(|| (counts.confidence - before.2) / *size as f64),
                features: match size {
                    0 => Vec::new(),
                    _ => features.next().unwrap_or_default().to_vec(),
                },
            });
            first += size;
        }
        counts.compared = if self.compared { counts.accepted } else { 0 };
        let thumbnail = |(at, candidate): (usize, Candidate)| Thumbnail {
            id: candidate.id,
            epoch: 0,
            given: classes[at] as u32,
            confidence: confidence[at],
            accepted: accepted[at] == 1,
            truth: truth(at),
            shape: candidate.shape,
            pixels: candidate.pixels,
        };
        let thumbnails = self.candidates.into_iter().map(thumbnail).collect();
        if !self.confident.is_empty() {
            let confident: Vec<u8> = to_host(&self.confident).to_kind(Kind::Uint8).try_into().torch()?;
            let predicted_confidence: Vec<f32> = to_host(&self.predicted_confidence).try_into().torch()?;
            for (at, row) in ledger_inputs.iter_mut().flat_map(|input| &mut input.rows).enumerate() {
                (row.class, row.confidence) = (predicted[at] as u32, predicted_confidence[at]);
                (row.pseudo_label, row.pseudo_label_confidence) = (classes[at] as u32, confidence[at]);
                row.accepted = accepted[at] == 1;
                row.confident = confident[at] == 1;
            }
        }
        Ok(Readback { counts, steps, ledger_inputs, thumbnails })
    }
}

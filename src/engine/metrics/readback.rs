//! Readback: keeps step results on the device and copies those of many steps to the host at once, in one copy that
//! no step waits for.

use crate::engine::metrics::counts::Counts;
use crate::engine::metrics::network::Predictions;
use sluicebox_core::error::Result;
use sluicebox_core::report::thumbnail::{Candidate, Thumbnail};
use sluicebox_core::step::{LedgerInput, Prediction};
use sluicebox_learn::device::download::Download;
use sluicebox_learn::messages::{StepResult, outcome};
use sluicebox_learn::torch::TorchResult;
use tch::Tensor;

/// Step results since the last fetch.
#[derive(Default)]
pub struct DeviceQueue {
    known: Known,
    measures: Vec<Tensor>,
    classes: Vec<Tensor>,
    predicted: Vec<Tensor>,
    /// As `predicted`, of the network alone; filled from the first step on at which it is not the answer.
    network: Option<Vec<Tensor>>,
    predicted_confidence: Vec<Tensor>,
    /// Whether the job's two networks disagree; empty where it has one.
    disagreed: Vec<Tensor>,
    /// `[1]` i64 of each step whose labels may be corrected.
    corrected: Vec<Tensor>,
    confidence: Vec<Tensor>,
    accepted: Vec<Tensor>,
    /// `[F]` of each step; none of a step without samples.
    features: Vec<Tensor>,
    /// Filled only if each sample's pseudo-label is needed.
    confident: Vec<Tensor>,
}

/// What is known of the steps without a fetch.
#[derive(Default)]
struct Known {
    counts: Counts,
    truth: Vec<i32>,
    /// Number of samples of each step.
    sizes: Vec<usize>,
    /// Number of steps with samples that were not judged.
    unjudged: u64,
    /// Whether agreement was measured.
    compared: bool,
    /// Candidates for thumbnails, each with its position among all samples here.
    candidates: Vec<(usize, Candidate)>,
    ledger_inputs: Vec<LedgerInput>,
}

/// Step results on their way to the host.
pub struct Fetch {
    known: Known,
    /// Whether the predictions of the network alone are among the results.
    with_network: bool,
    /// Whether disagreement of two networks is among them.
    with_disagreed: bool,
    /// Whether numbers of corrected labels are.
    with_corrected: bool,
    /// None if there was no step but a barrier.
    results: Option<Download>,
    /// The first step after them.
    next: u64,
}

/// Sums over one step: samples, right answers, the teacher's mean confidence and mean features.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepSum {
    /// Number of samples.
    pub samples: u64,
    /// Number of samples whose class is known.
    pub known: u32,
    /// Number of samples that were answered correctly.
    pub right: u32,
    /// Mean confidence of the pseudo-labels; none if the step had no sample, or the features are not finite.
    pub confidence: Option<f64>,
    /// `[F]`: mean of the teacher's features.
    pub features: Vec<f32>,
    /// What came of its updates.
    pub outcome: f32,
}

/// Results of steps, read on the host.
#[derive(Default)]
pub struct Readback {
    /// The first step after them.
    pub next: u64,
    /// Counts over all steps.
    pub counts: Counts,
    /// Predictions of the network alone over all steps.
    pub network: Predictions,
    /// Number of samples for which the job's two networks disagree, and of all that both judged.
    pub disagreed: [u64; 2],
    /// Number of labelled samples learned with another class than their label; none where labels are not corrected.
    pub corrected: Option<u64>,
    /// Sums of each step.
    pub steps: Vec<StepSum>,
    /// Number of steps with samples that were not judged.
    pub unjudged: u64,
    /// The ledger's input for each step, if a ledger or a sink needs the predictions.
    pub ledger_inputs: Vec<LedgerInput>,
    /// Thumbnails; the caller sets their epoch.
    pub thumbnails: Vec<Thumbnail>,
}

impl DeviceQueue {
    /// Adds a step result; with the predictions of its samples if `each_sample`.
    pub fn add(&mut self, result: &mut StepResult, each_sample: bool) {
        let known = &mut self.known;
        let info = &mut result.info;
        let notes = &mut info.notes;
        if !info.barrier {
            for candidate in notes.candidates.drain(..) {
                let at = candidate.at.map(|at| known.truth.len() + at);
                known.candidates.extend(at.map(|at| (at, candidate)));
            }
            self.measures.push(result.measures.shallow_clone());
            self.classes.push(result.class.shallow_clone());
            let (answer, network) = (&result.filter_stats.predicted, &result.filter_stats.network_predicted);
            if network.is_some() && self.network.is_none() {
                self.network = Some(self.predicted.iter().map(Tensor::shallow_clone).collect());
            }
            if let Some(list) = &mut self.network {
                list.push(network.as_ref().unwrap_or(answer).shallow_clone());
            }
            self.predicted.push(answer.shallow_clone());
            self.predicted_confidence.push(result.filter_stats.predicted_confidence.shallow_clone());
            self.disagreed.extend(result.filter_stats.disagreed.as_ref().map(Tensor::shallow_clone));
            self.corrected.extend(result.filter_stats.corrected.as_ref().map(Tensor::shallow_clone));
            self.confidence.push(result.confidence.shallow_clone());
            self.accepted.push(result.accepted.shallow_clone());
            let features = &result.filter_stats.features;
            self.features.push(match info.ids.len() {
                // The mean over no sample is none; it has no dimension where the features have no rows.
                0 => features.reshape([-1]).narrow(0, 0, 0),
                _ => features.shallow_clone(),
            });
            known.truth.extend(notes.truth.reveal());
            known.sizes.push(info.ids.len());
            known.unjudged += u64::from(!info.judged && !info.ids.is_empty());
            known.compared |= result.compared;
            known.counts.steps += 1;
            known.counts.samples += info.ids.len() as u64;
            known.counts.add_sources(&notes.taken);
            known.counts.student_samples += result.student_samples;
            known.counts.labelled_samples += result.labelled_samples;
            known.counts.lag += info.step + 1 - result.teacher_step.min(info.step + 1);
        }
        if !each_sample {
            return;
        }
        if !info.barrier {
            self.confident.push(result.confident.shallow_clone());
        }
        let (position, cut_ms) = (notes.position, notes.cut_ms);
        let row = |at: usize| Prediction {
            id: info.id(at),
            class: 0,
            confidence: 0.0,
            pseudo_label: 0,
            pseudo_label_confidence: 0.0,
            accepted: false,
            confident: false,
            networks_agree: None,
            teacher_step: result.teacher_step,
        };
        known.ledger_inputs.push(LedgerInput {
            step: info.step,
            position,
            cut_ms,
            labels: info.labels.clone(),
            rows: (0..info.ids.len()).map(row).collect(),
            barrier: info.barrier,
            ends_epoch: info.ends_epoch,
            snapshot: info.snapshot.is_some(),
        });
    }

    /// Number of steps.
    pub fn steps(&self) -> u64 {
        self.known.counts.steps
    }

    /// Starts to copy the results to the host. `next` is the first step after them.
    pub fn fetch(self, next: u64) -> Result<Fetch> {
        let mut lists: Vec<&[Tensor]> = vec![
            &self.classes,
            &self.predicted,
            &self.measures,
            &self.confidence,
            &self.features,
            &self.accepted,
        ];
        lists.extend(self.network.as_deref());
        let with_disagreed = !self.disagreed.is_empty();
        lists.extend(with_disagreed.then_some(&self.disagreed[..]));
        let with_corrected = !self.corrected.is_empty();
        lists.extend(with_corrected.then_some(&self.corrected[..]));
        if !self.confident.is_empty() {
            lists.extend([&self.predicted_confidence[..], &self.confident[..]]);
        }
        let results = (self.steps() > 0).then(|| Download::start(&lists)).transpose()?;
        let with_network = self.network.is_some();
        Ok(Fetch { known: self.known, with_network, with_disagreed, with_corrected, results, next })
    }
}

impl Fetch {
    /// Number of steps.
    pub fn steps(&self) -> u64 {
        self.known.counts.steps
    }

    /// Returns the results, once the copy is done.
    pub fn read(self) -> Result<Readback> {
        let Self { known, with_network, with_disagreed, with_corrected, results, next } = self;
        let Known { mut counts, truth, sizes, unjudged, compared, candidates, mut ledger_inputs } = known;
        let Some(results) = results else {
            return Ok(Readback { next, ledger_inputs, ..Readback::default() });
        };
        let lists = results.read()?;
        let classes: Vec<i64> = (&lists[0]).try_into().torch()?;
        let predicted: Vec<i64> = (&lists[1]).try_into().torch()?;
        let measures: Vec<f32> = (&lists[2]).try_into().torch()?;
        let confidence: Vec<f32> = (&lists[3]).try_into().torch()?;
        let features: Vec<f32> = (&lists[4]).try_into().torch()?;
        let accepted: Vec<bool> = (&lists[5]).try_into().torch()?;
        let (network, rest) = lists[6..].split_at(usize::from(with_network));
        let (disagreed, rest) = rest.split_at(usize::from(with_disagreed));
        let (corrected, each_sample) = rest.split_at(usize::from(with_corrected));
        let corrected: Option<Vec<i64>> =
            corrected.first().map(|list| list.try_into().torch()).transpose()?;
        let corrected = corrected.map(|steps| steps.into_iter().sum::<i64>().unsigned_abs());
        let disagreed: Option<Vec<bool>> =
            disagreed.first().map(|list| list.try_into().torch()).transpose()?;
        let network: Option<Vec<i64>> = network.first().map(|list| list.try_into().torch()).transpose()?;
        let network = network.as_ref().unwrap_or(&predicted);
        let measures = measures.as_chunks::<5>().0;
        for step in measures.iter().filter(|step| step[4] == outcome::UPDATED) {
            counts.losses[0] += f64::from(step[0]);
            counts.losses[1] += f64::from(step[1]);
            counts.gradient_norm += f64::from(step[2]);
            counts.agreed += f64::from(step[3]);
        }
        let truth = |at: usize| u32::try_from(truth[at]).ok();
        let mut alone = Predictions::default();
        let mut steps = Vec::with_capacity(sizes.len());
        let mut first = 0;
        let scored = sizes.iter().filter(|size| **size > 0).count();
        let mut features = features.chunks((features.len() / scored.max(1)).max(1));
        for (at, size) in sizes.iter().enumerate() {
            let outcome = measures.get(at).map_or(outcome::NOTHING, |step| step[4]);
            let before = (counts.known, counts.right, counts.confidence);
            for at in first..first + size {
                let given = (classes[at] as usize, predicted[at] as usize);
                match confidence[at].is_finite() {
                    true => counts.add_sample(given, truth(at), confidence[at], accepted[at]),
                    false => counts.add_unanswered(truth(at)),
                }
                alone.right += u64::from(truth(at) == Some(network[at] as u32));
            }
            let features = match size {
                0 => Vec::new(),
                _ => features.next().unwrap_or_default().to_vec(),
            };
            let finite = features.iter().all(|feature| feature.is_finite());
            steps.push(StepSum {
                samples: *size as u64,
                known: (counts.known - before.0) as u32,
                right: (counts.right - before.1) as u32,
                confidence: (*size > 0 && finite).then(|| (counts.confidence - before.2) / *size as f64),
                features,
                outcome,
            });
            first += size;
        }
        counts.compared = if compared { counts.accepted } else { 0 };
        alone.known = counts.known;
        let thumbnail = |(at, candidate): (usize, Candidate)| Thumbnail {
            id: candidate.id,
            epoch: 0,
            given: classes[at] as u32,
            confidence: confidence[at],
            accepted: accepted[at],
            truth: truth(at),
            shape: candidate.shape,
            pixels: candidate.pixels,
        };
        let thumbnails = candidates.into_iter().map(thumbnail).collect();
        if let [predicted_confidence, confident] = each_sample {
            let predicted_confidence: Vec<f32> = predicted_confidence.try_into().torch()?;
            let confident: Vec<bool> = confident.try_into().torch()?;
            for (at, row) in ledger_inputs.iter_mut().flat_map(|input| &mut input.rows).enumerate() {
                (row.class, row.confidence) = (predicted[at] as u32, predicted_confidence[at]);
                (row.pseudo_label, row.pseudo_label_confidence) = (classes[at] as u32, confidence[at]);
                row.accepted = accepted[at];
                row.confident = confident[at];
                row.networks_agree = disagreed.as_ref().map(|disagreed| !disagreed[at]);
            }
        }
        let disagreed = disagreed.map_or([0, 0], |each| {
            [each.iter().filter(|disagreed| **disagreed).count() as u64, each.len() as u64]
        });
        let network = alone;
        Ok(Readback {
            next,
            counts,
            network,
            disagreed,
            corrected,
            steps,
            unjudged,
            ledger_inputs,
            thumbnails,
        })
    }
}

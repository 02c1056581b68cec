//! A step in parts, one per worker. Worker 0 cuts a step into parts, puts what the teachers say of them together, and deals out
//! what passed the filter, so that every worker trains on as much. The parts are ranges in the order of the samples: put
//! together they are the step.

use crate::messages::{
    Batch, FurtherUpdates, LabelledBatch, LabelledScores, Scored, Scores, Selected, Share, TrainingBatch,
    ViewScores,
};
use crate::pseudo_labels::FilterStats;
use crate::stages::team::range;
use crate::standardise::Scale;
use sluicebox_core::error::{Error, Result};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Cuts steps into parts and puts them together.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The workers' devices; that of worker 0 is where a step is whole.
    pub devices: Vec<Device>,
}

impl Parts {
    /// Cuts a step into parts. Worker 0 gets the step's metadata; what is not needed for scores stays in the batch.
    pub fn of_batch(&self, mut whole: Batch) -> (Vec<Batch>, Batch) {
        let beside = whole.info.for_worker();
        let mut info = Some(std::mem::take(&mut whole.info));
        let part = |(index, device): (usize, &Device)| Batch {
            info: info.take().unwrap_or_else(|| beside.for_worker()),
            labelled: whole.labelled.as_ref().map(|labelled| self.labelled(labelled, index)),
            further: whole.further.as_ref().map(|further| self.further(further, index)),
            unlabelled: rows(&whole.unlabelled, &self.range(&whole.unlabelled, index), *device),
            scale: whole.scale.as_ref().map(|scale| scale_on(scale, *device)),
            adapt: None,
        };
        let mut parts: Vec<Batch> = self.devices.iter().enumerate().map(part).collect();
        parts[0].adapt = whole.adapt.take();
        (parts, whole)
    }

    /// Puts the parts' scores together, in the order of the workers.
    pub fn join(&self, whole: Batch, mut parts: Vec<Scored>) -> Result<Scored> {
        let first = parts.first_mut().ok_or_else(|| Error::Engine("a step without parts".into()))?;
        let (info, adapt) = (std::mem::take(&mut first.batch.info), first.batch.adapt.take());
        let (fresh, blank, teacher_step) = (first.fresh.take(), first.blank.take(), first.teacher_step);
        if let Some(other) = parts.iter().find(|part| part.teacher_step != teacher_step) {
            let reason =
                format!("workers score with the teachers of {teacher_step} and {}", other.teacher_step);
            return Err(Error::Engine(reason));
        }
        let all = |of: fn(&Scored) -> Option<&Tensor>| self.together(parts.iter().filter_map(of));
        let views = parts[0].scores.unlabelled.len();
        let view = |at: usize| self.together(parts.iter().map(|part| &part.scores.unlabelled[at]));
        let labelled = |of: fn(&LabelledScores) -> &Tensor| {
            self.together(parts.iter().filter_map(|part| part.scores.labelled.as_ref()).map(of))
        };
        let augmented = all(|part| part.batch.labelled.as_ref().map(|labelled| &labelled.input));
        let scored_labels = whole.labelled.as_ref().filter(|_| parts[0].scores.labelled.is_some());
        let head = |at: usize| self.together(parts.iter().map(|part| &part.scores.heads[at]));
        let labelled_head = |at: usize| {
            let scores = parts.iter().filter_map(|part| part.scores.labelled.as_ref());
            self.together(scores.map(|scores| &scores.heads[at]))
        };
        let labelled_heads = parts[0].scores.labelled.as_ref().map_or(0, |scores| scores.heads.len());
        let further_views = parts[0].scores.labelled.as_ref().map_or(0, |scores| scores.further.len());
        let labelled_view = |of: &dyn Fn(&ViewScores) -> &Tensor, at: usize| {
            let scores = parts.iter().filter_map(|part| part.scores.labelled.as_ref());
            self.together(scores.map(|scores| of(&scores.further[at])))
        };
        let scores = Scores {
            step: info.step,
            heads: (0..parts[0].scores.heads.len()).map(head).collect(),
            alarm: info.decay_replay,
            unlabelled: (0..views).map(view).collect(),
            input: all(|part| Some(&part.scores.input)),
            labelled: scored_labels.map(|whole| LabelledScores {
                probabilities: labelled(|scores| &scores.probabilities),
                features: labelled(|scores| &scores.features),
                heads: (0..labelled_heads).map(labelled_head).collect(),
                input: augmented.shallow_clone(),
                classes: whole.classes.shallow_clone(),
                keys: whole.keys.clone(),
                further: (0..further_views)
                    .map(|at| ViewScores {
                        probabilities: labelled_view(&|view| &view.probabilities, at),
                        features: labelled_view(&|view| &view.features, at),
                    })
                    .collect(),
            }),
            features: all(|part| Some(&part.scores.features)),
            ledger_stats: None,
        };
        let labelled = whole.labelled.map(|labelled| {
            let views = |part: &Scored| part.batch.labelled.as_ref().map_or(0, |part| part.further.len());
            let view = |at: usize| {
                self.together(parts.iter().filter_map(|part| part.batch.labelled.as_ref()?.further.get(at)))
            };
            let further = (0..parts.first().map_or(0, views)).map(view).collect();
            LabelledBatch { input: augmented, further, ..labelled }
        });
        let further = whole.further.map(|further| self.join_further(further, &parts));
        let Batch { unlabelled, scale, .. } = whole;
        let batch = Batch { info, labelled, further, unlabelled, scale, adapt };
        Ok(Scored { batch, scores, fresh, blank, teacher_step })
    }

    /// Deals out the samples that were selected.
    pub fn of_selected(&self, selected: Selected) -> Vec<Selected> {
        let Selected { samples, training_batch: mut whole } = selected;
        let all = samples.size()[0];
        let index =
            whole.index.take().unwrap_or_else(|| Tensor::arange(all, (Kind::Int64, samples.device())));
        let share = Share {
            workers: self.devices.len(),
            labelled: match (&whole.labelled, &whole.further) {
                (Some(labelled), _) => labelled.keys.len() as u64,
                (None, further) => further.as_ref().map_or(0, |further| further.each as u64),
            },
            selected: all as u64,
        };
        let beside = whole.info.for_worker();
        let mut info = Some(std::mem::take(&mut whole.info));
        let mut correction = whole.correction.take();
        let nothing = || FilterStats::none(samples.device());
        let mut filter_stats = Some(std::mem::replace(&mut whole.filter_stats, nothing()));
        let part = |(at, device): (usize, &Device)| {
            let own = range(all, share.workers, at);
            Selected {
                samples: rows(&samples, &own, *device),
                training_batch: TrainingBatch {
                    info: info.take().unwrap_or_else(|| beside.for_worker()),
                    labelled: whole.labelled.as_ref().map(|labelled| self.labelled(labelled, at)),
                    further: whole.further.as_ref().map(|further| self.further(further, at)),
                    strong: Vec::new(),
                    index: Some(rows(&index, &own, *device)),
                    pseudo_labels: whole.pseudo_labels.on(*device),
                    filter_stats: filter_stats.take().unwrap_or_else(nothing),
                    correction: correction.take(),
                    scale: whole.scale.as_ref().map(|scale| scale_on(scale, *device)),
                    teacher_step: whole.teacher_step,
                    share: Some(share),
                },
            }
        };
        self.devices.iter().enumerate().map(part).collect()
    }

    fn range(&self, rows: &Tensor, index: usize) -> Range<i64> {
        range(rows.size()[0], self.devices.len(), index)
    }

    fn together<'a>(&self, parts: impl Iterator<Item = &'a Tensor>) -> Tensor {
        let parts: Vec<Tensor> = parts.map(|part| part.to_device(self.devices[0])).collect();
        match parts.is_empty() {
            true => Tensor::zeros([0], (Kind::Float, self.devices[0])),
            false => Tensor::cat(&parts, 0),
        }
    }

    fn labelled(&self, whole: &LabelledBatch, index: usize) -> LabelledBatch {
        let (own, device) = (self.range(&whole.classes, index), self.devices[index]);
        LabelledBatch {
            input: rows(&whole.input, &own, device),
            classes: rows(&whole.classes, &own, device),
            keys: whole.keys[own.start as usize..own.end as usize].to_vec(),
            class_weights: whole.class_weights.as_ref().map(|weights| weights.to_device(device)),
            further: whole.further.iter().map(|view| rows(view, &own, device)).collect(),
            judged: whole.judged.as_ref().map(|judged| judged.map(|tensor| rows(tensor, &own, device))),
        }
    }

    /// Returns the worker's part of each update.
    fn further(&self, whole: &FurtherUpdates, index: usize) -> FurtherUpdates {
        let device = self.devices[index];
        let own = range(whole.each as i64, self.devices.len(), index);
        let of_each = |tensor: &Tensor| {
            let updates: Vec<Tensor> = tensor.split(whole.each as i64, 0);
            let parts: Vec<Tensor> = updates.iter().map(|update| rows(update, &own, device)).collect();
            Tensor::cat(&parts, 0)
        };
        let LabelledBatch { input, classes, keys, class_weights, .. } = &whole.labelled;
        let keys = keys.chunks(whole.each).flat_map(|keys| &keys[own.start as usize..own.end as usize]);
        FurtherUpdates {
            labelled: LabelledBatch {
                input: of_each(input),
                classes: of_each(classes),
                keys: keys.copied().collect(),
                class_weights: class_weights.as_ref().map(|weights| weights.to_device(device)),
                further: Vec::new(),
                judged: None,
            },
            each: (own.end - own.start) as usize,
            warm_up: whole.warm_up,
        }
    }

    fn join_further(&self, whole: FurtherUpdates, parts: &[Scored]) -> FurtherUpdates {
        let parts: Vec<Vec<Tensor>> = parts
            .iter()
            .filter_map(|part| part.batch.further.as_ref().filter(|further| further.each > 0))
            .map(|further| further.labelled.input.split(further.each as i64, 0))
            .collect();
        let updates = parts.first().map_or(0, Vec::len);
        let input =
            self.together((0..updates).flat_map(|update| parts.iter().map(move |part| &part[update])));
        FurtherUpdates { labelled: LabelledBatch { input, ..whole.labelled }, ..whole }
    }
}

fn rows(tensor: &Tensor, range: &Range<i64>, device: Device) -> Tensor {
    tensor.narrow(0, range.start, range.end - range.start).to_device(device)
}

fn scale_on(scale: &Scale, device: Device) -> Scale {
    Scale { mean: scale.mean.to_device(device), deviation: scale.deviation.to_device(device) }
}

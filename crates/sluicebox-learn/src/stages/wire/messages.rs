//! The messages of a step that cross processes. What worker 0 has of a step, and nobody else needs, stays there: of a part's
//! scores only what the teacher computed and the augmented samples go back.

use crate::messages::{
    Batch, FurtherUpdates, LabelledBatch, LabelledScores, Scored, Scores, Selected, Share, TrainingBatch,
    ViewScores,
};
use crate::pseudo_labels::{FilterStats, JudgedLabels, PseudoLabels, Target};
use crate::stages::effort::Effort;
use crate::stages::wire::{Bytes, Wire, damaged};
use crate::standardise::Scale;
use sluicebox_core::error::Result;
use sluicebox_core::step::StepInfo;
use tch::{Kind, Tensor};

/// Implements [`Wire`] for structs whose fields cross in their order; those after `..` are given.
macro_rules! fields {
    ($message:ident { $($field:ident),+ $(; $($other:ident: $value:expr),+)? }) => {
        impl Wire for $message {
            fn append_to(&self, bytes: &mut Vec<u8>) {
                $(self.$field.append_to(bytes);)+
            }

            fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
                Ok(Self { $($field: Wire::read_from(bytes)?,)+ $($($other: $value,)+)? })
            }
        }
    };
}

fields!(Effort { samples, stages_s, waited_s, exchanged_bytes });
fields!(Scale { mean, deviation });
fields!(Share { workers, labelled, selected });
fields!(ViewScores { probabilities, features });
fields!(JudgedLabels { target, weight, rows });
fields!(LabelledBatch { input, classes, keys, class_weights, further, judged });
fields!(FurtherUpdates { labelled, each, warm_up });
fields!(Batch { info, labelled, further, unlabelled, scale; adapt: None });
fields!(PseudoLabels {
    class,
    confidence,
    target,
    weight,
    confident,
    threshold,
    rows,
    further,
    constants,
    labelled
});
fields!(Selected { samples, training_batch });

impl Wire for StepInfo {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.step.append_to(bytes);
        self.ids.append_to(bytes);
        let flags = [self.judged, self.barrier, self.compared, self.decay_replay, self.ends_phase];
        flags.iter().for_each(|is| is.append_to(bytes));
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let (step, ids) = (u64::read_from(bytes)?, Vec::read_from(bytes)?);
        let (judged, barrier, compared) =
            (bool::read_from(bytes)?, bool::read_from(bytes)?, bool::read_from(bytes)?);
        let (decay_replay, ends_phase) = (bool::read_from(bytes)?, bool::read_from(bytes)?);
        Ok(Self { step, ids, judged, barrier, compared, decay_replay, ends_phase, ..Self::default() })
    }
}

impl Wire for Target {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let (is_hard, Target::Hard(tensor) | Target::Soft(tensor)) = (matches!(self, Target::Hard(_)), self);
        is_hard.append_to(bytes);
        tensor.append_to(bytes);
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let is_hard = bool::read_from(bytes)?;
        let tensor = Tensor::read_from(bytes)?;
        Ok(if is_hard { Target::Hard(tensor) } else { Target::Soft(tensor) })
    }
}

impl Wire for TrainingBatch {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.info.append_to(bytes);
        self.labelled.append_to(bytes);
        self.further.append_to(bytes);
        self.index.append_to(bytes);
        self.pseudo_labels.append_to(bytes);
        self.scale.append_to(bytes);
        self.teacher_step.append_to(bytes);
        self.share.append_to(bytes);
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let info = StepInfo::read_from(bytes)?;
        let (labelled, further) = (Wire::read_from(bytes)?, Wire::read_from(bytes)?);
        let (index, pseudo_labels) = (Wire::read_from(bytes)?, Wire::read_from(bytes)?);
        let (scale, teacher_step, share) =
            (Wire::read_from(bytes)?, Wire::read_from(bytes)?, Wire::read_from(bytes)?);
        let (strong, filter_stats, correction) = (Vec::new(), FilterStats::none(bytes.device), None);
        let labels = pseudo_labels;
        Ok(Self {
            info,
            labelled,
            further,
            strong,
            index,
            pseudo_labels: labels,
            filter_stats,
            correction,
            scale,
            teacher_step,
            share,
        })
    }
}

impl Wire for Scored {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let Self { batch, scores, teacher_step, .. } = self;
        batch.info.step.append_to(bytes);
        teacher_step.append_to(bytes);
        batch.labelled.as_ref().map(|labelled| labelled.input.shallow_clone()).append_to(bytes);
        batch.labelled.as_ref().map_or(&Vec::new(), |labelled| &labelled.further).append_to(bytes);
        batch.further.as_ref().map(|further| further.labelled.input.shallow_clone()).append_to(bytes);
        batch.further.as_ref().map_or(0, |further| further.each).append_to(bytes);
        scores.unlabelled.append_to(bytes);
        scores.input.append_to(bytes);
        scores.features.append_to(bytes);
        scores.heads.append_to(bytes);
        let of_labelled = scores.labelled.as_ref();
        of_labelled.map(|scores| scores.probabilities.shallow_clone()).append_to(bytes);
        of_labelled.map(|scores| scores.features.shallow_clone()).append_to(bytes);
        let heads = |scores: &LabelledScores| scores.heads.iter().map(Tensor::shallow_clone).collect();
        of_labelled.map_or_else(Vec::new, heads).append_to(bytes);
        of_labelled.map_or(&Vec::new(), |scores| &scores.further).append_to(bytes);
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let device = bytes.device;
        let nothing = || Tensor::zeros([0], (Kind::Float, device));
        let of_input = |input: Tensor| LabelledBatch {
            input,
            classes: Tensor::zeros([0], (Kind::Int64, device)),
            keys: Vec::new(),
            class_weights: None,
            further: Vec::new(),
            judged: None,
        };
        let (step, teacher_step) = (u64::read_from(bytes)?, u64::read_from(bytes)?);
        let labelled = Option::<Tensor>::read_from(bytes)?.map(of_input);
        let labelled_views = Vec::read_from(bytes)?;
        let labelled = labelled.map(|labelled| LabelledBatch { further: labelled_views, ..labelled });
        let further = Option::<Tensor>::read_from(bytes)?.map(of_input);
        let each = usize::read_from(bytes)?;
        let further = further.map(|labelled| FurtherUpdates { labelled, each, warm_up: 0 });
        let (unlabelled, input, features) =
            (Wire::read_from(bytes)?, Wire::read_from(bytes)?, Wire::read_from(bytes)?);
        let heads = Vec::read_from(bytes)?;
        let of_labelled = (Option::read_from(bytes)?, Option::read_from(bytes)?);
        let labelled_heads = Vec::read_from(bytes)?;
        let view_scores = Vec::read_from(bytes)?;
        let of_labelled = match of_labelled {
            (Some(probabilities), Some(features)) => Some(LabelledScores {
                probabilities,
                features,
                heads: labelled_heads,
                input: nothing(),
                classes: Tensor::zeros([0], (Kind::Int64, device)),
                keys: Vec::new(),
                further: view_scores,
            }),
            (None, None) => None,
            _ => return Err(damaged()),
        };
        let info = StepInfo { step, ..StepInfo::default() };
        let batch = Batch { info, labelled, further, unlabelled: nothing(), scale: None, adapt: None };
        let scores = Scores {
            step,
            unlabelled,
            input,
            labelled: of_labelled,
            features,
            heads,
            alarm: false, // worker 0 knows
            ledger_stats: None,
        };
        Ok(Self { batch, scores, fresh: None, blank: None, teacher_step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::wire::{from_bytes, to_bytes};
    use std::collections::BTreeMap;
    use tch::Device;

    fn rows(count: i64) -> Tensor {
        Tensor::arange(count * 3, (Kind::Float, Device::Cpu)).view([count, 3]) / 7.0
    }

    fn labelled(count: i64) -> LabelledBatch {
        let classes = Tensor::arange(count, (Kind::Int64, Device::Cpu));
        let judged =
            JudgedLabels { weight: Some(rows(count).select(1, 1)), ..JudgedLabels::as_given(&classes) };
        LabelledBatch {
            input: rows(count),
            classes,
            keys: vec![7; count as usize],
            class_weights: None,
            further: vec![rows(count)],
            judged: Some(judged),
        }
    }

    fn info() -> StepInfo {
        StepInfo { step: 9, ids: vec![4, 5], judged: true, compared: true, ..StepInfo::default() }
    }

    #[test]
    fn what_is_dealt_comes_as_it_was() {
        let pseudo_labels = PseudoLabels {
            rows: BTreeMap::from([("easy", rows(2))]),
            further: Some("easy"),
            ..PseudoLabels::soft(
                rows(2),
                rows(2).select(1, 0),
                rows(2).argmax(1, false),
                rows(2).select(1, 1),
            )
        };
        let share = Share { workers: 2, labelled: 3, selected: 2 };
        let training_batch = TrainingBatch {
            info: info(),
            labelled: Some(labelled(2)),
            further: Some(FurtherUpdates { labelled: labelled(4), each: 2, warm_up: 1 }),
            strong: Vec::new(),
            index: Some(Tensor::from_slice(&[1i64])),
            pseudo_labels,
            filter_stats: FilterStats::none(Device::Cpu),
            correction: None,
            scale: Some(Scale { mean: rows(1), deviation: rows(1) }),
            teacher_step: 8,
            share: Some(share),
        };
        let sent = Selected { samples: rows(2), training_batch };
        let bytes = to_bytes(&sent);
        let Selected { samples, training_batch: got } = from_bytes(&bytes, Device::Cpu).unwrap();
        assert!(samples.equal(&sent.samples));
        assert_eq!(
            (got.info.step, got.info.ids, got.info.judged, got.info.compared),
            (9, vec![4, 5], true, true)
        );
        let labelled = got.labelled.unwrap();
        assert_eq!((labelled.keys, got.share, got.teacher_step), (vec![7; 2], Some(share), 8));
        let judged = labelled.judged.unwrap();
        assert!(matches!(&judged.target, Target::Hard(classes) if classes.equal(&labelled.classes)));
        assert!(judged.weight.unwrap().equal(&rows(2).select(1, 1)) && labelled.further[0].equal(&rows(2)));
        let further = got.further.unwrap();
        assert_eq!((further.each, further.warm_up, further.labelled.input.size()), (2, 1, vec![4, 3]));
        assert!(got.pseudo_labels.rows["easy"].equal(&rows(2)) && got.pseudo_labels.further == Some("easy"));
        assert!(matches!(&got.pseudo_labels.target, Target::Soft(target) if target.equal(&rows(2))));
        for end in 0..bytes.len() {
            assert!(from_bytes::<Selected>(&bytes[..end], Device::Cpu).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn of_scores_only_what_was_computed_goes_back() {
        let batch = Batch {
            info: info(),
            labelled: Some(labelled(2)),
            further: None,
            unlabelled: rows(1000),
            scale: None,
            adapt: None,
        };
        let scores = Scores {
            step: 9,
            unlabelled: vec![rows(2), rows(2)],
            input: rows(0),
            labelled: Some(LabelledScores {
                probabilities: rows(2),
                features: rows(2),
                heads: Vec::new(),
                input: rows(0),
                classes: rows(0),
                keys: Vec::new(),
                further: vec![ViewScores { probabilities: rows(2), features: rows(1) }],
            }),
            features: rows(2),
            heads: vec![rows(3)],
            alarm: false,
            ledger_stats: None,
        };
        let bytes = to_bytes(&Scored { batch, scores, fresh: None, blank: None, teacher_step: 8 });
        assert!(bytes.len() < 700, "{}", bytes.len());
        let got: Scored = from_bytes(&bytes, Device::Cpu).unwrap();
        assert_eq!((got.teacher_step, got.scores.step, got.scores.unlabelled.len()), (8, 9, 2));
        let labelled = got.batch.labelled.unwrap();
        assert!(labelled.input.equal(&rows(2)) && labelled.further[0].equal(&rows(2)));
        let views = got.scores.labelled.unwrap().further;
        assert!(
            views.len() == 1 && views[0].probabilities.equal(&rows(2)) && views[0].features.equal(&rows(1))
        );
        assert!(got.scores.features.equal(&rows(2)));
        assert!(got.scores.heads.len() == 1 && got.scores.heads[0].equal(&rows(3)));
    }
}

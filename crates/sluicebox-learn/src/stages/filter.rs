//! The filter stage: makes pseudo-labels and passes on only the samples that the method accepts.

use crate::adapt::correction_fit::CorrectionFit;
use crate::device::upload;
use crate::messages::{Batch, Scored, Selected, TrainingBatch};
use crate::method::api::{Method, PseudoLabeller};
use crate::pseudo_labels::{FilterStats, PseudoLabels};
use crate::stages::gate::Gate;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Section, Sections, Stateful};
use tch::{Device, Kind, Tensor};

/// Treatment of rejected samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `filter` on a CPU; `mask` on a GPU, where reading back the number of accepted samples would
    /// make every step wait for the device.
    #[default]
    Auto,
    /// Drops them: no strong view, no forward pass.
    Filter,
    /// Keeps them with weight 0, as in the reference code: shapes are static, and batch norm sees them.
    Mask,
}

/// The filter stage's state: that of the pseudo-labeller, the prior correction and the gate.
pub struct Filter {
    /// Makes the pseudo-labels.
    pub pseudo_labeller: Box<dyn PseudoLabeller>,
    /// Makes answers of the teacher's probabilities, in jobs that change them.
    pub correction_fit: Option<CorrectionFit>,
    /// Confidence gate calibrated by late labels, in jobs that use one.
    pub gate: Option<Gate>,
    ledger_stats: bool,
    mask: bool,
}

impl Filter {
    /// Creates a filter for a device.
    pub fn new(method: &dyn Method, mode: Mode, device: Device) -> Self {
        let mask = mode == Mode::Mask || (mode == Mode::Auto && device != Device::Cpu);
        let (pseudo_labeller, ledger_stats) = (method.pseudo_labeller(), method.views().ledger_stats);
        Self { pseudo_labeller, correction_fit: None, gate: None, ledger_stats, mask }
    }

    /// Returns whether a step waits for its ledger statistics.
    pub fn waits(&self) -> bool {
        self.ledger_stats || self.gate.is_some()
    }

    /// Saves the method, the prior correction and the gate.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Method, self.pseudo_labeller.save()?);
        if let Some(correction_fit) = &self.correction_fit {
            sections.put(Section::Answers, correction_fit.save()?);
        }
        if let Some(gate) = &self.gate {
            sections.put(Section::Gate, gate.save()?);
        }
        Ok(())
    }

    /// Restores the method and the gate. The answers are restored before, together with the experts that
    /// they are built on.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        self.pseudo_labeller.load(sections.require(Section::Method)?)?;
        let gate = self.gate.as_mut().zip(sections.get(Section::Gate));
        gate.map_or(Ok(()), |(gate, held)| gate.load(held))
    }

    /// Corrects, judges and filters a step.
    pub fn judge(&mut self, scored: Scored) -> Result<Selected> {
        let Scored { batch, mut scores, fresh, teacher_step } = scored;
        let Batch { mut info, labelled, unlabelled, adapt } = batch;
        let mut network_predicted = None;
        let correction = match (&mut self.correction_fit, &adapt) {
            (Some(correction_fit), Some(adapt)) if info.is_empty() => tch::no_grad(|| {
                correction_fit.score_labels(adapt, fresh.as_ref());
                correction_fit.correction(adapt)
            }),
            (Some(correction_fit), Some(adapt)) => tch::no_grad(|| {
                let correction = correction_fit.learn(&scores.unlabelled[0], adapt, fresh.as_ref())?;
                network_predicted = Some(scores.unlabelled[0].argmax(1, false));
                let views = scores.unlabelled.iter_mut();
                views.for_each(|rows| *rows = correction.answer(rows, adapt.answers.as_ref()));
                Some(correction)
            }),
            _ => None,
        };
        let mut pseudo_labels = match info.is_empty() {
            true => PseudoLabels::none(unlabelled.device()),
            false => tch::no_grad(|| self.pseudo_labeller.pseudo_label(&scores)),
        };
        let (predicted_confidence, predicted) = match info.is_empty() {
            true => (pseudo_labels.confidence.shallow_clone(), pseudo_labels.class.shallow_clone()),
            false => scores.unlabelled[0].max_dim(1, false),
        };
        let filter_stats = tch::no_grad(|| FilterStats {
            predicted,
            predicted_confidence,
            network_predicted,
            features: scores.features.mean_dim(0, false, Kind::Float),
            gate: match &mut self.gate {
                Some(gate) if !info.barrier => {
                    gate.learn(
                        scores.ledger_stats.as_ref().map_or(&[], |ledger_stats| &ledger_stats.newly_met),
                    );
                    if info.is_empty() { None } else { gate.judge(&mut pseudo_labels) }
                }
                _ => None,
            },
        });
        if !info.labelled_already.is_empty() {
            let index = upload(&Tensor::from_slice(&info.labelled_already), pseudo_labels.weight.device());
            pseudo_labels.leave_out(&index);
        }
        let (samples, index): (Tensor, Option<Tensor>) = match self.mask {
            true => (unlabelled, None),
            false => {
                let index = pseudo_labels.selected().nonzero().view(-1); // [A]
                (unlabelled.index_select(0, &index), Some(index))
            }
        };
        if let Some(snapshot) = &mut info.snapshot {
            self.save_into(&mut snapshot.sections)?;
        }
        let training_batch = TrainingBatch {
            info,
            labelled,
            strong: Vec::new(),
            index,
            pseudo_labels,
            filter_stats,
            correction,
            teacher_step,
        };
        Ok(Selected { samples, training_batch })
    }
}

//! The filter stage: the method judges, and only what it accepts goes on.

use super::Method;
use crate::data::{Judged, Judgement, Scored};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// What becomes of rejected samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `filter` on a CPU; `mask` on a GPU, where asking how many were accepted would make
    /// every step wait for the device.
    #[default]
    Auto,
    /// They go no further: no strong view, no forward pass.
    Filter,
    /// They go along with weight 0, as in the reference code: static shapes, and batch norm
    /// sees them.
    Mask,
}

/// Owns the method's state.
pub struct Filter {
    /// Judges.
    pub method: Box<dyn Method>,
    mask: bool,
}

impl Filter {
    /// A filter on a device.
    pub fn new(method: Box<dyn Method>, mode: Mode, device: Device) -> Self {
        let mask = mode == Mode::Mask || (mode == Mode::Auto && device != Device::Cpu);
        Self { method, mask }
    }

    /// Whether a step is to be judged only once its standing is there.
    pub fn waits(&self) -> bool {
        self.method.views().standing
    }

    /// Judges a step.
    pub fn judge(&mut self, scored: Scored) -> Result<Judged> {
        let Scored { mut ticket, labelled, labels_known, unlabelled, scores, teacher_step } = scored;
        let mut judgement = match ticket.barrier {
            true => Judgement::none(unlabelled.device()),
            false => tch::no_grad(|| self.method.judge(&scores)),
        };
        let features = tch::no_grad(|| scores.features.mean_dim(0, false, Kind::Float));
        if !ticket.labelled_already.is_empty() {
            let index = Tensor::from_slice(&ticket.labelled_already).to_device(judgement.weight.device());
            judgement.weight = judgement.weight.index_fill(0, &index, 0.0);
        }
        let (selected, index): (Tensor, Option<Tensor>) = match self.mask {
            true => (unlabelled, None),
            false => {
                let index = judgement.accepted().nonzero().view(-1); // [A]
                (unlabelled.index_select(0, &index), Some(index))
            }
        };
        if let Some(snapshot) = &mut ticket.snapshot {
            snapshot.sections.insert("method".into(), self.method.snapshot());
        }
        Ok(Judged { ticket, labelled, labels_known, selected, index, judgement, features, teacher_step })
    }
}

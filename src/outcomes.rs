//! Outcomes of steps that are still on the device, until many are brought over at once: no step
//! waits for the device, and a copy is paid once.

use crate::data::{Facts, Outcome, Prediction};
use crate::error::Result;
use crate::metrics::Counts;
use tch::{Device, Kind, Tensor};

/// Outcomes since the last time they were fetched.
#[derive(Default)]
pub struct Pending {
    /// What is known of them without asking the device.
    pub counts: Counts,
    losses: Vec<Tensor>,
    classes: Vec<Tensor>,
    accepted: Vec<Tensor>,
    truth: Vec<i32>,
    /// Where somebody wants to know each sample's judgement.
    confidence: Vec<Tensor>,
    confident: Vec<Tensor>,
    facts: Vec<Facts>,
}

impl Pending {
    /// Adds the outcome of a step, with its facts where `each_sample` is to be known.
    pub fn add(&mut self, outcome: &Outcome, each_sample: bool) {
        let ticket = &outcome.ticket;
        if !ticket.barrier {
            self.losses.push(outcome.losses.shallow_clone());
            self.classes.push(outcome.class.shallow_clone());
            self.accepted.push(outcome.accepted.shallow_clone());
            self.truth.extend(ticket.truth.reveal());
            self.counts.steps += 1;
            self.counts.samples += ticket.ids.len() as u64;
            self.counts.add_sources(&ticket.taken);
            self.counts.student_samples += outcome.student_samples;
            self.counts.lag += ticket.step + 1 - outcome.teacher_step.min(ticket.step + 1);
        }
        if !each_sample {
            return;
        }
        if !ticket.barrier {
            self.confidence.push(outcome.confidence.shallow_clone());
            self.confident.push(outcome.confident.shallow_clone());
        }
        let row = |id: &u64| Prediction {
            id: *id,
            class: 0,
            confidence: 0.0,
            accepted: false,
            confident: false,
            teacher_step: outcome.teacher_step,
        };
        self.facts.push(Facts {
            step: ticket.step,
            position: ticket.position,
            cut_ms: ticket.cut_ms,
            labels: ticket.labels.clone(),
            rows: ticket.ids.iter().map(row).collect(),
            barrier: ticket.barrier,
            ends_epoch: ticket.ends_epoch,
            snapshot: ticket.snapshot.is_some(),
        });
    }

    /// Brings them over in a few copies: their counts, and the facts with every row filled in.
    pub fn fetch(self) -> Result<(Counts, Vec<Facts>)> {
        let Self { mut counts, mut facts, .. } = self;
        if counts.steps == 0 {
            return Ok((counts, facts));
        }
        let fetched = |parts: &[Tensor]| Tensor::cat(parts, 0).to_device(Device::Cpu);
        let losses: Vec<f32> = fetched(&self.losses).try_into()?;
        let classes: Vec<i64> = fetched(&self.classes).try_into()?;
        let accepted: Vec<u8> = fetched(&self.accepted).to_kind(Kind::Uint8).try_into()?;
        for pair in losses.chunks_exact(2) {
            counts.losses[0] += f64::from(pair[0]);
            counts.losses[1] += f64::from(pair[1]);
        }
        for ((class, accepted), truth) in classes.iter().zip(&accepted).zip(&self.truth) {
            let (known, right) = (*truth >= 0, i64::from(*truth) == *class);
            counts.known += u64::from(known);
            counts.right += u64::from(known && right);
            if *accepted == 1 {
                counts.accepted += 1;
                counts.accepted_known += u64::from(known);
                counts.accepted_right += u64::from(known && right);
            }
        }
        if !self.confidence.is_empty() {
            let confidence: Vec<f32> = fetched(&self.confidence).try_into()?;
            let confident: Vec<u8> = fetched(&self.confident).to_kind(Kind::Uint8).try_into()?;
            for (at, row) in facts.iter_mut().flat_map(|facts| &mut facts.rows).enumerate() {
                row.class = classes[at] as u32;
                row.confidence = confidence[at];
                row.accepted = accepted[at] == 1;
                row.confident = confident[at] == 1;
            }
        }
        Ok((counts, facts))
    }
}

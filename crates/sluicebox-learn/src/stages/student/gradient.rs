//! The gradient of an update: one worker's, and of several workers their mean. Buffers (batch norm's running statistics) and the
//! state of regularisers change in each worker's forward pass: their mean goes on.

use crate::method::api::Loss;
use crate::stages::student::Student;
use crate::stages::student::material::Gradient;
use crate::stages::team::Member;
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Numbers beside the gradient: total, labelled and unlabelled loss, agreed, and whether the worker had samples.
const NUMBERS: i64 = 5;

impl Student {
    /// Joins the batch of the workers `member` belongs to: from now on they train the same weights.
    pub fn join(&mut self, member: Member) {
        self.member = Some(member);
    }

    /// Returns the workers' common gradient, in which every sample counts alike; `None` where no worker had any sample. A worker
    /// without `own` gives zeros.
    pub(super) fn summed(&mut self, member: &Member, own: Option<Gradient>) -> Result<Option<Gradient>> {
        let workers = member.workers() as f64;
        let sum = member.sum(tch::no_grad(|| self.given(member, own)))?;
        tch::no_grad(|| {
            let parameters = self.replica.parameters.numel() as i64;
            let numbers = sum.narrow(0, parameters, NUMBERS);
            let active = numbers.double_value(&[NUMBERS - 1]);
            if active == 0.0 {
                return Ok(None);
            }
            let mut first = parameters + NUMBERS;
            let mut next = |count: i64| {
                first += count;
                sum.narrow(0, first - count, count)
            };
            let counting = self.counting();
            let buffers = next(self.replica.buffers.numel() as i64);
            let (counts, averages) = (buffers.narrow(0, 0, counting), buffers.slice(0, counting, None, 1));
            self.replica.buffers.copy_(&Tensor::cat(&[counts, averages / active], 0));
            for state in self.regularisers.state().into_values() {
                state.copy_(&(next(state.numel() as i64) / active).view_as(state));
            }
            let number = |at: i64| numbers.get(at);
            Ok(Some(Gradient {
                gradients: sum.narrow(0, 0, parameters) / workers,
                loss: Loss {
                    total: number(0) / workers,
                    labelled: number(1) / workers,
                    unlabelled: number(2) / workers,
                },
                agreed: number(3),
            }))
        })
    }

    /// Returns what the worker gives to the sum: its gradient, numbers, buffers and the state of regularisers. Counting buffers
    /// are no floats: they are those of worker 0.
    fn given(&mut self, member: &Member, own: Option<Gradient>) -> Tensor {
        let options = (Kind::Float, self.compute.device);
        let counting = self.counting();
        let buffers = self.replica.buffers.shallow_clone();
        let states = self.regularisers.state().into_values().map(|state| state.reshape(-1));
        let Some(Gradient { gradients, loss, agreed }) = own else {
            let states: i64 = states.map(|state| state.numel() as i64).sum();
            let count = self.replica.parameters.numel() as i64 + NUMBERS + buffers.numel() as i64 + states;
            return Tensor::zeros([count], options);
        };
        let one = Tensor::ones([], options);
        let numbers = Tensor::stack(&[&loss.total, &loss.labelled, &loss.unlabelled, &agreed, &one], 0);
        let counts = buffers.narrow(0, 0, counting);
        let counts = if member.index == 0 { counts } else { counts.zeros_like() };
        let all: Vec<Tensor> =
            [gradients, numbers.to_kind(Kind::Float), counts, buffers.slice(0, counting, None, 1)]
                .into_iter()
                .chain(states)
                .collect();
        Tensor::cat(&all, 0)
    }

    /// Number of places of counting buffers, which come first.
    fn counting(&self) -> i64 {
        let counting = self.model.layout().buffers.iter().filter(|slot| slot.kind == Kind::Int64);
        counting.map(|slot| slot.len()).sum()
    }
}

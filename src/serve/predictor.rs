//! Predictions from the present teacher: one thread answers all waiting requests as one batch. The
//! student publishes its newest teacher here without copying it, and neither waits for the other.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::health::Health;
use sluicebox_core::sample::{Format, Values};
use sluicebox_learn::device;
use sluicebox_learn::device::Compute;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::published::Published;
use sluicebox_learn::stages::teacher::Inference;
use sluicebox_learn::torch::{first_line, on_host};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};
use tokio::sync::{mpsc, oneshot};

/// Samples per forward pass.
const BATCH: usize = 256;
/// Maximum number of samples per request: a larger one would delay the others.
pub const MOST_SAMPLES: usize = 1024;
/// Maximum number of waiting requests.
const QUEUE: usize = 64;

/// The teacher's prediction for the samples of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictReply {
    /// `[count, C]` probabilities, row by row; each row sums to 1.
    pub probabilities: Vec<f32>,
    /// `[count]`: whether the job's two networks predict the same class; `None` where it has one.
    pub networks_agree: Option<Vec<bool>>,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// Reason for a missing prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The student has not published a teacher yet.
    #[error("the teacher has no weights yet: predictions start after the first training step")]
    NoTeacher,
    /// The queue of requests is full.
    #[error("too many predictions are waiting; try again later")]
    Busy,
    /// The network failed, or the job is ending.
    #[error("{0}")]
    Failed(String),
}

type Reply = oneshot::Sender<Result<PredictReply, PredictError>>;

/// Handle to the thread; clones share it. The thread ends with the last handle.
#[derive(Clone)]
pub struct Predictor {
    requests: mpsc::Sender<(Values, Reply)>,
    published: Arc<Published>,
}

impl Predictor {
    /// Starts the thread, which builds its own `model`. If the thread panics, it ends the job by `health`.
    pub fn start(
        model: impl FnOnce() -> Result<Box<dyn Model>> + Send + 'static,
        format: &Format,
        compute: Compute,
        published: Arc<Published>,
        health: Health,
    ) -> Result<Self> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (format, found) = (format.clone(), published.clone());
        let (ready, started) = std::sync::mpsc::channel();
        let thread = move || {
            if compute.device == Device::Cpu {
                device::use_one_thread();
            }
            match model() {
                Ok(model) => {
                    let _ = ready.send(Ok(())); // the starter waits for this
                    let worker =
                        Worker { model: model.into(), format, compute, published: found, present: None };
                    // The panic hook has reported the panic.
                    if catch_unwind(AssertUnwindSafe(|| worker.run(inbox))).is_err() {
                        health.fail("the thread `predictor` has failed");
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let cannot =
            |error: &dyn std::fmt::Display| Error::Engine(format!("cannot start the predictor: {error}"));
        let thread = std::thread::Builder::new().name("predictor".into()).spawn(thread);
        thread.map_err(|error| cannot(&error))?;
        started.recv().map_err(|error| cannot(&error))??;
        Ok(Self { requests, published })
    }

    /// Returns the number of student updates in the newest teacher; `None` before the first.
    pub fn step(&self) -> Option<u64> {
        self.published.step()
    }

    /// Returns the present teacher's predictions for `values` `[count, …]`, at most [`MOST_SAMPLES`].
    pub async fn ask(&self, values: Values) -> Result<PredictReply, PredictError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send((values, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PredictError::Busy,
            mpsc::error::TrySendError::Closed(_) => PredictError::Failed("the predictor has ended".into()),
        })?;
        answer.await.map_err(|_| PredictError::Failed("the predictor has ended".into()))?
    }
}

struct Worker {
    model: Rc<dyn Model>,
    format: Format,
    compute: Compute,
    published: Arc<Published>,
    present: Option<(u64, Inference)>,
}

impl Worker {
    fn run(mut self, mut inbox: mpsc::Receiver<(Values, Reply)>) {
        while let Some((mut values, reply)) = inbox.blocking_recv() {
            let length = self.format.shape.len();
            let mut replies = vec![(values.len() / length, reply)];
            while values.len() / length < BATCH
                && let Ok((more, reply)) = inbox.try_recv()
            {
                replies.push((more.len() / length, reply));
                values.extend_from(&more, 0..more.len());
            }
            self.answer(&values, replies);
        }
    }

    /// Answers requests that were batched together.
    fn answer(&mut self, values: &Values, replies: Vec<(usize, Reply)>) {
        let scored = catch_unwind(AssertUnwindSafe(|| self.score(values)));
        let scored = scored.map_err(|panic| {
            let said = panic.downcast_ref::<String>().map_or("the network failed", String::as_str);
            first_line(said)
        });
        let classes = self.format.classes.len();
        let mut from = 0;
        for (count, reply) in replies {
            let (own, rows) = (from..from + count, from * classes..(from + count) * classes);
            from += count;
            let answer = match &scored {
                Ok(Some(all)) => Ok(PredictReply {
                    probabilities: all.probabilities[rows].to_vec(),
                    networks_agree: all.networks_agree.as_ref().map(|agree| agree[own].to_vec()),
                    teacher_step: all.teacher_step,
                }),
                Ok(None) => Err(PredictError::NoTeacher),
                Err(reason) => Err(PredictError::Failed(reason.clone())),
            };
            let _ = reply.send(answer); // the requester may have gone away
        }
    }

    /// Returns the predictions for all of `values`; `None` without a teacher.
    fn score(&mut self, values: &Values) -> Option<PredictReply> {
        let known = self.present.as_ref().map(|(step, _)| *step);
        if let Some(newer) = self.published.newer(known) {
            self.present =
                Some((newer.weights.step, Inference::corrected(self.model.clone(), self.compute, &newer)));
        }
        let (step, inference) = self.present.as_ref()?;
        let answers = inference.in_batches(values, &self.format, BATCH as i64);
        let (scored, agree): (Vec<Tensor>, Vec<Option<Tensor>>) =
            answers.map(|answer| (answer.probabilities, answer.networks_agree)).unzip();
        let flat = Tensor::cat(&scored, 0).to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let mut probabilities = vec![0.0; flat.numel()];
        flat.copy_data(&mut probabilities, flat.numel());
        let agree: Option<Vec<Tensor>> = agree.into_iter().collect();
        let networks_agree = agree
            .map(|agree| on_host(&Tensor::cat(&agree, 0)).into_iter().map(|agrees| agrees > 0.5).collect());
        Some(PredictReply { probabilities, networks_agree, teacher_step: *step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::sample::{Dtype, Shape};
    use sluicebox_learn::device::Precision;
    use std::time::Duration;

    #[test]
    fn a_thread_that_panics_ends_the_job() {
        let classes = ["a", "b"].map(String::from).into();
        let format = Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes };
        let options = toml::from_str("hidden = [2]").unwrap();
        let (spec, own) = (Spec { kind: "mlp".into(), options }, format.clone());
        let model = move || sluicebox_learn::model::build(&spec, &own, &[]);
        let (health, published) = (Health::default(), Arc::new(Published::default()));
        let compute = Compute::new(Device::Cpu, Precision::F32);
        let predictor = Predictor::start(model, &format, compute, published, health.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Values of two types in one batch are a fault of the program.
        let asked = || async {
            tokio::join!(
                predictor.ask(Values::F32(vec![0.0; 2])),
                predictor.ask(Values::U8(vec![0; 2])),
                predictor.ask(Values::F32(vec![0.0; 2])),
            )
        };
        for _ in 0..1000 {
            let _answers = runtime.block_on(asked());
            if let Some(failure) = health.failure() {
                assert_eq!(failure, "the thread `predictor` has failed");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it goes on without the thread");
    }
}

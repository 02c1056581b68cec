//! Answers from the present teacher: one thread that takes what is asked meanwhile as one
//! batch. The student leaves its newest teacher here; nobody copies it or waits for anybody.

use crate::data::Weights;
use crate::device::{self, Compute};
use crate::error::{Error, Result, first_line};
use crate::model::Model;
use crate::samples::{Format, Values, scaled};
use crate::student::teacher::Inference;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind, Tensor};
use tokio::sync::{mpsc, oneshot};

/// Samples a forward pass.
const BATCH: usize = 256;
/// Most samples a request: a larger one would keep the others waiting.
pub const MOST_SAMPLES: usize = 1024;
/// Requests that may wait.
const QUEUE: usize = 64;

/// Where the student leaves the teacher's newest version.
#[derive(Default)]
pub struct Published(Mutex<Option<Weights>>);

impl Published {
    /// Leaves a version, sharing its memory.
    pub fn publish(&self, newest: &Weights) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest.share());
    }

    /// Student updates that the newest version holds; none before the first.
    pub fn step(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|newest| newest.step)
    }

    /// The newest version where it is another than that of step `known`.
    fn newer(&self, known: Option<u64>) -> Option<Weights> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().filter(|newest| Some(newest.step) != known).map(Weights::share)
    }
}

/// What the teacher says of the samples of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// `[count, C]`, row by row; each row sums to 1.
    pub probabilities: Vec<f32>,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The student has not left a teacher yet.
    #[error("the teacher has no weights yet: it answers once the job has trained a step")]
    NoTeacher,
    /// Others are waiting already.
    #[error("too many predictions are waiting; try again later")]
    Busy,
    /// The network failed, or the job is ending.
    #[error("{0}")]
    Failed(String),
}

type Reply = oneshot::Sender<Result<Answer, Unanswered>>;

/// Asks the thread; clones share it. The thread ends with the last of them.
#[derive(Clone)]
pub struct Predictor {
    requests: mpsc::Sender<(Values, Reply)>,
    published: Arc<Published>,
}

impl Predictor {
    /// Starts the thread, which makes the `model` for itself.
    pub fn start(
        model: impl FnOnce() -> Result<Box<dyn Model>> + Send + 'static,
        format: &Format,
        compute: Compute,
        published: Arc<Published>,
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
                    let _ = ready.send(Ok(())); // whoever starts it waits
                    let worker =
                        Worker { model: model.into(), format, compute, published: found, present: None };
                    worker.run(inbox);
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

    /// Student updates that the newest teacher holds; none before the first.
    pub fn step(&self) -> Option<u64> {
        self.published.step()
    }

    /// What the present teacher says of `values` `[count, …]`, at most [`MOST_SAMPLES`].
    pub async fn ask(&self, values: Values) -> Result<Answer, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send((values, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Failed("the predictor has ended".into()),
        })?;
        answer.await.map_err(|_| Unanswered::Failed("the predictor has ended".into()))?
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

    /// Answers requests that were put together.
    fn answer(&mut self, values: &Values, replies: Vec<(usize, Reply)>) {
        let scored = catch_unwind(AssertUnwindSafe(|| self.score(values)));
        let scored = scored.map_err(|panic| {
            let said = panic.downcast_ref::<String>().map_or("the network failed", String::as_str);
            first_line(said)
        });
        let classes = self.format.classes.len();
        let mut from = 0;
        for (count, reply) in replies {
            let rows = from * classes..(from + count) * classes;
            from += count;
            let answer = match &scored {
                Ok(Some((probabilities, teacher_step))) => {
                    Ok(Answer { probabilities: probabilities[rows].to_vec(), teacher_step: *teacher_step })
                }
                Ok(None) => Err(Unanswered::NoTeacher),
                Err(reason) => Err(Unanswered::Failed(reason.clone())),
            };
            let _ = reply.send(answer); // who asked may have gone away
        }
    }

    /// Probabilities `[count, C]` and the step of the teacher; none where there is no teacher.
    fn score(&mut self, values: &Values) -> Option<(Vec<f32>, u64)> {
        let known = self.present.as_ref().map(|(step, _)| *step);
        if let Some(newer) = self.published.newer(known) {
            self.present = Some((newer.step, Inference::new(self.model.clone(), self.compute, &newer)));
        }
        let (step, inference) = self.present.as_ref()?;
        let input = scaled(&self.compute.upload(&values.tensor(self.format.shape)), self.format.scale);
        let parts = input.split(BATCH as i64, 0);
        let scored: Vec<Tensor> = parts.iter().map(|part| inference.answer(part)).collect();
        let flat = Tensor::cat(&scored, 0).to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let mut probabilities = vec![0.0; flat.numel()];
        flat.copy_data(&mut probabilities, flat.numel());
        Some((probabilities, *step))
    }
}

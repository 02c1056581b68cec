//! What a job replays and answers by, and how a saved one answers.

use crate::checkpoint::Saved;
use crate::device::Compute;
use crate::error::Result;
use crate::job::{Job, Replay};
use crate::samples::Format;
use crate::student::answer::{Answer, Answering};
use crate::student::pace::{self, Pace};
use tch::Device;

/// The parts that know the stream's pace.
pub struct Answers {
    /// Which labelled samples a step trains on.
    pub replay: Replay,
    /// How fast to forget, where something needs it.
    pub pace: Option<Pace>,
    /// What makes answers of what the network says, where that is not the answer itself.
    pub answering: Option<Answering>,
}

impl Answers {
    /// As the job asks for.
    pub fn new(job: &Job, format: &Format, device: Device) -> Self {
        // Where labels only may come, nothing says yet which pace and which answers are good.
        let paced = job.labels.rate > 0.0;
        let replay = job.memory.replay.unwrap_or(if paced { Replay::Recent } else { Replay::Uniform });
        let (prior, blend) = (job.answer.prior.unwrap_or(paced), job.answer.blend.unwrap_or(paced));
        let (window, classes) = (job.answer.window, format.classes.len());
        let paces = match (replay, job.memory.pace) {
            (Replay::Recent, Some(pace)) => vec![pace],
            (Replay::Recent, None) => pace::tried(),
            _ => vec![f64::INFINITY],
        };
        let answers = prior || blend;
        let paced = answers || replay == Replay::Recent;
        Self {
            replay,
            pace: paced.then(|| Pace::new(paces, format.shape, classes, window)),
            answering: answers.then(|| Answering::new(prior, blend, window, classes, device)),
        }
    }

    /// Goes back to what is saved.
    pub fn restore(&mut self, saved: &Saved) -> Result<()> {
        if let (Some(pace), Some(held)) = (&mut self.pace, saved.sections.get("pace")) {
            pace.restore(held)?;
        }
        if let (Some(answering), Some(held)) = (&mut self.answering, saved.sections.get("answers")) {
            answering.restore(held)?;
        }
        Ok(())
    }

    /// How a sample of the present stream is answered; none where the network's word is the answer.
    pub fn told(&self, compute: Compute) -> Option<Answer> {
        let paced = self.pace.as_ref()?.told()?;
        Some(self.answering.as_ref()?.told(paced.uploaded(compute)))
    }
}

//! What a job replays and answers by, and how a saved one answers.

use crate::checkpoint::Saved;
use crate::device::Compute;
use crate::error::Result;
use crate::job::{self, Job, Prior, Replay};
use crate::randomness::Randomness;
use crate::samples::Format;
use crate::student::answer::{Answer, Answering, Settings};
use crate::student::batcher;
use crate::student::memory::{Keep, Memory};
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
    /// As the job asks for, where labels can come late or not.
    pub fn new(job: &Job, format: &Format, labels_come: bool, device: Device) -> Self {
        let replay = job.memory.replay.unwrap_or(if labels_come { Replay::Recent } else { Replay::Uniform });
        let prior = job.answer.prior.unwrap_or(if labels_come { Prior::Present } else { Prior::None });
        // Discriminants have a prior of their own, which need not be the one that is given.
        let given = matches!(prior, Prior::Labelled | Prior::Uniform);
        let blend = job.answer.blend.unwrap_or(labels_come && !given);
        let job::Answer { window, temper, .. } = job.answer;
        let (settings, classes) = (Settings { prior, temper, window, blend }, format.classes.len());
        let paces = match (replay, job.memory.pace) {
            (Replay::Recent, Some(pace)) => vec![pace],
            (Replay::Recent, None) => pace::tried(),
            _ => vec![f64::INFINITY],
        };
        let answers = prior != Prior::None || blend;
        let needed = answers || replay == Replay::Recent;
        // A rate promises labels; from outside they only may come; without any nothing is to be waited for.
        let evidence = if labels_come && job.labels.rate == 0.0 { pace::EVIDENCE } else { 0 };
        Self {
            replay,
            pace: needed
                .then(|| Pace::new(paces, format.shape, classes, if blend { window } else { 0 }, evidence)),
            answering: answers.then(|| Answering::new(settings, classes, device)),
        }
    }

    /// Goes back to what is saved. What was not needed then, or was of other paces, begins with
    /// the labelled samples that are there.
    pub fn restore(&mut self, saved: &Saved, format: &Format) -> Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        if let Some(held) = saved.sections.get("pace")
            && pace.restore(held)?
        {
            let held = self.answering.as_mut().zip(saved.sections.get("answers"));
            return held.map_or(Ok(()), |(answering, held)| answering.restore(held));
        }
        let mut memory = Memory::new(format, usize::MAX, Keep::Newest, Randomness::new(0, 0));
        memory.restore(saved.section("memory")?)?;
        if !memory.is_empty() {
            pace.learn_again(&batcher::inputs(&memory, format));
        }
        Ok(())
    }

    /// How a sample of the present stream is answered; none where the network's word is the answer.
    pub fn told(&self, compute: Compute) -> Option<Answer> {
        let paced = self.pace.as_ref()?.told()?;
        self.answering.as_ref()?.told(paced.uploaded(compute))
    }
}

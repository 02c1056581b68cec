//! Cuts a source's samples into micro-batches and marks where epochs, checkpoints and the
//! job end. Everything that decides about a step's content happens here.

use super::{Progress, Source};
use crate::data::{Chunk, STAGES, Snapshot, Ticket};
use crate::error::Result;
use crate::samples::{Format, Labelled, Samples};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Sizes and marks.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Unlabelled samples a step.
    pub batch: usize,
    /// A partial batch is closed when its first sample has waited this long.
    pub max_wait: Duration,
    /// Steps an epoch.
    pub epoch_steps: u64,
    /// Steps after which the job ends.
    pub stop_step: Option<u64>,
    /// Steps between checkpoints.
    pub checkpoint_steps: Option<u64>,
}

/// What is next.
pub enum Cut {
    /// A step, or a barrier.
    Chunk(Box<Chunk>),
    /// Nothing yet: look again in so long.
    Wait(Duration),
    /// Nothing any more.
    Over,
}

/// A source with the knife beside it.
pub struct Feed {
    source: Box<dyn Source>,
    schedule: Schedule,
    stop: Arc<AtomicBool>,
    /// The step that is being gathered.
    step: u64,
    gathered: Samples,
    since: Option<Instant>,
    starved: Option<Instant>,
    starved_s: f64,
    labelled: Option<Labelled>,
    /// The source's state before what is gathered.
    position: Vec<u8>,
    over: bool,
}

/// How long to wait before an empty source is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Feed {
    /// A feed that begins with step 0, or where `resumed` (its step and section) says.
    /// Raising `stop` ends it after the next cut.
    pub fn new(
        mut source: Box<dyn Source>,
        schedule: Schedule,
        stop: Arc<AtomicBool>,
        resumed: Option<(u64, &[u8])>,
    ) -> Result<Self> {
        let (step, labelled) = match resumed {
            Some((step, state)) => {
                source.restore(state)?;
                (step, None)
            }
            None => (0, Some(source.labelled()?)),
        };
        Ok(Self {
            position: source.snapshot(),
            gathered: Samples::none(source.format().dtype),
            source,
            schedule,
            stop,
            step,
            since: None,
            starved: None,
            starved_s: 0.0,
            labelled,
            over: false,
        })
    }

    /// What the samples look like.
    pub fn format(&self) -> &Format {
        self.source.format()
    }

    /// The step that comes next.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Gathers samples and cuts a step if one is complete. Does not block.
    pub fn cut_next(&mut self) -> Result<Cut> {
        if self.over {
            return Ok(Cut::Over);
        }
        let done = self.schedule.stop_step.is_some_and(|stop| self.step >= stop);
        if done || self.stop.load(Ordering::Relaxed) {
            return Ok(self.barrier(false));
        }
        let missing = self.schedule.batch - self.gathered.len();
        let progress = self.source.read(missing, &mut self.gathered)?;
        match progress {
            Progress::Full => Ok(self.cut(false)),
            Progress::End if self.gathered.is_empty() => {
                let unfinished = !self.step.is_multiple_of(self.schedule.epoch_steps);
                Ok(self.barrier(unfinished))
            }
            Progress::End => Ok(self.cut(true)),
            Progress::NotYet => {
                self.starved.get_or_insert_with(Instant::now);
                let since = match self.gathered.is_empty() {
                    true => return Ok(Cut::Wait(LOOK_AGAIN)),
                    false => *self.since.get_or_insert_with(Instant::now),
                };
                match since.elapsed() >= self.schedule.max_wait {
                    true => Ok(self.cut(false)),
                    false => Ok(Cut::Wait(LOOK_AGAIN)),
                }
            }
        }
    }

    /// Closes the step with what is gathered.
    fn cut(&mut self, end: bool) -> Cut {
        self.since = None;
        self.starved_s += self.starved.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.position = self.source.snapshot();
        let empty = Samples::none(self.source.format().dtype);
        let samples = std::mem::replace(&mut self.gathered, empty);
        let done = self.step + 1;
        let every = |steps: Option<u64>| steps.is_some_and(|steps| done.is_multiple_of(steps));
        let last = end || self.schedule.stop_step == Some(done);
        let snapshot = last || every(self.schedule.checkpoint_steps);
        let ends_epoch = end || every(Some(self.schedule.epoch_steps));
        let chunk = self.chunk(samples, false, ends_epoch, snapshot.then_some(done));
        self.step = done;
        self.over = last;
        chunk
    }

    /// Lets a snapshot pass, and then nothing any more. What is gathered is left to the
    /// source: the snapshot stands before it.
    fn barrier(&mut self, ends_epoch: bool) -> Cut {
        self.over = true;
        let nothing = Samples::none(self.source.format().dtype);
        self.chunk(nothing, true, ends_epoch, Some(self.step))
    }

    fn chunk(&mut self, samples: Samples, barrier: bool, ends_epoch: bool, snapshot: Option<u64>) -> Cut {
        let snapshot = snapshot.map(|step| {
            let mut snapshot = Snapshot { step, ..Snapshot::default() };
            snapshot.sections.insert("source".into(), self.position.clone());
            Box::new(snapshot)
        });
        Cut::Chunk(Box::new(Chunk {
            ticket: Ticket {
                step: self.step,
                ids: samples.ids,
                truth: samples.truth,
                position: 0,
                taken: Vec::new(),
                labels: Vec::new(),
                cut_ms: 0,
                ends_epoch,
                barrier,
                starved_s: std::mem::take(&mut self.starved_s),
                dead_letters: self.source.dead_letters(),
                stage_s: [0.0; STAGES.len()],
                snapshot,
            },
            labelled: self.labelled.take(),
            values: samples.values,
        }))
    }
}

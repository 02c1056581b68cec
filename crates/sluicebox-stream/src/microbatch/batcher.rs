//! The micro-batcher: cuts the stream into micro-batches and decides where epochs, checkpoints and
//! the job end. The content of every step is decided here.

use crate::ingest::Ingest;
use crate::ingest::IngestContext;
use crate::microbatch::epochs::{Ends, Epochs};
use crate::microbatch::late_labels::LateLabels;
use crate::microbatch::mix::Mix;
use crate::microbatch::near_future::NearFuture;
use crate::microbatch::plan::BatchPlan;
use crate::microbatch::saved::SavedBatcher;
use crate::microbatch::step_journal::{StepJournal, StepRecord};
use crate::microbatch::waiting::Waiting;
use crate::source::api::ReadProgress;
use crate::wal::{Pending, Wal};
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Label, Labelled, Samples};
use sluicebox_core::state::{Section, Sections};
use sluicebox_core::step::{MicroBatch, Snapshot, StepInfo};
use sluicebox_core::step_notes::{StepNotes, Waits};
use sluicebox_core::system::now_ms;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Result of one call of [`MicroBatcher::cut_next`].
pub enum Next {
    /// A step, or a barrier.
    MicroBatch(Box<MicroBatch>),
    /// No step yet: call again after this duration.
    Wait(Duration),
    /// The stream is over.
    Over,
}

/// Cuts the mixed sources into micro-batches and decides epochs, checkpoints and the end.
pub struct MicroBatcher {
    sources: Mix,
    labels: LateLabels,
    plan: BatchPlan,
    epochs: Epochs,
    controls: Controls,
    /// Ingest gate, in jobs that ingest samples or labels.
    ingest: Option<Arc<Ingest>>,
    /// Step that is being gathered.
    step: u64,
    /// Samples of the stream before that step.
    streamed: u64,
    near_future: NearFuture,
    since: Option<Instant>,
    waiting: Waiting,
    labelled: Option<Labelled>,
    /// Positions of the sources before the samples being gathered, and the first log record that a
    /// restart from there reads.
    position: Vec<Vec<u8>>,
    log_position: Option<u64>,
    /// Step journal and the log that holds it, in jobs with timed sources or late labels from outside.
    recorded: Option<(StepJournal, Wal)>,
    /// Step whose journal record is not durable yet.
    held: Option<(Pending, Box<MicroBatch>)>,
    /// Step that was cut by [`MicroBatcher::look_ahead`].
    ready: Option<Box<MicroBatch>>,
    /// Log position at the last snapshot that was taken to free space in the log.
    made_room_at: u64,
    over: bool,
}

/// A call that a source may not return from, as messages name it.
const READING: &str = "reading";
/// Delay before an empty source is read again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Delay before the durability of a journal record is checked again.
const SOON_DURABLE: Duration = Duration::from_micros(50);

impl MicroBatcher {
    /// Creates a micro-batcher that begins with step 0, or with `resumed` (a step and the sections of its snapshot). Jobs with
    /// timed sources or late labels from outside write a step journal, and need `live`.
    pub fn new(
        mut sources: Mix,
        mut labels: LateLabels,
        plan: BatchPlan,
        controls: Controls,
        live: Option<&IngestContext>,
        resumed: Option<(u64, &Sections)>,
    ) -> Result<Self> {
        let (step, streamed, near_future, labelled) = match resumed {
            Some((step, sections)) => {
                let saved = SavedBatcher::load(sections.require(Section::Source)?)?;
                sources.load(&saved.sources())?;
                labels.restore(saved.labels);
                (step, saved.streamed, saved.near_future, None)
            }
            None => (0, 0, NearFuture::default(), Some(sources.labelled()?)),
        };
        let recorded = match live {
            None => None,
            Some(live) => {
                let log = live.ingest.log().clone();
                labels.open(&log);
                let read = [sources.last_log_position(), labels.log_position()];
                log.reaches(read.into_iter().flatten().max().unwrap_or_default())?;
                sources.open(live)?;
                Some((StepJournal::new(log.clone(), step)?, log))
            }
        };
        let mut feed = Self {
            position: sources.save()?,
            log_position: None,
            sources,
            labels,
            epochs: Epochs::new(&plan, step, resumed.map(|(_, sections)| sections))?,
            plan,
            ingest: live.map(|live| live.ingest.clone()),
            step,
            streamed,
            near_future,
            since: None,
            waiting: Waiting::new(controls.clone()),
            controls,
            labelled,
            recorded,
            held: None,
            ready: None,
            made_room_at: 0,
            over: false,
        };
        feed.log_position = feed.needed_of_log();
        Ok(feed)
    }

    /// Adds the sections of the micro-batcher and of the ingest gate to a snapshot; [`MicroBatcher::new`] takes
    /// them back as `resumed`.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        let (labels, near_future) = (self.labels.position().clone(), self.near_future.clone());
        if let Some(ingest) = &self.ingest {
            sections.put(Section::Ingest, ingest.save(self.log_position.unwrap_or_default())?);
        }
        self.epochs.save_into(sections)?;
        SavedBatcher::new(&self.position, labels, self.streamed, near_future).save_into(sections)
    }

    /// Returns the format of the samples.
    pub fn format(&self) -> &Format {
        self.sources.format()
    }

    /// Returns the number of the next step.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Gathers samples and cuts a step if one is complete. Does not block.
    pub fn cut_next(&mut self) -> Result<Next> {
        if let Some(batch) = self.ready.take() {
            return Ok(Next::MicroBatch(batch));
        }
        if let Some((mut pending, batch)) = self.held.take() {
            return self.release(pending.poll()?.is_some(), pending, batch);
        }
        if self.over {
            return Ok(Next::Over);
        }
        self.check_parts()?;
        let ends = [self.plan.stop_step, self.controls.end()];
        let done = ends.into_iter().flatten().any(|end| self.step >= end);
        if done || self.controls.is_stopped() {
            return self.barrier(false);
        }
        if self.waiting.is_paused() {
            return Ok(Next::Wait(LOOK_AGAIN));
        }
        if let Some(record) = self.recorded.as_ref().and_then(|(journal, _)| journal.decided().cloned()) {
            return self.cut_again(record);
        }
        if self.recorded.as_ref().is_some_and(|(_, log)| log.is_disk_full()) {
            return Ok(Next::Wait(LOOK_AGAIN)); // the step's record might not be written
        }
        let left = self.plan.stop_samples.map(|stop| stop.saturating_sub(self.streamed));
        if left == Some(0) {
            return self.barrier(self.epochs.has_begun(self.step));
        }
        let batch = left.map_or(self.plan.batch, |left| self.plan.batch.min(left as usize));
        let (step, controls) = (self.step, &self.controls);
        match controls.outside(READING, || self.sources.gather(step, batch))? {
            ReadProgress::Full => self.cut(left == Some(batch as u64)),
            ReadProgress::End if self.sources.gathered() == 0 => {
                self.barrier(self.epochs.has_begun(self.step))
            }
            ReadProgress::End => self.cut(true),
            ReadProgress::NotYet => {
                self.waiting.for_samples();
                let since = match self.sources.gathered() {
                    0 => return self.wait_for_samples(),
                    _ => *self.since.get_or_insert_with(Instant::now),
                };
                match since.elapsed() >= self.plan.max_wait {
                    true => self.cut(false),
                    false => Ok(Next::Wait(LOOK_AGAIN)),
                }
            }
        }
    }

    /// Cuts the next step early in jobs with a step journal, so that its record becomes durable
    /// while the current step is computed. Does not block, and cuts nothing if samples are missing.
    pub fn look_ahead(&mut self) -> Result<()> {
        if self.recorded.is_some()
            && self.ready.is_none()
            && let Next::MicroBatch(batch) = self.cut_next()?
        {
            self.ready = Some(batch);
        }
        Ok(())
    }

    /// Fails if the log, or another part that works in the background, has failed. No step might come
    /// that would notice.
    fn check_parts(&self) -> Result<()> {
        if let Some(reason) = self.controls.health.failure() {
            return Err(Error::request(reason));
        }
        self.recorded.as_ref().map_or(Ok(()), |(_, log)| log.check())
    }

    /// Adds `seconds` during which the flow-control window was full.
    pub fn held_back(&mut self, seconds: f64) {
        self.waiting.for_room(seconds);
    }

    /// Returns the wait times since the last step left, and how full the log is.
    fn waits_so_far(&mut self) -> Waits {
        let mut waits = self.waiting.take();
        waits.log_fill = self.recorded.as_ref().map(|(_, log)| log.fill().fraction());
        waits.arrived = self.ingest.as_ref().map(|ingest| ingest.arrived());
        waits
    }

    /// Returns the refused records and requests so far, by reason.
    fn reasons(&self) -> Vec<(String, u64)> {
        let refused = self.ingest.iter().flat_map(|ingest| ingest.refused());
        let refused = refused.map(|(reason, count)| (format!("request: {reason}"), count));
        self.sources.reasons().into_iter().chain(refused).collect()
    }

    /// Handles a step without any samples. It is cut empty where no other step may come: for labels that
    /// have waited as long as samples would, for a checkpoint that is due, for the end of an epoch whose time is over,
    /// and where the log is full of consumed records, so that feeders may be blocked until a checkpoint frees space in it.
    fn wait_for_samples(&mut self) -> Result<Next> {
        let pressed = || self.recorded.as_ref().is_some_and(|(_, log)| log.is_pressed());
        let labels_due = self.labels.are_due(self.plan.max_wait, pressed)?;
        self.log_position = self.needed_of_log();
        let due = labels_due || self.epochs.is_overdue() || self.controls.is_checkpoint_due();
        match due || self.is_room_wanted() {
            true => self.cut(false),
            false => Ok(Next::Wait(LOOK_AGAIN)),
        }
    }

    /// Closes the step with the gathered samples. If their number depended on time, the step
    /// journal records it first.
    fn cut(&mut self, end: bool) -> Result<Next> {
        let mut labels = Vec::new();
        let ends = self.epochs.decide(end);
        let mut record = StepRecord { step: self.step, ends, ..StepRecord::default() };
        record.label_records = self.labels.logged(None, &mut labels)?;
        let gathered = self.sources.take();
        let Some((journal, _)) = &self.recorded else {
            let batch = self.close(record, gathered.samples, gathered.taken, labels)?;
            return Ok(Next::MicroBatch(batch));
        };
        record.taken = gathered.taken.clone();
        record.notes = self.sources.notes()?;
        record.cut_ms = now_ms();
        let pending = journal.write(&record)?;
        let batch = self.close(record, gathered.samples, gathered.taken, labels)?;
        self.release(false, pending, batch)
    }

    /// Closes the step as the journal of an earlier run says, once all its samples and labels are
    /// there again.
    fn cut_again(&mut self, record: StepRecord) -> Result<Next> {
        let controls = &self.controls;
        if self.since.is_none() {
            self.since = Some(Instant::now());
            controls.outside(READING, || self.sources.replay(&record.notes))?;
        }
        if !controls.outside(READING, || self.sources.gather_again(&record.taken))? {
            return Ok(Next::Wait(LOOK_AGAIN));
        }
        let mut labels = Vec::new();
        self.labels.logged(Some(record.label_records), &mut labels)?;
        self.sources.notes()?;
        let gathered = self.sources.take();
        let batch = self.close(record, gathered.samples, gathered.taken, labels)?;
        if let Some((journal, _)) = &mut self.recorded {
            journal.read(self.step)?;
        }
        Ok(Next::MicroBatch(batch))
    }

    /// Releases a step once its journal record is durable.
    fn release(&mut self, durable: bool, pending: Pending, batch: Box<MicroBatch>) -> Result<Next> {
        if durable {
            return Ok(Next::MicroBatch(batch));
        }
        self.held = Some((pending, batch));
        Ok(Next::Wait(SOON_DURABLE))
    }

    /// Builds the step's micro-batch and advances to the next step.
    fn close(
        &mut self,
        record: StepRecord,
        samples: Samples,
        taken: Vec<u32>,
        mut labels: Vec<Label>,
    ) -> Result<Box<MicroBatch>> {
        self.since = None;
        self.waiting.has_samples();
        self.labels.due(self.streamed, &mut labels);
        self.labels.simulate(self.streamed, &samples);
        let position = self.streamed;
        self.streamed += samples.len() as u64;
        match (&mut self.labelled, self.sources.learned(self.streamed)) {
            (Some(labelled), Some(new)) => labelled.append(new),
            (none, new) => *none = none.take().or(new),
        }
        if let Some(ingest) = &self.ingest {
            ingest.set_trained(&samples.ids);
        }
        self.position = self.sources.save()?;
        self.log_position = self.needed_of_log();
        let done = self.step + 1;
        let every = |steps: Option<u64>| steps.is_some_and(|steps| done.is_multiple_of(steps));
        let last = record.ends == Ends::Stream || self.plan.stop_step == Some(done);
        let room = self.is_room_wanted();
        if room {
            self.made_room_at = self.log_position.unwrap_or_default();
        }
        let asked = self.controls.take_checkpoint();
        let ends_epoch = self.epochs.count(done, record.ends);
        let of_epoch = ends_epoch && self.plan.checkpoint_epochs;
        let snapshot = last || every(self.plan.checkpoint_steps) || of_epoch || room || asked;
        let near_future = self.near_future.look(done, position, &samples, ends_epoch);
        let mut batch = self.batch(samples, false, ends_epoch, snapshot.then_some(done))?;
        batch.info.labels = labels;
        let phases = self.plan.phases.as_ref();
        batch.info.ends_phase =
            phases.is_some_and(|phases| phases.end_within(position, self.streamed).is_some());
        let notes = &mut batch.info.notes;
        (notes.position, notes.taken, notes.cut_ms) = (position, taken, record.cut_ms);
        notes.near_future = near_future;
        self.step = done;
        self.over = last;
        Ok(batch)
    }

    /// Returns the first log record that a restart after the current step reads.
    fn needed_of_log(&self) -> Option<u64> {
        let (_, log) = self.recorded.as_ref()?;
        // The journal records of later steps will be written from here on.
        let positions = [self.sources.log_position(), self.labels.log_position(), Some(log.durable())];
        positions.into_iter().flatten().min()
    }

    /// Returns whether a checkpoint should be written early, because the log is half full, or the disk
    /// nearly so, and a checkpoint would free enough of the log.
    fn is_room_wanted(&self) -> bool {
        let (Some((_, log)), Some(needed)) = (&self.recorded, self.log_position) else { return false };
        log.is_pressed() && log.frees(needed) >= log.frees(self.made_room_at) + log.least_gain()
    }

    /// Emits a barrier with a snapshot, then ends the stream. Gathered samples stay with the
    /// sources: the snapshot's position lies before them.
    fn barrier(&mut self, ends_epoch: bool) -> Result<Next> {
        self.over = true;
        let nothing = Samples::none(self.sources.format().dtype);
        Ok(Next::MicroBatch(self.batch(nothing, true, ends_epoch, Some(self.step))?))
    }

    fn batch(
        &mut self,
        samples: Samples,
        barrier: bool,
        ends_epoch: bool,
        snapshot: Option<u64>,
    ) -> Result<Box<MicroBatch>> {
        let snapshot = match snapshot {
            Some(step) => {
                let log_position = self.log_position;
                let mut snapshot = Snapshot { step, log_position, ..Snapshot::default() };
                self.save_into(&mut snapshot.sections)?;
                // Later than the progress of feeders was read: what that says is before the end.
                snapshot.log_end = self.recorded.as_ref().map(|(_, log)| log.durable());
                Some(Box::new(snapshot))
            }
            None => None,
        };
        let notes = StepNotes {
            truth: samples.truth,
            position: self.streamed,
            waits: self.waits_so_far(),
            dead_letters: self.sources.dead_letters(),
            lags: self.sources.lags(),
            reasons: if ends_epoch { self.reasons() } else { Vec::new() },
            ..StepNotes::default()
        };
        let (step, ids, names, sample_labels) = (self.step, samples.ids, samples.names, samples.labels);
        Ok(Box::new(MicroBatch {
            info: StepInfo {
                step,
                ids,
                names,
                sample_labels,
                ends_epoch,
                barrier,
                snapshot,
                notes,
                ..StepInfo::default()
            },
            labelled: self.labelled.take(),
            values: samples.values,
        }))
    }
}

impl Drop for MicroBatcher {
    fn drop(&mut self) {
        let controls = &self.controls;
        controls.outside("closing its sources", || self.sources.close());
    }
}

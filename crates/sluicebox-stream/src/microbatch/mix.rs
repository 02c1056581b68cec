//! All the sources of a job as one stream. Each step takes samples from every source by its weight;
//! the other sources fill what one cannot deliver.

use crate::decode::Form;
use crate::ingest::IngestContext;
use crate::source::api::{HeldOut, OWN_IDS, ReadProgress, Source};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Labelled, Samples};
use sluicebox_core::sample_id::NAMED_IDS;
use std::collections::BTreeMap;

/// One source of a job.
struct Part {
    source: Box<dyn Source>,
    /// Share of the stream, relative to the other sources. At 0 the source delivers only labelled
    /// and evaluation samples.
    weight: f64,
    /// Samples gathered for the step.
    gathered: Samples,
    over: bool,
    /// Offset added to the source's ids.
    first_id: u64,
}

/// The sources, in the job's order.
pub struct Mix {
    parts: Vec<Part>,
    format: Format,
}

/// Samples gathered for a step.
#[derive(Debug)]
pub struct Gathered {
    /// All samples, in the order of the sources.
    pub samples: Samples,
    /// Number of samples from each source.
    pub taken: Vec<u32>,
}

impl Mix {
    /// Creates a mix of sources with their weights.
    pub fn new(sources: Vec<(Box<dyn Source>, f64)>) -> Result<Self> {
        let Some(format) = sources.first().map(|(source, _)| source.format().clone()) else {
            return Err(Error::request("a job needs a source"));
        };
        let several = sources.len() > 1;
        for (at, (source, _)) in sources.iter().enumerate() {
            let other = source.format();
            if *other != format {
                let say = |format: &Format| {
                    let Format { shape, dtype, scale, classes } = format;
                    format!("{shape} {} × {scale}, classes {}", dtype.name(), classes.join(", "))
                };
                return Err(Error::Request(format!(
                    "source[{at}] gives {}, but source[0] gives {}: all sources of a job must give the same kind of samples",
                    say(other),
                    say(&format)
                )));
            }
        }
        let part = |(at, (source, weight)): (usize, (Box<dyn Source>, f64))| Part {
            first_id: if several && !source.has_own_ids() { OWN_IDS * (at as u64 + 1) } else { 0 },
            gathered: Samples::none(format.dtype),
            source,
            weight,
            over: weight == 0.0,
        };
        Ok(Self { parts: sources.into_iter().enumerate().map(part).collect(), format })
    }

    /// Returns the format of the samples.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Returns the number of sources.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Returns whether there is no source: never.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns whether any source is [timed](Source::is_timed).
    pub fn is_timed(&self) -> bool {
        self.parts.iter().any(|part| part.source.is_timed())
    }

    /// Returns whether any source [acknowledges](Source::acknowledges) its samples.
    pub fn acknowledges(&self) -> bool {
        self.parts.iter().any(|part| part.source.acknowledges())
    }

    /// Returns how samples look in requests: as those of the source that requests feed, or else of the first that
    /// says so.
    pub fn form(&self) -> Form {
        let forms = self.parts.iter().filter_map(|part| part.source.form());
        forms.rev().max_by_key(|form| form.is_fed).unwrap_or_default()
    }

    /// Opens every source.
    pub fn open(&mut self, live: &IngestContext) -> Result<()> {
        let mut parts = self.parts.iter_mut().enumerate();
        parts.try_for_each(|(at, part)| part.source.open(live, at as u16))
    }

    /// Drops every source: the mix has none from then on.
    pub fn close(&mut self) {
        self.parts.clear();
    }

    /// Returns the labelled samples of all sources.
    pub fn labelled(&mut self) -> Result<Labelled> {
        let mut all = Labelled::none(self.format.dtype);
        for part in &mut self.parts {
            let labelled = part.source.labelled()?;
            all.values.extend_from(&labelled.values, 0..labelled.values.len());
            all.classes.extend(labelled.classes);
        }
        Ok(all)
    }

    /// Returns the labelled samples of all sources that became known since the last call, after
    /// `streamed` samples of the stream.
    pub fn learned(&mut self, streamed: u64) -> Option<Labelled> {
        let mut new = self.parts.iter_mut().filter_map(|part| part.source.learned(streamed));
        let mut all = new.next()?;
        for labelled in new {
            all.append(labelled);
        }
        Some(all)
    }

    /// Returns the held-out samples of the first source that has any.
    pub fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        for part in &self.parts {
            if let Some(held_out) = part.source.held_out(limit)? {
                return Ok(Some(held_out));
            }
        }
        Ok(None)
    }

    /// Returns the samples for evaluating a checkpoint ([`Source::evaluation`]) of the first source
    /// that has any.
    pub fn evaluation(
        &mut self,
        states: &[Vec<u8>],
        streamed: u64,
        limit: usize,
    ) -> Result<Option<Labelled>> {
        for (at, part) in self.parts.iter_mut().enumerate() {
            let state = states.get(at).map_or(&[][..], Vec::as_slice);
            let samples = part.source.evaluation(state, streamed, limit)?;
            if let Some(samples) = samples.filter(|samples| !samples.is_empty()) {
                return Ok(Some(samples));
            }
        }
        Ok(None)
    }

    /// Returns the number of gathered samples.
    pub fn gathered(&self) -> usize {
        self.parts.iter().map(|part| part.gathered.len()).sum()
    }

    /// Gathers samples for step `step` of `batch` samples: each source's share first, then the
    /// missing ones from any source that has more. Does not block.
    pub fn gather(&mut self, step: u64, batch: usize) -> Result<ReadProgress> {
        let shares = self.shares(step, batch);
        let mut behind = false;
        for (part, share) in self.parts.iter_mut().zip(shares) {
            behind |= part.fill(share)?;
        }
        let missing = batch.saturating_sub(self.gathered());
        let mut left = missing;
        for part in &mut self.parts {
            if left > 0 {
                let before = part.gathered.len();
                behind |= part.fill(before + left)?;
                left -= part.gathered.len() - before;
            }
        }
        Ok(match (left, behind) {
            (0, _) => ReadProgress::Full,
            (_, true) => ReadProgress::NotYet,
            (_, false) => ReadProgress::End,
        })
    }

    /// Gathers the recorded number of samples from each source; returns false while some are
    /// missing.
    pub fn gather_again(&mut self, taken: &[u32]) -> Result<bool> {
        let mut whole = true;
        for (part, count) in self.parts.iter_mut().zip(taken) {
            part.fill(*count as usize)?;
            whole &= part.gathered.len() >= *count as usize;
        }
        Ok(whole)
    }

    /// Returns the number of samples each source should contribute to a step. Over many steps the
    /// shares match the weights exactly, and no state is needed for that.
    fn shares(&self, step: u64, batch: usize) -> Vec<usize> {
        let whole: f64 = self.parts.iter().filter(|part| !part.over).map(|part| part.weight).sum();
        let until = |samples: u64, share: f64| (samples as f64 * share).floor() as usize;
        let (before, after) = (step * batch as u64, (step + 1) * batch as u64);
        let mut sum = 0.0;
        let mut shares = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let from = if whole > 0.0 { sum / whole } else { 0.0 };
            sum += if part.over { 0.0 } else { part.weight };
            let to = if whole > 0.0 { sum / whole } else { 0.0 };
            let count = |samples| until(samples, to) - until(samples, from);
            shares.push(count(after) - count(before));
        }
        shares
    }

    /// Takes the gathered samples.
    pub fn take(&mut self) -> Gathered {
        let mut all = Samples::none(self.format.dtype);
        let mut taken = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let samples = std::mem::replace(&mut part.gathered, Samples::none(self.format.dtype));
            taken.push(samples.len() as u32);
            match all.is_empty() {
                true => all = samples,
                false => all.append(samples),
            }
        }
        Gathered { samples: all, taken }
    }

    /// Returns the note of each source about the reads of a step; see [`Source::note`].
    pub fn notes(&mut self) -> Result<Vec<Vec<u8>>> {
        self.parts.iter_mut().map(|part| part.source.note()).collect()
    }

    /// Hands the notes back to the sources before the step is read again.
    pub fn replay(&mut self, notes: &[Vec<u8>]) -> Result<()> {
        self.parts.iter_mut().zip(notes).try_for_each(|(part, note)| part.source.replay(note))
    }

    /// Returns the position of each source.
    pub fn save(&self) -> Result<Vec<Vec<u8>>> {
        self.parts.iter().map(|part| part.source.save()).collect()
    }

    /// Returns all sources to saved positions.
    pub fn load(&mut self, states: &[Vec<u8>]) -> Result<()> {
        if states.len() != self.parts.len() {
            let (saved, sources) = (states.len(), self.parts.len());
            let reason =
                format!("the checkpoint has positions of {saved} sources, but the job has {sources}");
            return Err(Error::Request(reason));
        }
        self.parts.iter_mut().zip(states).try_for_each(|(part, state)| part.source.load(state))
    }

    /// Returns the first log record that any source still has to read.
    pub fn log_position(&self) -> Option<u64> {
        self.parts.iter().filter_map(|part| part.source.log_position()).min()
    }

    /// Returns the last log record that any source still has to read, of their next ones.
    pub fn last_log_position(&self) -> Option<u64> {
        self.parts.iter().filter_map(|part| part.source.log_position()).max()
    }

    /// Returns, for each source, how many records wait where it reads them, if it knows.
    pub fn lags(&self) -> Vec<Option<u64>> {
        self.parts.iter().map(|part| part.source.lag()).collect()
    }

    /// Returns, for each source, the number of records that could not be decoded so far.
    pub fn dead_letters(&self) -> Vec<u64> {
        self.parts.iter().map(|part| part.source.dead_letters()).collect()
    }

    /// Returns these counts by kind of reason, summed over all sources.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (reason, count) in self.parts.iter().flat_map(|part| part.source.reasons()) {
            *sums.entry(reason).or_default() += count;
        }
        sums
    }
}

impl Part {
    /// Reads until `count` samples are gathered. Returns whether more may come later.
    fn fill(&mut self, count: usize) -> Result<bool> {
        let had = self.gathered.len();
        if self.over || had >= count {
            return Ok(!self.over);
        }
        let labelled = self.gathered.labels.len();
        let progress = self.source.read(count - had, &mut self.gathered)?;
        let own = self.gathered.ids[had..].iter_mut().filter(|id| **id < NAMED_IDS);
        own.for_each(|id| *id += self.first_id);
        let labels = self.gathered.labels[labelled..].iter_mut().filter(|label| label.id < NAMED_IDS);
        labels.for_each(|label| label.id += self.first_id);
        self.over = progress == ReadProgress::End;
        Ok(!self.over)
    }
}

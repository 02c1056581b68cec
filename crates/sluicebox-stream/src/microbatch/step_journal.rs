//! Step journal: records of how each step was cut, in jobs whose steps depend on time (timed sources,
//! late labels from outside). A record is durable before its step trains; a restart follows the
//! records instead of deciding again.

use crate::ingest::{STEP_JOURNAL, content, record};
use crate::microbatch::epochs::Ends;
use crate::wal::{Entry, Pending, Reader, Wal};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;

/// Journal record of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    pub step: u64,
    /// Number of samples from each source.
    pub taken: Vec<u32>,
    /// Number of label records of the log that take effect in the step.
    pub label_records: u32,
    /// What ended with the step.
    pub ends: Ends,
    /// Wall time, in ms since 1970.
    pub cut_ms: u64,
    /// Note for each source ([`crate::source::api::Source::replay`]), handed to it before the step is read
    /// again.
    pub notes: Vec<Vec<u8>>,
}

/// Reads the records of an earlier run, then writes those of this run.
pub struct StepJournal {
    log: Wal,
    earlier: Option<Reader>,
    /// Next record of the earlier run.
    next: Option<StepRecord>,
}

impl StepJournal {
    /// Opens the journal in `log` at step `step`. If the log has lost the records from some step on, that step and those
    /// after it are decided anew.
    pub fn new(log: Wal, step: u64) -> Result<Self> {
        let mut journal = Self { earlier: Some(log.reader(STEP_JOURNAL, 0)), log, next: None };
        journal.read(step)?;
        Ok(journal)
    }

    /// Returns the record of the current step, if an earlier run wrote one.
    pub fn decided(&self) -> Option<&StepRecord> {
        self.next.as_ref()
    }

    /// Advances to step `step`.
    pub fn read(&mut self, step: u64) -> Result<()> {
        self.next = None;
        let Some(earlier) = &mut self.earlier else { return Ok(()) };
        while let Some((_, payload)) = earlier.read()? {
            let decision: StepRecord = content(&payload)?;
            if decision.step >= step {
                self.next = Some(decision);
                return Ok(());
            }
        }
        self.earlier = None;
        Ok(())
    }

    /// Writes a record.
    pub fn write(&self, decision: &StepRecord) -> Result<Pending> {
        self.log.append_now(vec![Entry { stream: STEP_JOURNAL, payload: record(decision)?, mark: None }])
    }
}

//! How steps were cut, written down. In a job whose sources depend on time, the decisions are
//! durable before their step trains; a restart reads them back instead of deciding again.

use crate::error::Result;
use crate::intake::{CUTS, content, record};
use crate::log::{Entry, Log, Pending, Reader};
use serde::{Deserialize, Serialize};

/// What was decided about one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The step.
    pub step: u64,
    /// Samples from each source.
    pub taken: Vec<u32>,
    /// Records of the log's labels that take effect.
    pub label_records: u32,
    /// The stream was over.
    pub end: bool,
    /// Wall time, in ms since 1970.
    pub cut_ms: u64,
    /// What each source wants to be told before the step is read again.
    pub notes: Vec<Vec<u8>>,
}

/// Reads back what an earlier run decided, then writes down what this one does.
pub struct Cuts {
    log: Log,
    earlier: Option<Reader>,
    /// The next decision that was read back.
    next: Option<Decision>,
}

impl Cuts {
    /// The decisions in `log` from step `step` on.
    pub fn new(log: Log, step: u64) -> Result<Self> {
        let mut cuts = Self { earlier: Some(log.reader(CUTS, 0)), log, next: None };
        cuts.read(step)?;
        Ok(cuts)
    }

    /// What was decided about the present step, if it was.
    pub fn decided(&self) -> Option<&Decision> {
        self.next.as_ref()
    }

    /// Goes on to step `step`.
    pub fn read(&mut self, step: u64) -> Result<()> {
        self.next = None;
        let Some(earlier) = &mut self.earlier else { return Ok(()) };
        while let Some((_, payload)) = earlier.read()? {
            let decision: Decision = content(&payload)?;
            if decision.step >= step {
                self.next = Some(decision);
                return Ok(());
            }
        }
        self.earlier = None;
        Ok(())
    }

    /// Writes a decision down.
    pub fn write(&self, decision: &Decision) -> Result<Pending> {
        self.log.append_now(vec![Entry { stream: CUTS, payload: record(decision)?, mark: None }])
    }
}

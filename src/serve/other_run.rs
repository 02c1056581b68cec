//! Another run of a job, or of another job, whose history can be laid over the charts.

use parking_lot::Mutex;
use sluicebox_core::error::Result;
use sluicebox_core::report::About;
use sluicebox_observe::history::History;
use std::path::Path;

/// A run that is only read.
pub struct OtherRun {
    /// Its name on the page.
    pub name: String,
    /// Description of its job.
    pub about: About,
    /// Its history.
    pub history: Mutex<History>,
}

impl OtherRun {
    /// Opens the run in the state folder `state`.
    pub fn open(state: &Path) -> Result<Self> {
        let history = History::read(state)?;
        let (name, about) = (state.display().to_string(), history.about()?);
        Ok(Self { name, about, history: Mutex::new(history) })
    }
}

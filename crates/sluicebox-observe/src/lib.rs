//! How a job is shown: console, logging, job status, history, gallery, verdicts, plots and report sinks. No
//! libtorch.

pub mod console;
pub mod gallery;
pub mod history;
pub mod logging;
pub mod plot;
pub mod sink;
pub mod status;
pub mod verdict;

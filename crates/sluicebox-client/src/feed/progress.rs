//! Progress on stderr while samples are sent: a bar on a terminal, otherwise a line every few seconds.

use crate::feed::unacknowledged::Unacknowledged;
use indicatif::{ProgressBar, ProgressStyle};
use sluicebox_core::terminal::tell;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Interval between updates of the bar.
const LOOK: Duration = Duration::from_millis(100);
/// Interval between lines, where there is no bar.
const LINE: Duration = Duration::from_secs(5);

/// Prints progress on stderr.
pub struct ProgressOutput {
    bar: Option<ProgressBar>,
    line: RefCell<(Instant, u64)>,
}

impl ProgressOutput {
    /// Starts at `acknowledged` samples and prints nothing yet.
    pub fn new(acknowledged: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{spinner} {human_pos} samples acknowledged, {per_sec}, {elapsed}{msg}";
            let style = ProgressStyle::with_template(style);
            let bar = ProgressBar::no_length().with_position(acknowledged);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        bar.iter().for_each(ProgressBar::reset_eta);
        Self { bar, line: RefCell::new((Instant::now(), acknowledged)) }
    }

    /// Prints progress until the future is dropped.
    pub async fn print(&self, unacknowledged: &RefCell<Unacknowledged>) -> Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            let (acknowledged, waiting) = {
                let unacknowledged = unacknowledged.borrow();
                (unacknowledged.acknowledged(), unacknowledged.waiting())
            };
            match &self.bar {
                Some(bar) => bar.set_position(acknowledged),
                None => self.line(acknowledged, waiting),
            }
        }
    }

    fn line(&self, acknowledged: u64, waiting: u64) {
        let (at, before) = *self.line.borrow();
        let seconds = at.elapsed().as_secs_f64();
        if at.elapsed() < LINE || (acknowledged == before && waiting == 0) {
            return;
        }
        *self.line.borrow_mut() = (Instant::now(), acknowledged);
        match acknowledged - before {
            0 => tell(&format!(
                "{acknowledged} samples acknowledged; {waiting} wait because the job accepts no more at the moment"
            )),
            more => {
                tell(&format!("{acknowledged} samples acknowledged ({:.0}/s)", more as f64 / seconds));
            }
        }
    }
}

impl Drop for ProgressOutput {
    fn drop(&mut self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

//! The progress bar: of the whole job where its end is known, else of the epoch. It is empty until the first step.

use indicatif::{ProgressBar, ProgressStyle};
use sluicebox_core::report::{Progress, grouped};
use std::time::Duration;

/// A progress bar on stderr.
pub struct Bar {
    /// The bar itself, around which other lines are written.
    pub inner: ProgressBar,
    /// Step at which the job ends, where that is known.
    end: Option<u64>,
    /// Epoch of the position.
    epoch: u64,
}

impl Bar {
    /// Returns the bar of a job that ends at step `end`, where that is known.
    pub fn new(end: Option<u64>) -> Self {
        let inner = ProgressBar::new(u64::MAX);
        let style = ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}"); // in one line, however wide it is
        inner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
        inner.set_prefix("epoch 1");
        inner.set_message("waiting for the first step");
        Self { inner, end, epoch: 0 }
    }

    /// Moves to where the job is.
    pub fn show(&mut self, now: Progress) {
        if now.of == 0 {
            return;
        }
        let (done, of) = place(now, self.end);
        let begins = self.epoch == 0 || (self.end.is_none() && self.epoch != now.epoch);
        self.epoch = now.epoch;
        self.inner.set_length(of);
        self.inner.set_position(done);
        if begins {
            self.inner.reset_eta(); // steps of an earlier run took no time of this one
        }
        self.inner.set_prefix(format!("epoch {}", now.epoch));
        let (rate, left) = (self.inner.per_sec(), self.inner.eta());
        self.inner.set_message(message((done, of), rate, left, now.paused, self.end.is_some()));
    }
}

/// Returns the steps done, and those of the whole: of the job where its end is known, else of the epoch.
fn place(now: Progress, end: Option<u64>) -> (u64, u64) {
    match end {
        None => (now.done.min(now.of), now.of),
        Some(end) => {
            let before = now.epoch.saturating_sub(1).saturating_mul(now.of);
            (before.saturating_add(now.done).min(end), end)
        }
    }
}

fn message((done, of): (u64, u64), rate: f64, left: Duration, paused: bool, to_end: bool) -> String {
    let steps = format!("{} of {} steps", grouped(done as f64), grouped(of as f64));
    if paused {
        return format!("{steps}, paused");
    }
    if !rate.is_finite() || rate <= 0.0 || done == 0 {
        return steps;
    }
    let places = if rate < 9.95 { 1 } else { 0 };
    let end = if to_end { "to the end" } else { "to the epoch's end" };
    format!("{steps}, {rate:.places$} steps/s, {} {end}", lasting(left))
}

fn lasting(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_of_the_job_where_its_end_is_known() {
        let now = |epoch, done| Progress { epoch, done, of: 100, ..Progress::default() };
        assert_eq!(place(now(1, 0), Some(4000)), (0, 4000));
        assert_eq!(place(now(3, 50), Some(4000)), (250, 4000));
        assert_eq!(place(now(41, 0), Some(4000)), (4000, 4000));
        assert_eq!(place(now(3, 50), None), (50, 100));
    }

    #[test]
    fn rates_and_times_have_units() {
        let told = message((250, 4000), 46.7008, Duration::from_secs(80), false, true);
        assert_eq!(told, "250 of 4,000 steps, 47 steps/s, 80 s to the end");
        assert_eq!(message((0, 100), 0.0, Duration::ZERO, false, false), "0 of 100 steps");
        assert_eq!(message((9, 100), 2.0, Duration::ZERO, true, false), "9 of 100 steps, paused");
    }

    #[test]
    fn before_the_first_step_it_is_empty() {
        let mut bar = Bar::new(Some(4000));
        bar.show(Progress::default());
        assert_eq!((bar.inner.position(), bar.inner.message().as_str()), (0, "waiting for the first step"));
    }
}

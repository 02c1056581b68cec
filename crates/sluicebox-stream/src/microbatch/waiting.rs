//! How long the source waits: for samples, while the job is paused, and for room in the dataflow. A pause is no wait for
//! samples.

use sluicebox_core::controls::Controls;
use sluicebox_core::step_notes::Waits;
use std::time::Instant;

/// Wait times since the last step.
pub struct Waiting {
    controls: Controls,
    starved: Option<Instant>,
    paused: Option<Instant>,
    waits: Waits,
}

impl Waiting {
    /// Begins with no wait. `controls` learn since when samples are missing.
    pub fn new(controls: Controls) -> Self {
        Self { controls, starved: None, paused: None, waits: Waits::default() }
    }

    /// Returns whether the job is paused; adds a pause that has ended.
    pub fn is_paused(&mut self) -> bool {
        let paused = self.controls.is_paused();
        match (paused, self.paused) {
            (true, None) => {
                self.paused = Some(Instant::now());
                self.has_samples();
            }
            (false, Some(since)) => {
                self.waits.paused_s += since.elapsed().as_secs_f64();
                self.paused = None;
            }
            _ => {}
        }
        paused
    }

    /// Begins a wait for samples, or goes on with it.
    pub fn for_samples(&mut self) {
        self.controls.set_starved(Some(*self.starved.get_or_insert_with(Instant::now)));
    }

    /// Ends a wait for samples, and adds it.
    pub fn has_samples(&mut self) {
        self.controls.set_starved(None);
        self.waits.starved_s += self.starved.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
    }

    /// Adds `seconds` during which the flow-control window was full.
    pub fn for_room(&mut self, seconds: f64) {
        self.waits.credit_s += seconds;
    }

    /// Takes the wait times so far.
    pub fn take(&mut self) -> Waits {
        std::mem::take(&mut self.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_pause_is_no_wait_for_samples() {
        let controls = Controls::default();
        let mut waiting = Waiting::new(controls.clone());
        waiting.for_samples();
        controls.pause(true).unwrap();
        assert!(waiting.is_paused() && !controls.starves_for(Duration::ZERO));
        std::thread::sleep(Duration::from_millis(30));
        controls.pause(false).unwrap();
        assert!(!waiting.is_paused());
        waiting.has_samples();
        let waits = waiting.take();
        assert!(waits.paused_s >= 0.03 && waits.starved_s < waits.paused_s, "{waits:?}");
    }
}

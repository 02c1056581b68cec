//! The warm-up: updates on the first labelled samples, before the network answers for the stream.

use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};

/// Whether the warm-up is still to come, and how long it is.
#[derive(Debug, Clone, Copy)]
pub struct WarmUp {
    updates: usize,
    done: bool,
}

/// The state's name in messages.
const WHAT: &str = "the warm-up";

impl WarmUp {
    /// Creates a warm-up of `updates` updates; 0 is none.
    pub fn new(updates: usize) -> Self {
        Self { updates, done: false }
    }

    /// Returns whether there is one, past or to come.
    pub fn is_on(&self) -> bool {
        self.updates > 0
    }

    /// Leaves it out: a job that had none until now has learned from its first labels already.
    pub fn skip(&mut self) {
        self.done = true;
    }

    /// Returns the number of updates that are due in a step; `ready`: enough labelled samples are known.
    pub fn due(&mut self, ready: bool) -> usize {
        let due = ready && !self.done;
        self.done |= due;
        if due { self.updates } else { 0 }
    }
}

impl Stateful for WarmUp {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &self.done)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.done = decode(WHAT, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_once() {
        let mut warm_up = WarmUp::new(3);
        assert_eq!([false, true, true].map(|ready| warm_up.due(ready)), [0, 3, 0]);
        let mut resumed = WarmUp::new(3);
        resumed.load(&warm_up.save().unwrap()).unwrap();
        assert_eq!(resumed.due(true), 0);
        assert!(!WarmUp::new(0).is_on());
    }
}

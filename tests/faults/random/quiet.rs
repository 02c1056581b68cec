//! A quiet moment: what was acknowledged is trained on, once, and a new sample as well.

use crate::account::Difference;
use crate::fed_job::{patience, within};
use crate::feeding::taken;
use crate::random::world::World;
use std::time::Instant;

impl World {
    /// Checks the rules of a quiet moment, and sometimes waits for a checkpoint that holds everything.
    pub fn quiet(&mut self) -> Result<(), String> {
        self.dies()?;
        self.resume()?;
        self.lives()?;
        let Self { known, place, job, .. } = self;
        let Some(job) = job else { return Err("it does not run".into()) };
        let health = || taken(job.ask("GET", "/healthz", "")).unwrap_or_default();
        known.trained(place).map_err(|how| format!("lost or stuck: {how}; {}", health()))?;
        let well = within(patience(), || (health()["status"] == "ok").then_some(()));
        well.ok_or_else(|| format!("a sample was trained on, but it says it is not well: {}", health()))?;
        let difference = known.account.difference(&place.predicted());
        if (Difference { gone: Vec::new(), ..difference.clone() }) != Difference::default() {
            return Err(format!("{difference:?}"));
        }
        self.quiets += 1;
        if self.quiets.is_multiple_of(2) {
            known.settle(place, job).map_err(|how| format!("no checkpoint: {how}; {}", health()))?;
            self.damaged = false;
        }
        Ok(())
    }

    /// A new sample is taken.
    fn lives(&mut self) -> Result<(), String> {
        let (ids, began) = (self.known.fresh(1), Instant::now());
        let mut is_taken = false;
        while !is_taken {
            if began.elapsed() > patience() {
                return Err(format!("a new sample is not taken: {:?}", self.remarks.last()));
            }
            self.asks(|known, job, _| {
                known.post(job, &ids)?;
                is_taken = true;
                Ok(())
            })?;
        }
        Ok(())
    }
}

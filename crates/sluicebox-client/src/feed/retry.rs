//! Retries of an unreachable job, with growing pauses and for a limited time.

use crate::backoff::Backoff;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use std::time::{Duration, Instant};

/// First pause.
const SOON: Duration = Duration::from_millis(100);
/// Longest pause.
const RARELY: Duration = Duration::from_secs(5);

/// Retry state since samples were last acknowledged.
pub struct Retry {
    patience: Duration,
    since: Option<Instant>,
    backoff: Backoff,
    acknowledged: u64,
}

impl Retry {
    /// Gives up once nothing has been acknowledged for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, since: None, backoff: Backoff::new(SOON, RARELY), acknowledged: 0 }
    }

    /// Sleeps after a failure; `acknowledged` is the number of samples so far. Returns an error
    /// once patience runs out.
    pub async fn wait(&mut self, failure: &str, acknowledged: u64) -> Result<()> {
        let patience = humantime_serde::re::humantime::format_duration(self.patience);
        let is_first = self.since.is_none() || acknowledged > self.acknowledged;
        let Some(pause) = self.pause(acknowledged, Instant::now()) else {
            return Err(Error::Connection(format!("{failure} (gave up after {patience}: --retry-for)")));
        };
        if is_first {
            tell(&format!("{failure}; retrying for {patience}"));
        }
        // Jitter, so that many feeders that lost the same job do not come back at the same moment.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        Ok(())
    }

    /// Returns the pause after a failure at time `now`; none once patience runs out.
    fn pause(&mut self, acknowledged: u64, now: Instant) -> Option<Duration> {
        if acknowledged > self.acknowledged {
            (self.since, self.acknowledged) = (None, acknowledged);
            self.backoff.reset();
        }
        let left = self.patience.saturating_sub(now - *self.since.get_or_insert(now));
        let pause = self.backoff.pause().min(left);
        (!left.is_zero()).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_something_is_acknowledged_or_patience_ends() {
        let start = Instant::now();
        let mut retry = Retry::new(Duration::from_secs(60));
        assert_eq!(retry.pause(0, start), Some(SOON));
        assert_eq!(retry.pause(0, start), Some(2 * SOON));
        (0..10).for_each(|_| assert!(retry.pause(0, start).is_some()));
        assert_eq!(retry.pause(0, start + Duration::from_secs(10)), Some(RARELY));
        assert_eq!(retry.pause(0, start + Duration::from_secs(59)), Some(Duration::from_secs(1)));
        assert_eq!(retry.pause(0, start + Duration::from_secs(60)), None);
        assert_eq!(retry.pause(1, start + Duration::from_secs(60)), Some(SOON));
        assert_eq!(Retry::new(Duration::ZERO).pause(0, start), None);
    }
}

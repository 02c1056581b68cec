//! Pace at which a client sends a body or a frame: the slowest that is still waited for.

use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Bytes per second that a client must send on average, after the first wait.
pub const BYTES_PER_S: usize = 16 << 10;
/// Interval between looks at whether others wait. A pause of this process counts as no more than this.
const LOOK: Duration = Duration::from_millis(100);

/// How long a client that sends nothing is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While there is room for others.
    pub usual: Duration,
    /// While others wait for the room that the client holds.
    pub wanted: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { usual: Duration::from_secs(10), wanted: Duration::from_secs(2) }
    }
}

/// The client sent too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow;

/// Pace of one body or frame from its first byte on. Waiting for the client counts, other work does not.
pub struct Pace {
    patience: Patience,
    waited: Duration,
    received: usize,
}

impl Pace {
    /// Begins with nothing received.
    pub fn new(patience: Patience) -> Self {
        Self { patience, waited: Duration::ZERO, received: 0 }
    }

    /// Adds bytes that have arrived.
    pub fn receive(&mut self, bytes: usize) {
        self.received += bytes;
    }

    /// Waits for `more` of the client, as long as the client's pace suffices; `is_wanted` says whether others wait
    /// for its room.
    pub async fn wait_for<T>(
        &mut self,
        is_wanted: impl Fn() -> bool,
        more: impl Future<Output = T>,
    ) -> Result<T, TooSlow> {
        let mut more = pin!(more);
        let mut silent = Duration::ZERO;
        loop {
            let began = Instant::now();
            let arrived = timeout(LOOK, &mut more).await;
            silent += began.elapsed().min(LOOK);
            if self.is_too_slow(silent, is_wanted()) {
                return Err(TooSlow);
            }
            if let Ok(arrived) = arrived {
                self.waited += silent;
                return Ok(arrived);
            }
        }
    }

    /// Returns whether the client is too slow, after it has now been silent for `silent`.
    fn is_too_slow(&self, silent: Duration, wanted: bool) -> bool {
        let patience = if wanted { self.patience.wanted } else { self.patience.usual };
        let for_bytes = Duration::from_secs_f64(self.received as f64 / BYTES_PER_S as f64);
        silent > patience || self.waited + silent > patience + for_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `bytes` every `pause` seconds, at most 1000 times; returns the seconds until it was too slow.
    fn lasts(bytes: usize, pause: u64, wanted: bool) -> Option<u64> {
        let patience = Patience { usual: Duration::from_secs(10), wanted: Duration::from_secs(2) };
        let mut pace = Pace::new(patience);
        for _ in 0..1000 {
            let too_slow = |s: &u64| pace.is_too_slow(Duration::from_secs(*s), wanted);
            if let Some(silent) = (1..=pause).find(too_slow) {
                return Some(pace.waited.as_secs() + silent);
            }
            pace.waited += Duration::from_secs(pause);
            pace.receive(bytes);
        }
        None
    }

    #[test]
    fn who_is_slower_than_the_least_pace_is_not_waited_for() {
        assert_eq!(lasts(BYTES_PER_S, 1, false), None);
        assert_eq!(lasts(BYTES_PER_S, 1, true), None);
        assert_eq!(lasts(1, 1, false), Some(11));
        assert_eq!(lasts(1, 1, true), Some(3));
        assert_eq!(lasts(BYTES_PER_S / 2, 1, false), Some(20));
        // A stop, however much came before.
        assert_eq!(lasts(4 << 20, 60, false), Some(11));
        assert_eq!(lasts(4 << 20, 60, true), Some(3));
    }
}

//! Rate at which samples are sent: `500/s`, `30/min`, `10000/h`.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// Samples per second, above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// Returns samples per second.
    pub fn per_s(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate such as 500/s, 30/min or 10000/h");
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let rate = number / seconds;
        // Lower limit: one sample in about eleven days.
        if rate.is_finite() && rate >= 1e-6 { Ok(Rate(rate)) } else { Err(wrong()) }
    }
}

/// Schedules samples at a rate.
pub struct RateLimit {
    rate: Option<Rate>,
    next: Option<Instant>,
}

impl RateLimit {
    /// Creates a schedule; without a rate, samples go at once.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, next: None }
    }

    /// Returns when `count` more samples may be sent. Lost time is not made up.
    pub fn admit(&mut self, count: u64, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + Duration::from_secs_f64(count as f64 / rate.per_s()));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        assert_eq!("500/s".parse(), Ok(Rate(500.0)));
        assert_eq!("500".parse(), Ok(Rate(500.0)));
        assert_eq!("30 / min".parse(), Ok(Rate(0.5)));
        assert_eq!("7200/h".parse(), Ok(Rate(2.0)));
        for wrong in ["", "0", "-1/s", "fast", "5/day", "inf", "nan/s", "1e-9"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_pace_is_kept_and_lost_time_is_not_made_up_for() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut rate_limit = RateLimit::new(Some(Rate(10.0)));
        assert_eq!(rate_limit.admit(5, start), start);
        assert_eq!(rate_limit.admit(5, start), after(500));
        assert_eq!(rate_limit.admit(1, after(200)), after(1000));
        assert_eq!(rate_limit.admit(1, after(60_000)), after(60_000));
        assert_eq!(RateLimit::new(None).admit(1000, start), start);
    }
}

//! How fast is it, and against what?

use crate::verdict::answer::{Tone, Verdict};
use crate::verdict::evidence::Evidence;
use crate::verdict::spread::{Course, course};
use crate::verdict::words::{percent, rate};

/// Fraction of the time for which the stream had nothing from which on speed is the stream's, not the job's.
const STARVED: f64 = 0.5;

/// Answers the question.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let job = &evidence.newest.job;
    let Some(now) = job.samples_per_s else { return Verdict::new(Tone::Unknown, "not known yet", "") };
    let head = format!("{} samples/s", rate(now));
    let starved = job.source_wait_fraction.unwrap_or(0.0) >= STARVED;
    let arriving = job.arriving_per_s.filter(|rate| *rate > 0.0).map(rate);
    let (mut more, tone) = match course(now, evidence.before, "samples_per_s") {
        Course::New => ("too few epochs to compare with".to_string(), Tone::Plain),
        Course::Within(mean, count) => {
            (format!("as in the {count} epochs before (mean {})", rate(mean)), Tone::Good)
        }
        Course::Above(mean, count) => {
            let by = percent(now / mean - 1.0);
            (format!("{by} above the mean of the {count} epochs before ({})", rate(mean)), Tone::Good)
        }
        Course::Below(mean, count) => {
            let by = percent(1.0 - now / mean);
            (format!("{by} below the mean of the {count} epochs before ({})", rate(mean)), Tone::Bad)
        }
    };
    if let Some(arriving) = arriving {
        more = format!("{more}; {arriving}/s arrive");
    }
    // A stream that brings less makes no job slow.
    Verdict::new(if starved { Tone::Plain } else { tone }, head, more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::{JobMeters, Report};

    fn at(now: f64, wait: f64) -> Verdict {
        let job = |rate: f64| JobMeters { samples_per_s: Some(rate), ..JobMeters::default() };
        let before = [990.0, 1000.0, 1010.0, 1000.0, 1000.0].map(job);
        let newest =
            Report { job: JobMeters { source_wait_fraction: Some(wait), ..job(now) }, ..Report::default() };
        judge(&Evidence { newest: &newest, before: &before, drifted: None, now_ms: 0 })
    }

    #[test]
    fn speed_is_compared_with_the_epochs_before() {
        assert_eq!(
            (at(1005.0, 0.0).tone, at(700.0, 0.0).tone, at(700.0, 0.9).tone),
            (Tone::Good, Tone::Bad, Tone::Plain)
        );
        assert_eq!(
            at(700.0, 0.0).text(),
            "700 samples/s: 30.0 % below the mean of the 5 epochs before (1,000)"
        );
        assert_eq!(at(1005.0, 0.0).text(), "1,005 samples/s: as in the 5 epochs before (mean 1,000)");
    }
}

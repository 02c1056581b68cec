//! Matched compute: cost is counted in samples in the student's forward and backward pass, and
//! methods need different numbers of them for the same stream. The variant with the most passes is
//! the target; the others run longer, as separate jobs, since a learning rate with a horizon has to
//! know its end.

use crate::compare::outcome::Outcome;
use crate::job::{Job, Stop};

/// Number of passes of a variant, mean over its seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Samples of the stream up to the job's own end.
    samples: f64,
    /// Passes up to there.
    passes: f64,
    /// Passes per sample in the last epoch: the accepted fraction changes as a job goes on.
    late: f64,
}

impl Pace {
    /// Returns the pace of a variant's runs; none where no run is done.
    pub fn of<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> Option<Self> {
        let (mut sum, mut count) = (Self { samples: 0.0, passes: 0.0, late: 0.0 }, 0.0);
        for outcome in outcomes {
            let before = outcome.curve.iter().rev().nth(1);
            let (samples, passes) = before.map_or((0, 0), |before| (before.samples, before.passes));
            sum.samples += outcome.samples as f64;
            sum.passes += outcome.passes as f64;
            sum.late += (outcome.passes - passes) as f64 / (outcome.samples - samples).max(1) as f64;
            count += 1.0;
        }
        let mean = |sum: f64| sum / count;
        (count > 0.0).then(|| Self {
            samples: mean(sum.samples),
            passes: mean(sum.passes),
            late: mean(sum.late),
        })
    }

    /// Returns the factor by which a job must be longer to make `target` passes at the pace of its
    /// last epoch; none where it never would.
    pub fn factor(&self, target: f64) -> Option<f64> {
        let more = (self.late > 0.0).then(|| (target - self.passes) / self.late)?;
        Some((self.samples + more) / self.samples)
    }
}

/// Returns the variant with the most passes, and their number.
pub fn measure(paces: &[Option<Pace>]) -> Option<(usize, f64)> {
    let known = paces.iter().enumerate().filter_map(|(at, pace)| Some((at, (*pace)?.passes)));
    known.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Returns the job, `factor` times as long.
pub fn stretched(job: &Job, factor: f64) -> Job {
    // The job ends after a whole step, at an epoch in which the teacher is evaluated.
    let epochs = job.report.evaluate_epochs.max(1);
    let stop = Stop {
        epochs: nearest(job.stop.epochs, factor, epochs),
        samples: nearest(job.stop.samples, factor, job.batch.unlabelled as u64),
        ..job.stop
    };
    Job { stop, ..job.clone() }
}

/// Returns `count` times `factor`, to the nearest multiple of `of`, but never less than `count`.
fn nearest(count: u64, factor: f64, of: u64) -> u64 {
    let multiple = (count as f64 * factor / of as f64).round() as u64;
    multiple.saturating_mul(of).max(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::outcome::tests::outcome;

    #[test]
    fn who_makes_most_passes_is_the_measure_and_the_others_go_on_as_they_ended() {
        // 100 samples per epoch: 20 passes, then 60; and 30, then 50.
        let few =
            [outcome(&[(20, 1.0, None), (80, 2.0, None)]), outcome(&[(30, 1.0, None), (80, 2.0, None)])];
        let few = Pace::of(few.iter());
        assert_eq!(few, Some(Pace { samples: 200.0, passes: 80.0, late: 0.55 }));
        let most = Pace::of([outcome(&[(190, 2.0, None)])].iter());
        assert_eq!(measure(&[few, None, most]), Some((2, 190.0)));
        assert_eq!((measure(&[None]), Pace::of([].iter())), (None, None));
        // (190 - 80) / 0.55 = 200 samples more: twice as long.
        assert!((few.unwrap().factor(190.0).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(few.unwrap().factor(80.0), Some(1.0));
        assert_eq!(Pace { late: 0.0, ..few.unwrap() }.factor(190.0), None);
    }

    #[test]
    fn a_job_is_stretched_to_the_nearest_whole_epoch() {
        let text =
            "[source]\nkind = \"digits\"\n[batch]\nunlabelled = 100\n[stop]\nepochs = 8\nsamples = 1000";
        let stop = |more: &[&str], factor| {
            let sets: Vec<String> = more.iter().map(|set| set.to_string()).collect();
            let job = Job::parse("job.toml", "job", text.into(), &sets).unwrap();
            let stop = stretched(&job, factor).stop;
            (stop.epochs, stop.samples)
        };
        assert_eq!(stop(&[], 3.25), (26, 3300), "32.5 steps are 33");
        assert_eq!(stop(&["report.evaluate_epochs=4"], 3.25), (28, 3300));
        assert_eq!(stop(&["stop.samples=0"], 1.04), (8, 0), "8.32 epochs are 8");
        assert_eq!(stop(&[], 0.1), (8, 1000), "never shorter");
    }
}

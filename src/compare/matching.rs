//! Matched compute: what costs is a sample in the student's forward and backward pass, and
//! methods take different numbers of them from the same stream. Whoever takes most is the
//! measure; the others run longer, as jobs of their own, since a learning rate with a horizon has
//! to know its end.

use super::outcome::Outcome;
use crate::job::{Job, Stop};

/// How many passes a variant makes, mean over its seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Samples of the stream to the job's own end.
    samples: f64,
    /// Passes until then.
    passes: f64,
    /// Passes a sample in the last epoch: how many are accepted changes as a job goes on.
    late: f64,
}

impl Pace {
    /// The pace of a variant's runs; none where none is done.
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

    /// How much longer a job has to be to make `target` passes, if it goes on at the pace of its
    /// last epoch. None where it never would.
    pub fn factor(&self, target: f64) -> Option<f64> {
        let more = (self.late > 0.0).then(|| (target - self.passes) / self.late)?;
        Some((self.samples + more) / self.samples)
    }
}

/// Which of several variants makes most passes, and how many.
pub fn measure(paces: &[Option<Pace>]) -> Option<(usize, f64)> {
    let known = paces.iter().enumerate().filter_map(|(at, pace)| Some((at, (*pace)?.passes)));
    known.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// The job, `factor` times as long.
pub fn stretched(job: &Job, factor: f64) -> Job {
    // Whole steps, and ends at which the teacher is evaluated.
    let epochs = job.report.evaluate_epochs.max(1);
    let stop = Stop {
        epochs: nearest(job.stop.epochs, factor, epochs),
        samples: nearest(job.stop.samples, factor, job.batch.unlabelled as u64),
    };
    Job { stop, ..job.clone() }
}

/// `count` times `factor`, to the nearest multiple of `of`, but never less than `count`.
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
        // 100 samples an epoch: 20 passes, then 60; and 30, then 50.
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

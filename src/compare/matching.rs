//! Matched compute: what costs is a sample in the student's forward and backward pass, and
//! methods take different numbers of them from the same stream. Whoever takes most is the
//! measure; the others run longer, as jobs of their own, since a learning rate with a horizon has
//! to know its end.

use crate::job::{Job, Stop};

/// Which of several variants makes most passes, given the mean of each.
pub fn measure(passes: &[Option<f64>]) -> Option<usize> {
    let known = passes.iter().enumerate().filter_map(|(at, passes)| Some((at, (*passes)?)));
    known.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
}

/// The job with as many epochs or samples as it takes to make `target` passes where it makes
/// `passes` now. None where it never would.
pub fn stretched(job: &Job, passes: f64, target: f64) -> Option<Job> {
    let factor = (passes > 0.0).then(|| target / passes)?;
    // Whole steps, and ends at which the teacher is evaluated.
    let epochs = job.report.evaluate_epochs.max(1);
    let stop = Stop {
        epochs: nearest(job.stop.epochs, factor, epochs),
        samples: nearest(job.stop.samples, factor, job.batch.unlabelled as u64),
    };
    Some(Job { stop, ..job.clone() })
}

/// `count` times `factor`, to the nearest multiple of `of`, but never less than `count`.
fn nearest(count: u64, factor: f64, of: u64) -> u64 {
    let multiple = (count as f64 * factor / of as f64).round() as u64;
    multiple.saturating_mul(of).max(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_most_passes_is_the_measure() {
        assert_eq!(measure(&[Some(3.0), None, Some(5.0), Some(4.0)]), Some(2));
        assert_eq!(measure(&[None]), None);
    }

    #[test]
    fn a_job_is_stretched_to_the_nearest_whole_epoch() {
        let text =
            "[source]\nkind = \"digits\"\n[batch]\nunlabelled = 100\n[stop]\nepochs = 8\nsamples = 1000";
        let job = |more: &[&str]| {
            let sets: Vec<String> = more.iter().map(|set| set.to_string()).collect();
            Job::parse("job.toml", "job", text.into(), &sets).unwrap()
        };
        let stop = |job: Job, passes, target| {
            stretched(&job, passes, target).map(|job| (job.stop.epochs, job.stop.samples))
        };
        // 8 · 104 / 32 = 26 epochs, 1000 · 104 / 32 = 3250 samples: 33 whole steps (32.5, away from 0).
        assert_eq!(stop(job(&[]), 32.0, 104.0), Some((26, 3300)));
        assert_eq!(stop(job(&["report.evaluate_epochs=4"]), 32.0, 104.0), Some((28, 3300)));
        assert_eq!(stop(job(&["stop.samples=0"]), 100.0, 104.0), Some((8, 0)), "8.32 is 8");
        assert_eq!(stop(job(&[]), 0.0, 104.0), None);
    }
}

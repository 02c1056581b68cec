//! The questions, and who answers each.

use crate::verdict::answer::Verdict;
use crate::verdict::evidence::Evidence;
use crate::verdict::{drift, learning, pseudo_labels, speed, time};

/// A question: its key, its title, and what answers it.
type Question = (&'static str, &'static str, fn(&Evidence<'_>) -> Verdict);

/// The questions, in the order in which they are answered.
const QUESTIONS: [Question; 5] = [
    ("speed", "Speed", speed::judge),
    ("time", "Where the time goes", time::judge),
    ("learning", "Learning", learning::judge),
    ("pseudo-labels", "Pseudo-labels", pseudo_labels::judge),
    ("drift", "Drift", drift::judge),
];

/// Columns of the longest title.
pub const TITLE_COLUMNS: usize = 19;

/// Answers the questions.
///
/// ```
/// use sluicebox_core::report::{JobMeters, Report};
/// use sluicebox_observe::verdict::{Evidence, judge};
///
/// let job = JobMeters { samples_per_s: Some(22_044.0), drift_alarms: Some(0.0), ..JobMeters::default() };
/// let newest = Report { epoch: 7, job, ..Report::default() };
/// let verdicts = judge(&Evidence { newest: &newest, before: &[], drifted: None, now_ms: 0 });
/// assert_eq!(verdicts[0].head, "22,044 samples/s");
/// assert_eq!(verdicts[4].text(), "none: no alarm in 7 epochs");
/// ```
pub fn judge(evidence: &Evidence<'_>) -> Vec<Verdict> {
    let answer =
        |(key, title, judge): Question| Verdict { key: key.into(), title: title.into(), ..judge(evidence) };
    QUESTIONS.map(answer).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_fits_its_column() {
        assert_eq!(QUESTIONS.iter().map(|(_, title, _)| title.len()).max(), Some(TITLE_COLUMNS));
    }
}

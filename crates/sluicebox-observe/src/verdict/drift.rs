//! Has the stream drifted: how many alarms, when was the last, and what moved?

use crate::verdict::answer::{Tone, Verdict};
use crate::verdict::evidence::{BEFORE, Evidence};
use crate::verdict::words::{age, count};

/// Answers the question.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let epoch = evidence.newest.epoch;
    let Some(alarms) = evidence.newest.job.drift_alarms else {
        return Verdict::new(Tone::Unknown, "not known yet", "");
    };
    if alarms <= 0.0 {
        return Verdict::new(Tone::Good, "none", format!("no alarm in {}", count(epoch, "epoch")));
    }
    let head = count(alarms as u64, "alarm");
    let Some(last) = evidence.drifted else { return Verdict::new(Tone::Plain, head, "") };
    let is_new = last.epoch + BEFORE as u64 > epoch;
    let when = age(evidence.now_ms.saturating_sub(last.at_ms));
    Verdict::new(if is_new { Tone::Look } else { Tone::Plain }, head, format!("last {when}: {}", last.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::{JobMeters, Mark, Report};

    #[test]
    fn alarms_are_told_with_their_age_and_what_moved() {
        let told = |alarms, drifted: Option<&Mark>| {
            let job = JobMeters { drift_alarms: Some(alarms), ..JobMeters::default() };
            let newest = Report { epoch: 40, job, ..Report::default() };
            let verdict = judge(&Evidence { newest: &newest, before: &[], drifted, now_ms: 42_000 });
            (verdict.tone, verdict.text())
        };
        let mark = |epoch| Mark {
            at_ms: 1000,
            epoch,
            text: "the teacher's features have moved".into(),
            ..Mark::default()
        };
        assert_eq!(told(0.0, None), (Tone::Good, "none: no alarm in 40 epochs".into()));
        let text = "3 alarms: last 41 s ago: the teacher's features have moved";
        assert_eq!(told(3.0, Some(&mark(39))), (Tone::Look, text.into()));
        assert_eq!(told(3.0, Some(&mark(20))).0, Tone::Plain, "it is long ago");
    }
}

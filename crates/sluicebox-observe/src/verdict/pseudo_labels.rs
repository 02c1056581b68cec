//! Are the accepted pseudo-labels right, and how many of them were checked?

use crate::verdict::answer::{Tone, Verdict};
use crate::verdict::evidence::Evidence;
use crate::verdict::words::{count, interval, percent};
use sluicebox_core::interval::wilson;
use sluicebox_core::report::Report;

/// Least precision that is as it should be: the lower end of the interval is compared with it.
const GOOD: f64 = 0.9;
/// Precision below which pseudo-labels do harm: the upper end of the interval is compared with it.
const BAD: f64 = 0.75;

/// Answers the question.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let report = evidence.newest;
    let accepted = report.job.accepted_fraction;
    let checked = by_labels(report).map(|found| (found, "checked by labels that came late")).or_else(|| {
        by_source(report).map(|found| (found, "of this epoch checked, as the source knows the classes"))
    });
    let Some(((right, whole), how)) = checked else {
        return match accepted {
            Some(none) if none <= 0.0 => Verdict::new(Tone::Look, "none accepted", closed(report)),
            Some(some) => Verdict::new(
                Tone::Unknown,
                "not checked",
                format!("{} of the samples accepted; only labels that come later can tell", percent(some)),
            ),
            None => Verdict::new(Tone::Unknown, "not known yet", ""),
        };
    };
    let precision = right as f64 / whole as f64;
    let (low, high) = wilson(right, whole).unwrap_or((0.0, 1.0));
    let tone = match (low, high) {
        (low, _) if low >= GOOD => Tone::Good,
        (_, high) if high < BAD => Tone::Bad,
        _ => Tone::Look,
    };
    let interval = interval(precision, whole).unwrap_or_default();
    let mut more = format!("{interval}; {} {how}", count(whole, "pseudo-label"));
    if accepted.is_some_and(|accepted| accepted <= 0.0) {
        more = format!("{more}; none accepted in this epoch");
    }
    Verdict::new(tone, format!("{} right", percent(precision)), more)
}

/// Returns the accepted pseudo-labels in the ledger that are right, and those whose label has come.
fn by_labels(report: &Report) -> Option<(u64, u64)> {
    let ledger = report.ledger.as_ref().filter(|ledger| ledger.precision_of > 0)?;
    let whole = ledger.precision_of;
    Some(((ledger.precision? * whole as f64).round() as u64, whole))
}

/// Returns the accepted pseudo-labels of the epoch that are right, and all of them whose class the source knows.
fn by_source(report: &Report) -> Option<(u64, u64)> {
    let stream = report.confusions.iter().find(|confusion| confusion.of == "stream")?;
    let accepted = |right: bool| -> u64 {
        let cells = stream.cells.iter().filter(|cell| !right || cell.truth == cell.given);
        cells.map(|cell| cell.accepted).sum()
    };
    Some((accepted(true), accepted(false))).filter(|(_, whole)| *whole > 0)
}

/// Returns why none may be accepted.
fn closed(report: &Report) -> String {
    match report.job.gate_closed_classes {
        Some(classes) if classes > 0.0 => {
            let classes = if classes == 1.0 { "1 class".into() } else { format!("{classes:.0} classes") };
            format!("the gate is closed for {classes}")
        }
        _ => "no sample is above the threshold".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::ledger::{LedgerReport, LedgerSection, LedgerStats};
    use sluicebox_core::report::{Cell, Confusion, JobMeters};
    use std::collections::BTreeMap;

    fn told(report: &Report) -> (Tone, String) {
        let verdict = judge(&Evidence { newest: report, before: &[], drifted: None, now_ms: 0 });
        (verdict.tone, verdict.text())
    }

    fn by_ledger(right: u64, met: u64) -> Report {
        let ledger_stats = LedgerStats { accepted_right: right, accepted_met: met, ..LedgerStats::new(2) };
        let (confusion, newest) = (BTreeMap::new(), Vec::new());
        let report = LedgerReport { ledger_stats, confusion, disagreements: 0, newest, state: None };
        Report { ledger: Some(LedgerSection::new(report)), ..Report::default() }
    }

    #[test]
    fn what_was_checked_is_told_with_its_interval() {
        let (tone, text) = told(&by_ledger(1193, 1204));
        assert_eq!(tone, Tone::Good);
        assert_eq!(
            text,
            "99.1 % right: 98.4 % to 99.5 %; 1,204 pseudo-labels checked by labels that came late"
        );
        assert_eq!(told(&by_ledger(1, 1)).0, Tone::Look, "one is not many");
        assert_eq!(told(&by_ledger(50, 100)).0, Tone::Bad);
        let cell = |given, accepted| Cell { truth: 0, given, samples: 99, accepted };
        let stream = Confusion { of: "stream".into(), cells: vec![cell(0, 95), cell(1, 5)] };
        let (_, text) = told(&Report { confusions: vec![stream], ..Report::default() });
        assert!(
            text.starts_with("95.0 % right: 88.8 % to 97.8 %; 100 pseudo-labels of this epoch"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_checked_is_not_claimed() {
        let with = |accepted, gate_closed_classes| {
            let job =
                JobMeters { accepted_fraction: Some(accepted), gate_closed_classes, ..JobMeters::default() };
            told(&Report { job, ..Report::default() }).1
        };
        assert_eq!(with(0.0, None), "none accepted: no sample is above the threshold");
        assert_eq!(with(0.0, Some(2.0)), "none accepted: the gate is closed for 2 classes");
        assert!(with(0.5, None).starts_with("not checked: 50.0 % of the samples accepted"));
    }
}

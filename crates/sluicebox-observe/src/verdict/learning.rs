//! Is it learning: how right are the answers and the network, and do they get better?

use crate::verdict::answer::{Tone, Verdict};
use crate::verdict::evidence::Evidence;
use crate::verdict::spread::{Course, course};
use crate::verdict::words::{count, interval, percent};
use sluicebox_core::interval::wilson;
use sluicebox_core::report::Report;

/// Fraction by which the network may be worse than the answers before that is told.
const BEHIND: f64 = 0.1;

/// What accuracy is measured on.
struct Measured {
    /// Meter of the answers.
    meter: &'static str,
    answers: f64,
    network: Option<f64>,
    samples: u64,
    on: &'static str,
}

/// Answers the question.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let report = evidence.newest;
    let Some(found) = measured(report) else {
        return match report.job.labelled_loss {
            Some(loss) => Verdict::new(
                Tone::Unknown,
                "not known",
                format!("no true classes to check against; loss on labelled samples {loss:.3}"),
            ),
            None => Verdict::new(Tone::Unknown, "not known", "no labelled samples yet"),
        };
    };
    let head = match found.network {
        Some(network) if (network - found.answers).abs() > 1e-9 => {
            format!("answers {} right, network {}", percent(found.answers), percent(network))
        }
        _ => format!("{} right", percent(found.answers)),
    };
    let sure = interval(found.answers, found.samples).map_or_else(String::new, |interval| {
        format!(" ({interval}; {} {})", count(found.samples, "sample"), found.on)
    });
    let classes = report.classes.len().max(2) as f64;
    let guessing = wilson((found.answers * found.samples as f64).round() as u64, found.samples)
        .is_some_and(|(low, _)| low <= 1.0 / classes);
    let is_behind = found.network.is_some_and(|network| network < found.answers - BEHIND);
    let (course, tone) = match course(found.answers, evidence.before, found.meter) {
        Course::New => ("just begun".to_string(), Tone::Plain),
        Course::Within(..) => ("steady".into(), Tone::Good),
        Course::Above(mean, epochs) => {
            (format!("getting better: {} in the {epochs} epochs before", percent(mean)), Tone::Good)
        }
        Course::Below(mean, epochs) => {
            (format!("getting worse: {} in the {epochs} epochs before", percent(mean)), Tone::Bad)
        }
    };
    let begun = course == "just begun";
    match (guessing, is_behind) {
        (true, _) => {
            let tone = if begun { Tone::Plain } else { Tone::Bad };
            Verdict::new(tone, head, format!("no better than guessing{sure}"))
        }
        (_, true) if tone != Tone::Bad => {
            Verdict::new(Tone::Look, head, format!("{course}, but the network alone is far behind{sure}"))
        }
        _ => Verdict::new(tone, head, format!("{course}{sure}")),
    }
}

/// Returns the accuracy that says most: on held-out samples, else on the stream before it was learned from, else on
/// samples whose label has come.
fn measured(report: &Report) -> Option<Measured> {
    let job = &report.job;
    let samples = |of: &str| {
        let found = report.confusions.iter().find(|confusion| confusion.of == of);
        found.map_or(0, |found| found.cells.iter().map(|cell| cell.samples).sum())
    };
    if let Some(answers) = job.accuracy {
        let (network, samples) = (job.network_accuracy, samples("held-out"));
        return Some(Measured { meter: "accuracy", answers, network, samples, on: "held out" });
    }
    if let Some(answers) = job.prequential_accuracy {
        let (network, samples) = (job.network_prequential_accuracy, samples("stream"));
        let on = "of the stream, before they were learned from";
        return Some(Measured { meter: "prequential_accuracy", answers, network, samples, on });
    }
    let answers = job.ledger_accuracy?;
    let samples = report.ledger.as_ref().map_or(0, |ledger| ledger.labelled);
    let on = "whose label has come";
    Some(Measured { meter: "ledger_accuracy", answers, network: None, samples, on })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::{Cell, ClassMeters, Confusion, JobMeters, Named};

    fn told(now: JobMeters, before: f64) -> (Tone, String) {
        let cell = Cell { samples: 1000, ..Cell::default() };
        let class = |name: u32| Named { name: name.to_string(), meters: ClassMeters::default() };
        let newest = Report {
            job: now,
            confusions: vec![Confusion { of: "held-out".into(), cells: vec![cell] }],
            classes: (0..10).map(class).collect(),
            ..Report::default()
        };
        let job = |_| JobMeters { accuracy: Some(before), ..JobMeters::default() };
        let before: Vec<JobMeters> = (0..6).map(job).collect();
        let verdict = judge(&Evidence { newest: &newest, before: &before, drifted: None, now_ms: 0 });
        (verdict.tone, verdict.text())
    }

    fn job(answers: f64, network: f64) -> JobMeters {
        JobMeters { accuracy: Some(answers), network_accuracy: Some(network), ..JobMeters::default() }
    }

    #[test]
    fn answers_and_network_are_told_with_their_course() {
        let (tone, text) = told(job(0.98, 0.98), 0.98);
        assert_eq!(
            (tone, text.as_str()),
            (Tone::Good, "98.0 % right: steady (96.9 % to 98.7 %; 1,000 samples held out)")
        );
        let (tone, text) = told(job(0.98, 0.95), 0.9);
        assert_eq!(tone, Tone::Good);
        assert!(
            text.starts_with("answers 98.0 % right, network 95.0 %: getting better: 90.0 % in the 6"),
            "{text}"
        );
        assert_eq!(told(job(0.8, 0.8), 0.9).0, Tone::Bad);
        let (tone, text) = told(job(0.9, 0.4), 0.9);
        assert!(tone == Tone::Look && text.contains("far behind"), "{text}");
        let (tone, text) = told(job(0.11, 0.11), 0.11);
        assert!(tone == Tone::Bad && text.contains("no better than guessing"), "{text}");
    }

    #[test]
    fn without_true_classes_nothing_is_claimed() {
        assert_eq!(told(JobMeters::default(), 0.0).0, Tone::Unknown);
        let (_, text) = told(JobMeters { labelled_loss: Some(0.31), ..JobMeters::default() }, 0.0);
        assert_eq!(text, "not known: no true classes to check against; loss on labelled samples 0.310");
    }
}

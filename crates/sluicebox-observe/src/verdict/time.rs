//! Where does the time go: what is the bottleneck?

use crate::verdict::answer::{Tone, Verdict};
use crate::verdict::evidence::Evidence;
use crate::verdict::words::about;
use sluicebox_core::report::{OperatorMeters, Report};

/// Fraction of an epoch that makes something the bottleneck, whatever the stages do.
const MOST: f64 = 0.5;

/// Answers the question.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let report = evidence.newest;
    let job = &report.job;
    let share = |value: Option<f64>| value.unwrap_or(0.0);
    let (starved, paused) = (share(job.source_wait_fraction), share(job.paused_fraction));
    let busiest = busiest(report);
    let working = busiest.map_or(0.0, |(_, fraction)| fraction);
    if paused >= MOST {
        return Verdict::new(Tone::Look, format!("paused {}", about(paused)), "of the newest epoch");
    }
    if starved >= MOST || (starved > working && starved > 0.1) {
        let head = format!("waiting for samples {}", about(starved));
        return Verdict::new(Tone::Look, head, "the stream is the bottleneck");
    }
    if let Some(gpu) = job.gpu_busy_fraction.filter(|busy| *busy >= MOST) {
        return Verdict::new(Tone::Plain, format!("GPU busy {}", about(gpu)), "compute-bound");
    }
    let Some((stage, fraction)) = busiest else { return Verdict::new(Tone::Unknown, "not known yet", "") };
    let bound = match stage {
        "source" => "reading samples is the bottleneck",
        "report" => "evaluation and reports take most: raise report.evaluate_epochs or epoch.steps",
        "commit" => "checkpoints take most: raise checkpoint.steps",
        "ledger" => "joining labels takes most",
        _ => "compute-bound",
    };
    let more = match starved {
        none if none < 0.005 => bound.to_string(),
        some => format!("{bound}; waiting for samples {}", about(some)),
    };
    Verdict::new(Tone::Plain, format!("{stage} {}", about(fraction)), more)
}

/// Returns the stage with most work, and its fraction of the time.
fn busiest(report: &Report) -> Option<(&str, f64)> {
    let work = |meters: &OperatorMeters| meters.stage_fraction.or(meters.busy_fraction);
    let known = report
        .operators
        .iter()
        .filter_map(|operator| Some((operator.name.as_str(), work(&operator.meters)?)));
    known.filter(|(_, fraction)| fraction.is_finite()).max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::{JobMeters, Named};

    fn told(stages: &[(&str, f64)], job: JobMeters) -> String {
        let operators = stages.iter().map(|(name, fraction)| Named {
            name: name.to_string(),
            meters: OperatorMeters { stage_fraction: Some(*fraction), ..OperatorMeters::default() },
        });
        let newest = Report { operators: operators.collect(), job, ..Report::default() };
        judge(&Evidence { newest: &newest, before: &[], drifted: None, now_ms: 0 }).text()
    }

    #[test]
    fn the_bottleneck_is_named() {
        let none = JobMeters::default;
        let stages = [("source", 0.05), ("teach", 0.12), ("learn", 0.74)];
        assert_eq!(told(&stages, none()), "learn 74 %: compute-bound");
        let waiting = |fraction| JobMeters { source_wait_fraction: Some(fraction), ..none() };
        assert_eq!(told(&stages, waiting(0.02)), "learn 74 %: compute-bound; waiting for samples 2 %");
        assert_eq!(told(&stages, waiting(0.8)), "waiting for samples 80 %: the stream is the bottleneck");
        assert_eq!(told(&[("source", 0.6)], none()), "source 60 %: reading samples is the bottleneck");
        assert_eq!(
            told(&stages, JobMeters { paused_fraction: Some(0.9), ..none() }),
            "paused 90 %: of the newest epoch"
        );
        assert_eq!(
            told(&stages, JobMeters { gpu_busy_fraction: Some(0.93), ..none() }),
            "GPU busy 93 %: compute-bound"
        );
        assert_eq!(told(&[], none()), "not known yet");
    }
}

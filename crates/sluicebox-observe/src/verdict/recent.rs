//! Verdicts on a job that is observed from its start, and on one that has a history.

use crate::history::History;
use crate::verdict::answer::Verdict;
use crate::verdict::evidence::{BEFORE, Evidence};
use crate::verdict::judge::judge;
use sluicebox_core::error::Result;
use sluicebox_core::observers::Event;
use sluicebox_core::report::{JobMeters, Mark, MarkKind, Report};
use std::collections::VecDeque;
use std::sync::Arc;

/// Returns the verdicts on a report whose job has this history.
pub fn of_history(history: &History, newest: &Report, now_ms: u64) -> Result<Vec<Verdict>> {
    let before: Vec<JobMeters> = match newest.epoch {
        0 | 1 => Vec::new(),
        epoch => {
            let from = epoch.saturating_sub(BEFORE as u64).max(1);
            history.series(from..=epoch - 1, BEFORE)?.into_iter().map(|point| point.mean).collect()
        }
    };
    let marks = history.marks(1..=newest.epoch, 1)?;
    let drifted = marks.iter().find(|mark| mark.kind == MarkKind::Drift);
    Ok(judge(&Evidence { newest, before: &before, drifted, now_ms }))
}

/// The newest events of a job that is observed from its start.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    newest: Option<Arc<Report>>,
    before: VecDeque<JobMeters>,
    drifted: Option<Arc<Mark>>,
}

impl Recent {
    /// Takes in an event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Epoch(report) => {
                if let Some(before) = self.newest.replace(report.clone()) {
                    self.before.push_back(before.job.clone());
                    self.before.drain(..self.before.len().saturating_sub(BEFORE));
                }
            }
            Event::Mark(mark) if mark.kind == MarkKind::Drift => self.drifted = Some(mark.clone()),
            Event::Mark(_) | Event::Line(_) => {}
        }
    }

    /// Returns the verdicts on the newest report; none before the first.
    pub fn verdicts(&mut self, now_ms: u64) -> Vec<Verdict> {
        let Some(newest) = &self.newest else { return Vec::new() };
        let drifted = self.drifted.as_deref();
        judge(&Evidence { newest, before: self.before.make_contiguous(), drifted, now_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_epochs_and_the_newest_alarm_are_known() {
        let mut recent = Recent::default();
        assert_eq!(recent.verdicts(0), []);
        for epoch in 1..=30 {
            let job = JobMeters {
                samples_per_s: Some(epoch as f64),
                drift_alarms: Some(1.0),
                ..JobMeters::default()
            };
            recent.add(&Event::Epoch(Arc::new(Report { epoch, job, ..Report::default() })));
        }
        let mark = Mark { at_ms: 1000, text: "features moved".into(), ..Mark::default() };
        recent.add(&Event::Mark(Arc::new(mark)));
        assert_eq!(recent.before.len(), BEFORE);
        assert_eq!(recent.before[0].samples_per_s, Some(20.0));
        assert_eq!(recent.verdicts(42_000)[4].text(), "1 alarm: last 41 s ago: features moved");
    }
}

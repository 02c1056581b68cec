//! Alarms of the filter: over a whole epoch it accepted everything or nothing, or one class took all pseudo-labels.

use crate::engine::metrics::counts::Counts;
use crate::engine::metrics::remedy::Remedy;
use serde::{Deserialize, Serialize};

/// Least steps of an epoch that can raise an alarm.
const LEAST_STEPS: u64 = 20;
/// Steps in a row of which none was accepted that raise an alarm: a network that has only begun to learn is sure of
/// nothing.
const LEAST_REJECTED: u64 = 100;
/// Fraction of the samples that is as good as all of them: those with a label are never accepted.
const ALL: f64 = 0.999;

/// What is wrong with the pseudo-labels of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    /// One class has all of them.
    OneClass(u32),
    /// All were accepted.
    All,
    /// None was accepted.
    None,
}

/// The alarms so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterAlarm {
    /// Alarms of the job.
    pub count: u64,
    /// The fault of the epoch before.
    present: Option<Fault>,
    /// Steps of the epochs in a row in which none was accepted.
    rejected: u64,
    /// Steps of the current epoch whose samples were not judged, since labels of two classes were not known.
    unjudged: u64,
}

impl FilterAlarm {
    /// Adds a number of steps whose samples were not judged.
    pub fn add_unjudged(&mut self, steps: u64) {
        self.unjudged += steps;
    }

    /// Ends an epoch with these counts. Returns what an alarm says if it is raised: a fault is told when it begins.
    /// `has_threshold`: the method can reject samples.
    pub fn end_epoch(
        &mut self,
        epoch: u64,
        counts: &Counts,
        (has_threshold, remedy): (bool, Remedy),
        classes: &[String],
    ) -> Option<String> {
        let judged = std::mem::take(&mut self.unjudged) == 0;
        if !judged || counts.steps < LEAST_STEPS || counts.samples == 0 {
            return None;
        }
        let mut fault = fault(counts, has_threshold);
        if fault == Some(Fault::None) {
            self.rejected += counts.steps;
            fault = fault.filter(|_| self.rejected >= LEAST_REJECTED);
        } else {
            self.rejected = 0;
        }
        let before = std::mem::replace(&mut self.present, fault);
        let new = fault.filter(|_| fault != before)?;
        self.count += 1;
        let samples = counts.samples;
        Some(match new {
            Fault::OneClass(class) => format!(
                "epoch {epoch}: nearly all of {samples} pseudo-labels are of class {}, though labels of several are \
                 known: lower optimiser.learning_rate, set regularise.prior, or {}",
                classes.get(class as usize).map_or("?", String::as_str),
                remedy.for_fewer()
            ),
            Fault::All => format!(
                "epoch {epoch}: the filter accepted nearly all of {samples} pseudo-labels, so it judges nothing: {}",
                remedy.for_fewer()
            ),
            Fault::None => format!(
                "epoch {epoch}: the filter accepted no pseudo-label in {} steps, so that nothing was learned from them: {}",
                self.rejected,
                remedy.for_more()
            ),
        })
    }
}

fn fault(counts: &Counts, has_threshold: bool) -> Option<Fault> {
    let most = counts.by_class.iter().enumerate().max_by_key(|(_, class)| class.judged)?;
    let all = ALL * counts.samples as f64;
    match (most.1.judged as f64, counts.accepted) {
        (judged, _) if judged >= all => Some(Fault::OneClass(most.0 as u32)),
        (_, accepted) if accepted as f64 >= all && has_threshold => Some(Fault::All),
        (_, 0) => Some(Fault::None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(accepted: u64, of: [u64; 2], steps: u64) -> Counts {
        let mut counts = Counts { steps, samples: of[0] + of[1], ..Counts::default() };
        for (class, judged) in of.into_iter().enumerate() {
            (0..judged).for_each(|_| counts.add_sample((class, class), None, 0.9, false));
        }
        Counts { accepted, ..counts }
    }

    #[test]
    fn each_fault_is_told_when_it_begins() {
        let classes = ["ant", "bee"].map(String::from);
        let mut alarm = FilterAlarm::default();
        let end = |alarm: &mut FilterAlarm, counts: &Counts, has_threshold| {
            let remedy = Remedy { threshold: true, gate: false };
            alarm.end_epoch(3, counts, (has_threshold, remedy), &classes)
        };
        assert_eq!(end(&mut alarm, &counts(500, [600, 400], 20), true), None);
        assert_eq!(end(&mut alarm, &counts(0, [600, 400], 19), true), None, "too short");
        assert_eq!(end(&mut alarm, &counts(0, [600, 400], 60), true), None, "it may pass");
        let said = end(&mut alarm, &counts(0, [600, 400], 40), true).unwrap();
        assert!(said.starts_with("epoch 3: the filter accepted no pseudo-label in 100 steps"), "{said}");
        assert_eq!(end(&mut alarm, &counts(0, [600, 400], 20), true), None, "it goes on");
        let said = end(&mut alarm, &counts(999, [600, 400], 20), true).unwrap();
        assert!(said.contains("nearly all") && said.contains("method.threshold"), "{said}");
        assert_eq!(end(&mut alarm, &counts(999, [600, 400], 20), false), None, "a method that rejects none");
        let said = end(&mut alarm, &counts(500, [1, 999], 20), true).unwrap();
        assert!(said.contains("class bee") && said.contains("learning_rate"), "{said}");
        assert_eq!(alarm.count, 3);
        // A method whose thresholds follow the network has none to set.
        let follows = (true, Remedy::default());
        let said =
            FilterAlarm::default().end_epoch(3, &counts(999, [600, 400], 20), follows, &classes).unwrap();
        assert!(!said.contains("method.threshold") && said.contains("such as fixmatch"), "{said}");
        // A class that is the only one with a label is no fault.
        let mut alarm = FilterAlarm::default();
        alarm.add_unjudged(1);
        assert_eq!(end(&mut alarm, &counts(0, [0, 1000], 20), true), None);
    }
}

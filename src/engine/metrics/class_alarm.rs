//! Alarms of classes: one that had pseudo-labels, or accepted ones, gets none for long while others do. That the stream no
//! longer brings a class is no fault: where the source knows the classes, the class must have come.

use crate::engine::metrics::counts::Counts;
use crate::engine::metrics::remedy::Remedy;
use serde::{Deserialize, Serialize};

/// Least steps without a pseudo-label of the class.
const LEAST_STEPS: u64 = 100;
/// Least pseudo-labels that the class would have had since, at its share of those before.
const LEAST_MISSED: f64 = 50.0;
/// Least samples of the class that have come since, where the source knows the classes.
const LEAST_CAME: u64 = 20;
/// Most classes that an alarm names.
const NAMED: usize = 5;

/// The alarms so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassAlarm {
    /// Alarms of the job.
    pub count: u64,
    /// Of all pseudo-labels, which are the answers.
    judged: Absences,
    /// Of the accepted ones.
    accepted: Absences,
}

/// Which classes have no pseudo-labels of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Absences {
    steps: u64,
    /// Pseudo-labels of all classes.
    all: u64,
    classes: Vec<Class>,
}

/// What a class has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Class {
    /// Number of its pseudo-labels.
    count: u64,
    /// Steps, and pseudo-labels of all classes, up to the epoch in which it had its newest.
    steps: u64,
    all: u64,
    /// Samples of known class since, and those of this class among them.
    known: u64,
    came: u64,
    /// Whether its absence was told.
    told: bool,
}

impl ClassAlarm {
    /// Returns whether no class has had a pseudo-label.
    pub fn is_empty(&self) -> bool {
        self.judged.all == 0
    }

    /// Ends an epoch with these counts. Returns what the alarms say that are raised: an absence is told once.
    /// `has_threshold`: the method can reject pseudo-labels; `remedy`: what is advised then.
    pub fn end_epoch(
        &mut self,
        epoch: u64,
        counts: &Counts,
        (has_threshold, remedy): (bool, Remedy),
        classes: &[String],
    ) -> Vec<String> {
        let mut came = vec![0; classes.len()];
        for ((truth, _), cell) in &counts.confusion {
            came.get_mut(*truth as usize).into_iter().for_each(|came| *came += cell.samples);
        }
        let of = |class: usize| counts.by_class.get(class).copied().unwrap_or_default();
        let gone = self.judged.end_epoch(counts, &came, |class| of(class).judged);
        let rejected = self.accepted.end_epoch(counts, &came, |class| of(class).accepted);
        // A class without any pseudo-label has no accepted one either.
        let rejected: Vec<usize> =
            rejected.into_iter().filter(|class| has_threshold && !self.judged.is_gone(*class)).collect();
        self.count += (gone.len() + rejected.len()) as u64;
        let named = |of: &[usize]| {
            let names: Vec<&str> = of.iter().take(NAMED).map(|class| classes[*class].as_str()).collect();
            let more = of.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", names.join(", "))
        };
        let gone = (!gone.is_empty()).then(|| {
            format!(
                "epoch {epoch}: nothing has been answered with class {} for {LEAST_STEPS} steps or more, as it was before, \
                 though others are: give it labels, set loss.class_weights = \"balanced\", or regularise.prior where \
                 its share is known",
                named(&gone)
            )
        });
        let rejected = (!rejected.is_empty()).then(|| {
            format!(
                "epoch {epoch}: no pseudo-label of class {} has been accepted for {LEAST_STEPS} steps or more, as there were \
                 before, though those of others are: give it labels, or {}",
                named(&rejected),
                remedy.for_more()
            )
        });
        gone.into_iter().chain(rejected).collect()
    }
}

impl Absences {
    /// Adds an epoch in which each class had `new` pseudo-labels and `came` samples. Returns the classes whose absence is
    /// to be told.
    fn end_epoch(&mut self, counts: &Counts, came: &[u64], new: impl Fn(usize) -> u64) -> Vec<usize> {
        self.classes.resize(came.len(), Class::default());
        self.steps += counts.steps;
        self.all += (0..came.len()).map(&new).sum::<u64>();
        for (at, (class, came)) in self.classes.iter_mut().zip(came).enumerate() {
            match new(at) {
                0 => (class.known, class.came) = (class.known + counts.known, class.came + came),
                new => {
                    let count = class.count + new;
                    *class = Class { count, steps: self.steps, all: self.all, ..Class::default() };
                }
            }
        }
        let untold = |class: &usize| self.is_gone(*class) && !self.classes[*class].told;
        let untold: Vec<usize> = (0..came.len()).filter(untold).collect();
        untold.iter().for_each(|class| self.classes[*class].told = true);
        untold
    }

    /// Returns whether a class that had pseudo-labels has had none for long.
    fn is_gone(&self, class: usize) -> bool {
        let class = &self.classes[class];
        let missed = class.count as f64 / class.all.max(1) as f64 * (self.all - class.all) as f64;
        let came = class.known == 0 || class.came >= LEAST_CAME;
        self.steps - class.steps >= LEAST_STEPS && missed >= LEAST_MISSED && came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch of 50 steps: of each class, samples whose class may be known, those with it as pseudo-label, and accepted.
    fn counts(of: [(u64, u64, u64); 3], known: bool) -> Counts {
        let mut counts = Counts { steps: 50, ..Counts::default() };
        let mut given =
            of.iter().enumerate().flat_map(|(class, of)| (0..of.1).map(move |at| (class, at < of.2)));
        for (truth, of) in of.iter().enumerate() {
            for _ in 0..of.0 {
                let Some((given, accepted)) = given.next() else { continue };
                counts.add_sample((given, given), known.then_some(truth as u32), 0.9, accepted);
            }
        }
        counts
    }

    const NAMES: [&str; 3] = ["ant", "bee", "cat"];

    fn end(alarm: &mut ClassAlarm, counts: &Counts) -> String {
        alarm.end_epoch(7, counts, (true, Remedy::default()), &NAMES.map(String::from)).join("\n")
    }

    #[test]
    fn a_class_that_is_no_longer_answered_is_told_once() {
        for known in [false, true] {
            let mut alarm = ClassAlarm::default();
            let well = counts([(100, 120, 60), (100, 100, 50), (100, 80, 40)], known);
            let collapsed = counts([(100, 200, 80), (100, 0, 0), (100, 100, 50)], known);
            assert_eq!(end(&mut alarm, &well) + &end(&mut alarm, &collapsed), "", "50 steps may pass");
            let said = end(&mut alarm, &collapsed);
            assert!(said.contains("answered with class bee") && said.lines().count() == 1, "{said}");
            assert_eq!(end(&mut alarm, &collapsed), "");
            // It comes back, and goes again.
            assert_eq!(end(&mut alarm, &well) + &end(&mut alarm, &collapsed), "");
            assert!(end(&mut alarm, &collapsed).contains("bee"));
            assert_eq!(alarm.count, 2);
        }
    }

    #[test]
    fn a_class_that_the_stream_no_longer_brings_is_no_fault() {
        let mut alarm = ClassAlarm::default();
        end(&mut alarm, &counts([(100, 100, 50); 3], true));
        for _ in 0..5 {
            assert_eq!(end(&mut alarm, &counts([(150, 150, 50), (0, 0, 0), (150, 150, 50)], true)), "");
        }
        // Not told by a source that knows no classes, the class may still come.
        end(&mut alarm, &counts([(100, 100, 50); 3], false));
        end(&mut alarm, &counts([(150, 150, 50), (0, 0, 0), (150, 150, 50)], false));
        assert!(end(&mut alarm, &counts([(150, 150, 50), (0, 0, 0), (150, 150, 50)], false)).contains("bee"));
    }

    #[test]
    fn a_rare_class_may_be_absent_for_longer() {
        let mut alarm = ClassAlarm::default();
        end(&mut alarm, &counts([(494, 494, 0), (500, 500, 0), (6, 6, 0)], false));
        for _ in 0..8 {
            assert_eq!(end(&mut alarm, &counts([(500, 500, 0), (500, 500, 0), (0, 0, 0)], false)), "");
        }
        assert!(end(&mut alarm, &counts([(500, 500, 0), (500, 500, 0), (0, 0, 0)], false)).contains("cat"));
    }

    #[test]
    fn a_class_whose_pseudo_labels_are_all_rejected_is_told() {
        let mut alarm = ClassAlarm::default();
        let rejected = counts([(100, 100, 60), (100, 100, 0), (100, 100, 50)], true);
        end(&mut alarm, &counts([(100, 100, 50); 3], true));
        assert_eq!(end(&mut alarm, &rejected), "");
        let said = end(&mut alarm, &rejected);
        assert!(said.contains("no pseudo-label of class bee has been accepted"), "{said}");
        let mut supervised = ClassAlarm::default();
        let names = NAMES.map(String::from);
        supervised.end_epoch(1, &counts([(100, 100, 50); 3], true), (false, Remedy::default()), &names);
        (0..4).for_each(|_| {
            assert!(supervised.end_epoch(2, &rejected, (false, Remedy::default()), &names).is_empty())
        });
        let nothing = counts([(100, 100, 0), (100, 100, 0), (100, 100, 0)], true);
        let mut alarm = ClassAlarm::default();
        end(&mut alarm, &counts([(100, 100, 50); 3], true));
        (0..4).for_each(|_| {
            assert_eq!(end(&mut alarm, &nothing), "", "those of others are not accepted either")
        });
    }
}

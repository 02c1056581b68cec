//! Counts of cases and of broken promises.

use crate::recovery::{Broken, Outcome};
use std::collections::BTreeMap;
use std::time::Instant;

/// Cases after which the count is printed.
const OFTEN: usize = 50;

/// The outcomes of cases.
pub struct Tally {
    began: Instant,
    cases: usize,
    refused: BTreeMap<String, usize>,
    accepted: usize,
    gone: usize,
    broken: Vec<(String, Broken, String)>,
}

impl Default for Tally {
    fn default() -> Self {
        let (refused, broken) = Default::default();
        Self { began: Instant::now(), cases: 0, refused, accepted: 0, gone: 0, broken }
    }
}

impl Tally {
    pub fn add(&mut self, case: &str, outcome: Outcome) {
        self.cases += 1;
        self.accepted += usize::from(outcome.accepted);
        self.gone += outcome.gone;
        for (what, how) in outcome.broken {
            println!("{case}: {what:?}: {how}");
            self.broken.push((case.to_string(), what, how));
        }
        if let Some(reason) = outcome.refused {
            // Without what differs from case to case.
            let reason: String = reason
                .split_whitespace()
                .filter(|word| !word.contains(['/', '0']))
                .collect::<Vec<_>>()
                .join(" ");
            *self.refused.entry(reason.chars().take(160).collect()).or_default() += 1;
        }
        if self.cases.is_multiple_of(OFTEN) {
            println!("{} cases in {:.0} s, {} broken", self.cases, self.seconds(), self.broken.len());
        }
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Prints the counts, and fails unless every promise was kept.
    pub fn close(self) {
        let count = |what| self.broken.iter().filter(|(_, broken, _)| *broken == what).count();
        println!(
            "{} cases in {:.0} s: {} lost, {} doubled, {} unsaid, {} hangs, {} otherwise wrong; {} refused to start, {} went on \
             where asked to, {} samples gone as they may",
            self.cases,
            self.seconds(),
            count(Broken::Lost),
            count(Broken::Doubled),
            count(Broken::Unsaid),
            count(Broken::Hangs),
            count(Broken::Wrong),
            self.refused.values().sum::<usize>(),
            self.accepted,
            self.gone,
        );
        self.refused.iter().for_each(|(reason, cases)| println!("  refused {cases}: {reason}"));
        assert!(self.broken.is_empty(), "{} of {} cases broke a promise", self.broken.len(), self.cases);
    }
}

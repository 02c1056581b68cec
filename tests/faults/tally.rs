//! Counts of cases and of broken promises.

use crate::recovery::{Broken, Outcome};
use std::collections::BTreeMap;

/// The outcomes of cases.
#[derive(Default)]
pub struct Tally {
    cases: usize,
    refused: BTreeMap<String, usize>,
    accepted: usize,
    gone: usize,
    broken: Vec<(String, Broken, String)>,
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
    }

    /// Prints the counts, and fails unless every promise was kept.
    pub fn close(self) {
        let count = |what| self.broken.iter().filter(|(_, broken, _)| *broken == what).count();
        println!(
            "{} cases: {} lost, {} doubled, {} unsaid, {} hangs, {} otherwise wrong; {} refused to start, {} went on \
             where asked to, {} samples gone as they may",
            self.cases,
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

//! A report in which every value is known.

#![allow(dead_code, missing_docs)]

use sluicebox_core::report::{Cell, Confusion, Meters, Named, Report};

/// Class names as a careless user may choose them.
pub const NASTY: [&str; 6] = ["plain", "say \"so\"", "two\nlines", "back\\slash", "Größe 漢字", ""];

/// Returns the report of `epoch`; a meter's value encodes its place in its table.
pub fn full(epoch: u64, classes: &[&str]) -> Report {
    Report {
        epoch,
        ended_ms: 1_790_000_000_000 + epoch * 1000,
        job: filled(),
        classes: named(classes),
        operators: named(&["source", "teach", "learn"]),
        workers: named(&["0", "1"]),
        sources: named(&["csv", "tcp", "csv"]),
        phases: named(&["0, 1", "2, 3"]),
        reasons: named(&["no such class", "not a number"]),
        confusions: vec![Confusion {
            of: "held-out".into(),
            cells: vec![
                Cell { truth: 0, given: 0, samples: 30, accepted: 20 },
                Cell { truth: 1, given: 0, samples: 5, accepted: 1 },
            ],
        }],
        ledger: None,
    }
}

fn filled<M: Meters>() -> M {
    let mut meters = M::default();
    for (at, meter) in M::METERS.iter().enumerate() {
        meters.put(meter.name, Some((at + 1) as f64));
    }
    meters
}

fn named<M: Meters>(names: &[&str]) -> Vec<Named<M>> {
    names.iter().map(|name| Named { name: name.to_string(), meters: filled() }).collect()
}

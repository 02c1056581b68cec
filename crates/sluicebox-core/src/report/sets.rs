//! The sets of numbers in a report: the whole job, and one row per class, operator, worker, source, phase and
//! reason. Every output that covers all sets goes through this table.

use crate::report::epoch::Report;
use crate::report::meter::{Meter, Meters};
use crate::report::meters::{
    ClassMeters, JobMeters, OperatorMeters, PhaseMeters, ReasonMeters, SourceMeters, WorkerMeters,
};
use crate::report::named::Named;

/// A set of numbers.
pub struct Set {
    /// Name in the singular, such as `class`.
    pub name: &'static str,
    /// Name in JSON, such as `classes`.
    pub key: &'static str,
    /// What a row describes, such as `each class`.
    pub of: &'static str,
    /// Description of each number.
    pub meters: &'static [Meter],
    /// Returns the rows in a report.
    pub rows: fn(&Report) -> Vec<Row<'_>>,
}

/// A row of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'r> {
    /// Name of the class, operator, worker, source, phase or reason; empty for the whole job.
    pub name: &'r str,
    /// The numbers, in the order of the set's meters; none where one is not known.
    pub values: Vec<Option<f64>>,
}

/// All sets, in the order in which they are shown.
pub const SETS: [Set; 7] = [
    Set {
        name: "job",
        key: "job",
        of: "the job",
        meters: JobMeters::METERS,
        rows: |report| vec![Row { name: "", values: report.job.values() }],
    },
    Set {
        name: "class",
        key: "classes",
        of: "each class",
        meters: ClassMeters::METERS,
        rows: |report| rows(&report.classes),
    },
    Set {
        name: "operator",
        key: "operators",
        of: "each operator",
        meters: OperatorMeters::METERS,
        rows: |report| rows(&report.operators),
    },
    Set {
        name: "worker",
        key: "workers",
        of: "each worker",
        meters: WorkerMeters::METERS,
        rows: |report| rows(&report.workers),
    },
    Set {
        name: "source",
        key: "sources",
        of: "each source",
        meters: SourceMeters::METERS,
        rows: |report| rows(&report.sources),
    },
    Set {
        name: "phase",
        key: "phases",
        of: "each phase",
        meters: PhaseMeters::METERS,
        rows: |report| rows(&report.phases),
    },
    Set {
        name: "reason",
        key: "reasons",
        of: "each reason",
        meters: ReasonMeters::METERS,
        rows: |report| rows(&report.reasons),
    },
];

fn rows<M: Meters>(named: &[Named<M>]) -> Vec<Row<'_>> {
    named.iter().map(|row| Row { name: &row.name, values: row.meters.values() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_of_numbers_in_a_report_is_a_set() {
        fn one<M: Default>() -> Vec<Named<M>> {
            vec![Named { name: "one".into(), meters: M::default() }]
        }
        // Without `..`: a new section of a report does not compile here before it is a set, or known not to be.
        let report = Report {
            epoch: 1,
            ended_ms: 0,
            job: JobMeters::default(),
            classes: one(),
            operators: one(),
            workers: one(),
            sources: one(),
            phases: one(),
            reasons: one(),
            confusions: Vec::new(),
            ledger: None,
        };
        for set in &SETS {
            let rows = (set.rows)(&report);
            assert_eq!(rows.len(), 1, "{}", set.name);
            assert_eq!(rows[0].values.len(), set.meters.len(), "{}", set.name);
        }
    }
}

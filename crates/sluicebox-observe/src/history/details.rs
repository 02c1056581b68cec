//! Details of an epoch: the parts of its report besides the job's meters, kept as JSON.

use serde::{Deserialize, Serialize};
use sluicebox_core::report::ledger::LedgerSection;
use sluicebox_core::report::{
    ClassMeters, Confusion, Named, OperatorMeters, PhaseMeters, ReasonMeters, Report, SourceMeters,
    WorkerMeters,
};
use std::borrow::Cow;

/// Parts of a report besides the job's meters.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Details<'a> {
    classes: Cow<'a, [Named<ClassMeters>]>,
    operators: Cow<'a, [Named<OperatorMeters>]>,
    workers: Cow<'a, [Named<WorkerMeters>]>,
    sources: Cow<'a, [Named<SourceMeters>]>,
    phases: Cow<'a, [Named<PhaseMeters>]>,
    reasons: Cow<'a, [Named<ReasonMeters>]>,
    confusions: Cow<'a, [Confusion]>,
    ledger: Option<Cow<'a, LedgerSection>>,
}

impl Details<'_> {
    /// Returns the details of a report as JSON.
    pub fn of(report: &Report) -> String {
        let details = Details {
            classes: Cow::Borrowed(&report.classes),
            operators: Cow::Borrowed(&report.operators),
            workers: Cow::Borrowed(&report.workers),
            sources: Cow::Borrowed(&report.sources),
            phases: Cow::Borrowed(&report.phases),
            reasons: Cow::Borrowed(&report.reasons),
            confusions: Cow::Borrowed(&report.confusions),
            ledger: report.ledger.as_ref().map(Cow::Borrowed),
        };
        serde_json::to_string(&details).unwrap_or_default()
    }

    /// Adds the details to a report.
    pub fn complete(self, report: Report) -> Report {
        Report {
            classes: self.classes.into_owned(),
            operators: self.operators.into_owned(),
            workers: self.workers.into_owned(),
            sources: self.sources.into_owned(),
            phases: self.phases.into_owned(),
            reasons: self.reasons.into_owned(),
            confusions: self.confusions.into_owned(),
            ledger: self.ledger.map(Cow::into_owned),
            ..report
        }
    }
}

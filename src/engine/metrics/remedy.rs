//! What an alarm of the filter advises: only keys that the job has.

/// Keys by which a job's filter judges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remedy {
    /// The method has the key `threshold`; without it its thresholds follow the network, or it has none.
    pub threshold: bool,
    /// The gate is on.
    pub gate: bool,
}

impl Remedy {
    /// Returns what lets more pseudo-labels pass.
    pub fn for_more(self) -> &'static str {
        match (self.threshold, self.gate) {
            (true, true) => "lower method.threshold or filter.gate.precision",
            (true, false) => "lower method.threshold",
            (false, true) => "lower filter.gate.precision",
            (false, false) => "take a method with a threshold of its own, such as fixmatch",
        }
    }

    /// Returns what lets fewer pseudo-labels pass.
    pub fn for_fewer(self) -> &'static str {
        match (self.threshold, self.gate) {
            (true, true) => "raise method.threshold or filter.gate.precision",
            (true, false) => "raise method.threshold, or set filter.gate where late labels come",
            (false, true) => "raise filter.gate.precision",
            (false, false) => {
                "take a method with a threshold of its own, such as fixmatch, or set filter.gate where late labels come"
            }
        }
    }
}

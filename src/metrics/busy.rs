//! How long operators were scheduled, as the engine tells. Filled by `flow`, emptied by the
//! reporter when an epoch ends.

/// Seconds since the beginning of the epoch.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    operators: [f64; Busy::OPERATORS.len()],
    known: bool,
    /// Seconds in which there was nothing to do.
    pub parked_s: f64,
}

impl Busy {
    /// The operators that are told of, in the dataflow's order. What keeps the ledger is one.
    pub const OPERATORS: [&'static str; 10] =
        ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report", "ledger", "commit"];
    /// Where the ledger's operators, which are many, are counted.
    const LEDGER: usize = 8;

    /// The place of the operator called `name`.
    pub fn place(name: &str) -> usize {
        Self::OPERATORS.iter().position(|other| *other == name).unwrap_or(Self::LEDGER)
    }

    /// The operator at `place` was scheduled for so long.
    pub fn add(&mut self, place: usize, seconds: f64) {
        self.known = true;
        self.operators[place] += seconds;
    }

    /// Seconds of the operator called `name`; none where nothing is told, or it is not there.
    pub fn of(&self, name: &str) -> Option<f64> {
        let seconds = self.operators[Self::place(name)];
        (self.known && seconds > 0.0).then_some(seconds)
    }
}

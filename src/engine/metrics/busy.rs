//! Seconds for which timely scheduled each operator. `flow` fills it; the reporter empties it at each epoch's
//! end.

/// Seconds since the beginning of the epoch.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    operators: [f64; Busy::OPERATORS.len()],
    known: bool,
    /// Seconds in which no operator had work.
    pub parked_s: f64,
}

impl Busy {
    /// Reported operators, in the dataflow's order. All operators of the ledger count as one.
    pub const OPERATORS: [&'static str; 10] =
        ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report", "ledger", "commit"];
    /// Index under which the many operators of the ledger are counted.
    const LEDGER: usize = 8;

    /// Returns the index of the operator called `name`.
    pub fn place(name: &str) -> usize {
        Self::OPERATORS.iter().position(|other| *other == name).unwrap_or(Self::LEDGER)
    }

    /// Adds `seconds` to the operator at `place`.
    pub fn add(&mut self, place: usize, seconds: f64) {
        self.known = true;
        self.operators[place] += seconds;
    }

    /// Seconds of the operator called `name`; none if nothing was recorded for it.
    pub fn of(&self, name: &str) -> Option<f64> {
        let seconds = self.operators[Self::place(name)];
        (self.known && seconds > 0.0).then_some(seconds)
    }
}

//! Shares of experts that settle: each expert counts by how well it foretold the labels that came. A Bayesian mixture over
//! several rates of switching, each with its own shares (fixed share: Herbster and Warmuth 1998, "Tracking the best
//! expert"): where nothing changes the slow rates win and a good expert keeps what it has earned; where the best expert
//! changes the fast rates win and the shares follow.

use serde::{Deserialize, Serialize};

/// How fast shares change.
#[derive(Debug)]
pub struct Pace {
    /// Rates of switching: fractions of the shares that return to the start with each label.
    pub rates: [f64; 4],
    /// Exponent on probabilities before they count: labels of a stream are not independent.
    pub evidence: f64,
}

/// The pace of those who learn: experts and network.
pub const LEARNERS: Pace = Pace { rates: [0.01, 0.03, 0.1, 0.3], evidence: 0.5 };
/// Least probability that counts.
pub const LEAST: f64 = 1e-4;

/// Shares of E experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// `[E]`: shares before any label.
    start: Vec<f64>,
    /// `[rates][E]`.
    of_rate: Vec<Vec<f64>>,
    /// `[rates]`: probability of each rate.
    rates: Vec<f64>,
}

impl Shares {
    /// Creates shares that begin with `start`, which sums to 1.
    pub fn new(start: Vec<f64>) -> Self {
        let count = LEARNERS.rates.len();
        let (of_rate, rates) = (vec![start.clone(); count], vec![1.0 / count as f64; count]);
        Self { start, of_rate, rates }
    }

    /// Returns `[E]`: the shares.
    pub fn now(&self) -> Vec<f64> {
        let of = |expert: usize| {
            self.of_rate.iter().zip(&self.rates).map(|(shares, rate)| shares[expert] * rate).sum()
        };
        (0..self.start.len()).map(of).collect()
    }

    /// Learns a label to which the experts gave the log probabilities `[E]`.
    pub fn learn(&mut self, log_probabilities: &[f32], pace: &Pace) {
        let counts = |log: &f32| (f64::from(*log).max(LEAST.ln()) * pace.evidence).exp();
        let evidence: Vec<f64> = log_probabilities.iter().map(counts).collect();
        for ((shares, probability), rate) in self.of_rate.iter_mut().zip(&mut self.rates).zip(pace.rates) {
            shares.iter_mut().zip(&evidence).for_each(|(share, evidence)| *share *= evidence);
            let sum: f64 = shares.iter().sum();
            *probability *= sum;
            let returns = shares.iter_mut().zip(&self.start);
            returns.for_each(|(share, start)| *share = (1.0 - rate) * *share / sum + rate * start);
        }
        let sum: f64 = self.rates.iter().sum();
        self.rates.iter_mut().for_each(|rate| *rate /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(shares: &mut Shares, labels: usize, probabilities: [f32; 2]) {
        (0..labels).for_each(|_| shares.learn(&probabilities.map(f32::ln), &LEARNERS));
    }

    #[test]
    fn a_share_is_earned_kept_and_lost_by_what_was_foretold() {
        let mut shares = Shares::new(vec![0.5, 0.5]);
        learn(&mut shares, 300, [0.6, 0.5]);
        let earned = shares.now();
        assert!(earned[0] > 0.85 && (earned.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{earned:?}");
        learn(&mut shares, 20, [0.05, 0.9]);
        assert!(shares.now()[1] > 0.9, "{:?}", shares.now());
        let mut never = Shares::new(vec![0.2, 0.8]);
        learn(&mut never, 1000, [0.0, 0.0]);
        assert!((never.now()[0] - 0.2).abs() < 1e-9, "neither is better");
    }

    #[test]
    fn one_label_is_the_formula() {
        let mut shares = Shares::new(vec![0.5, 0.5]);
        learn(&mut shares, 1, [0.81, 0.01]);
        // Evidence 0.9 and 0.1; all rates foretold alike; each returns its fraction to the start.
        let by_hand: f64 =
            LEARNERS.rates.iter().map(|rate| (1.0 - rate) * 0.9 + rate * 0.5).sum::<f64>() / 4.0;
        assert!((shares.now()[0] - by_hand).abs() < 1e-7);
    }
}

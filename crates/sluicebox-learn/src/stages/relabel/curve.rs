//! The curve of early learning (Liu et al. 2022, ADELE, §3.2): f(t) = a (1 - exp(-t^b / c)), with a and b from 0 to 1 and c
//! above 0, fitted to how often a network agrees with the labels that it learns from. What is right in them is learned first,
//! and fast; when the curve has slowed down, what is left to learn are wrong labels.

/// Rounds of the search for b and c, and values that a round tries to each side of the best.
const ROUNDS: usize = 8;
const VALUES: i32 = 4;
/// Range of b, and of the logarithm of c.
const POWERS: (f64, f64) = (0.02, 1.0);
const LOG_SCALES: (f64, f64) = (-3.0, 9.0);

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    pub a: f64,
    pub b: f64,
    pub c: f64,
}

impl Curve {
    /// Fits the curve to its values at 1, 2, 3 …: least squares, in which the last value counts 100 times as much as the first.
    pub fn fitted(values: &[f32]) -> Self {
        let (mut best, mut least) = (Self { a: 0.0, b: 1.0, c: 1.0 }, f64::INFINITY);
        let middle = |(from, to): (f64, f64)| (from + to) / 2.0;
        let (mut power, mut log_scale, mut part) = (middle(POWERS), middle(LOG_SCALES), 1.0);
        for _ in 0..ROUNDS {
            let around = |(from, to): (f64, f64), at: f64| {
                let half = part * (to - from) / 2.0;
                (-VALUES..=VALUES)
                    .map(move |k| (at + half * f64::from(k) / f64::from(VALUES)).clamp(from, to))
            };
            for b in around(POWERS, power) {
                let powers: Vec<f64> = (1..=values.len()).map(|t| (t as f64).powf(b)).collect();
                for log_c in around(LOG_SCALES, log_scale) {
                    let c = log_c.exp();
                    let (a, error) = scale(values, &powers, c);
                    if error < least {
                        (best, least) = (Self { a, b, c }, error);
                    }
                }
            }
            (power, log_scale) = (best.b, best.c.ln());
            part /= 2.0;
        }
        best
    }

    /// Returns by how much the curve has slowed down at `t` since 1: the fraction of its slope that is gone.
    pub fn slowed(&self, t: f64) -> f64 {
        1.0 - t.powf(self.b - 1.0) * ((1.0 - t.powf(self.b)) / self.c).exp()
    }
}

/// Returns the `a` with which the curve of this `c` and these t^b fits best, and its error but for a constant.
fn scale(values: &[f32], powers: &[f64], c: f64) -> (f64, f64) {
    let growth = 100f64.powf(1.0 / (values.len().max(2) - 1) as f64);
    let (mut weight, mut product, mut square) = (1.0, 0.0, 1e-12);
    for (value, power) in values.iter().zip(powers) {
        let shape = 1.0 - (-power / c).exp();
        product += weight * shape * f64::from(*value);
        square += weight * shape * shape;
        weight *= growth;
    }
    let a = (product / square).clamp(0.0, 1.0);
    (a, a * a * square - 2.0 * a * product)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Curve = Curve { a: 0.8, b: 1.0, c: 2.0 };

    fn at(curve: &Curve, t: f64) -> f64 {
        curve.a * (1.0 - (-t.powf(curve.b) / curve.c).exp())
    }

    #[test]
    fn the_slope_falls_as_worked_out_by_hand() {
        // f'(t) / f'(1) = exp(-(t - 1) / 2).
        for (t, slowed) in
            [(1.0, 0.0), (2.0, 0.3935), (3.0, 0.6321), (4.0, 0.7769), (5.0, 0.8647), (6.0, 0.9179)]
        {
            assert!((KNOWN.slowed(t) - slowed).abs() < 1e-4, "{t}: {}", KNOWN.slowed(t));
        }
        let bent = Curve { b: 0.5, ..KNOWN };
        let slope = |t: f64| (at(&bent, t + 1e-5) - at(&bent, t - 1e-5)) / 2e-5;
        assert!((bent.slowed(7.0) - (1.0 - slope(7.0) / slope(1.0))).abs() < 1e-5);
    }

    #[test]
    fn a_fit_finds_the_curve() {
        for known in [KNOWN, Curve { a: 0.6, b: 0.7, c: 5.0 }, Curve { a: 0.95, b: 1.0, c: 30.0 }] {
            let values: Vec<f32> = (1..=40).map(|t| at(&known, f64::from(t)) as f32).collect();
            let found = Curve::fitted(&values);
            let off = (1..=40)
                .map(|t| (at(&found, f64::from(t)) - at(&known, f64::from(t))).abs())
                .fold(0.0, f64::max);
            assert!(off < 0.01, "{found:?} is off {known:?} by {off}");
            let slowed = (found.slowed(12.0), known.slowed(12.0));
            assert!((slowed.0 - slowed.1).abs() < 0.05, "{slowed:?}");
        }
    }

    #[test]
    fn what_still_grows_has_not_slowed_down_and_nothing_is_no_number() {
        // A curve that ends at 1 at most cannot follow a steep line to its end.
        for (most, slowed) in [(12.0, 0.9), (100.0, 0.3)] {
            let line: Vec<f32> = (1..=10).map(|t| t as f32 / most).collect();
            assert!(Curve::fitted(&line).slowed(10.0) < slowed, "{most}");
        }
        for odd in [vec![0.0; 8], vec![1.0; 8], vec![0.5], Vec::new()] {
            let slowed = Curve::fitted(&odd).slowed(8.0);
            assert!(slowed.is_finite(), "{odd:?}: {slowed}");
        }
    }
}

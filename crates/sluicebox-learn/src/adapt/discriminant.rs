//! Linear discriminants in closed form, one per forgetting rate: class means and one shared covariance of labelled rows
//! weighted by exp(-age / time constant), the age counted in labels. They cost almost nothing and need no training
//! passes, so they can show which forgetting rate suits the stream.

use nalgebra::{Cholesky, DMatrix};
use serde::{Deserialize, Serialize};

/// Weight, in rows, of the shrinkage towards a diagonal covariance (independent features).
const SHRINK: f64 = 6.0;
/// Factor on the log likelihoods: they are over-confident after a drift.
const TEMPER: f64 = 0.5;
/// A discriminant is solved again once this fraction of its weight has come since. A slow rate needs it seldom.
const NEW: f64 = 0.02;
/// The weight of a label at which the sums are scaled back, so that they stay finite.
const HEAVY: f64 = 1e100;

/// Discriminants of one kind of row. K forgetting rates, C classes, F features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discriminants {
    classes: usize,
    features: usize,
    rates: Vec<Rate>,
    /// `[F, K C]`: weights, and `[K C]`: biases of the log probabilities; a class prior included.
    pub(super) weights: Vec<f32>,
    pub(super) biases: Vec<f32>,
}

/// Sums over labelled rows at one forgetting rate. Instead of fading them with each label, each label weighs more than
/// the one before; `weight` is that of the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rate {
    grows: f64,
    weight: f64,
    counts: Vec<f64>,
    /// `[C, F]`
    sums: Vec<f64>,
    /// Outer products of the rows: the lower triangle of `[F, F]`, row by row.
    squares: Vec<f64>,
    /// Weight that has come since the discriminant was solved.
    unsolved: f64,
}

impl Discriminants {
    /// Creates discriminants that have no labels. A time constant may be infinite (no forgetting).
    pub fn new(time_constants: &[f64], classes: usize, features: usize) -> Self {
        let rate = |constant: &f64| Rate {
            grows: (1.0 / constant).exp(),
            weight: 1.0,
            counts: vec![0.0; classes],
            sums: vec![0.0; classes * features],
            squares: vec![0.0; features * (features + 1) / 2],
            unsolved: 0.0,
        };
        let columns = time_constants.len() * classes;
        let (weights, biases) = (vec![0.0; features * columns], vec![0.0; columns]);
        Self { classes, features, rates: time_constants.iter().map(rate).collect(), weights, biases }
    }

    /// Returns the number of discriminants K.
    pub fn count(&self) -> usize {
        self.rates.len()
    }

    /// Adds the next labelled row `[F]`. It takes effect with the next [`Discriminants::solve`].
    pub fn add(&mut self, row: &[f32], class: usize) {
        let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        self.rates.iter_mut().for_each(|rate| rate.add(&row, class));
    }

    /// Multiplies all sums by `keeps`, so that later rows outweigh earlier ones. It takes effect with the next
    /// [`Discriminants::solve`].
    pub fn fade(&mut self, keeps: f64) {
        self.rates.iter_mut().for_each(|rate| rate.scale(keeps));
    }

    /// Solves the discriminants for which enough has come since, or `all` of them.
    pub fn solve(&mut self, all: bool) {
        let (classes, columns) = (self.classes, self.biases.len());
        for (at, rate) in self.rates.iter_mut().enumerate() {
            let weight: f64 = rate.counts.iter().sum();
            if weight == 0.0 || !all && rate.unsolved < NEW * weight {
                continue;
            }
            // Without a solution (a row that is not finite) the one before stays.
            let Some((weights, biases)) = rate.solve(classes, self.features) else { continue };
            rate.unsolved = 0.0;
            let first = at * classes;
            self.biases[first..first + classes].copy_from_slice(&biases);
            for (of_feature, new) in self.weights.chunks_exact_mut(columns).zip(weights.chunks_exact(classes))
            {
                of_feature[first..first + classes].copy_from_slice(new);
            }
        }
    }

    /// Writes the log probabilities `[K, C]` of a row `[F]`.
    pub fn predict(&self, row: &[f32], out: &mut [f32]) {
        out.copy_from_slice(&self.biases);
        for (value, weights) in row.iter().zip(self.weights.chunks_exact(self.biases.len())) {
            out.iter_mut().zip(weights).for_each(|(out, weight)| *out += value * weight);
        }
        out.chunks_exact_mut(self.classes).for_each(normalise);
    }
}

/// Turns scores of the classes into log probabilities.
pub fn normalise(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    let log = most + sum.ln();
    scores.iter_mut().for_each(|score| *score -= log);
}

impl Rate {
    fn add(&mut self, row: &[f64], class: usize) {
        self.weight *= self.grows;
        if self.weight > HEAVY {
            self.scale(1.0 / self.weight);
            self.weight = 1.0;
        }
        let weight = self.weight;
        self.counts[class] += weight;
        self.unsolved += weight;
        let sums = &mut self.sums[class * row.len()..(class + 1) * row.len()];
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        let mut rest = &mut self.squares[..];
        for (at, value) in row.iter().enumerate() {
            let squares;
            (squares, rest) = rest.split_at_mut(at + 1);
            let factor = weight * value;
            squares.iter_mut().zip(row).for_each(|(sum, other)| *sum += factor * other);
        }
    }

    fn scale(&mut self, factor: f64) {
        let sums = self.counts.iter_mut().chain(&mut self.sums).chain(&mut self.squares);
        sums.chain([&mut self.unsolved]).for_each(|sum| *sum *= factor);
    }

    /// Returns a weighted sum of products; `column` is at most `row`.
    fn square(&self, row: usize, column: usize) -> f64 {
        self.squares[row * (row + 1) / 2 + column] / self.weight
    }

    /// Returns weights `[F, C]` and biases `[C]` of the classes' log probabilities.
    fn solve(&self, classes: usize, features: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        // The weight of the newest label is 1.
        let counts: Vec<f64> = self.counts.iter().map(|count| count / self.weight).collect();
        let sums = DMatrix::from_column_slice(features, classes, &self.sums) / self.weight; // [F, C]
        let all: f64 = counts.iter().sum();
        let centre = sums.column_sum() / all;
        let mut means = sums.clone(); // shrunk to the centre
        for (mut mean, count) in means.column_iter_mut().zip(&counts) {
            mean += &centre;
            mean /= count + 1.0;
        }
        // Squares about the means: of rows x and means m of their class, Σ x xᵀ - Σ (x mᵀ + m xᵀ) + Σ m mᵀ.
        let mut half = sums.clone();
        for ((mut column, mean), count) in half.column_iter_mut().zip(means.column_iter()).zip(&counts) {
            column.axpy(-0.5 * count, &mean, 1.0);
        }
        let crossed = &half * means.transpose();
        // The factorisation reads the lower triangle only.
        let mut covariance = DMatrix::zeros(features, features);
        for column in 0..features {
            for row in column..features {
                covariance[(row, column)] =
                    self.square(row, column) - (crossed[(row, column)] + crossed[(column, row)]);
            }
        }
        let variance: Vec<f64> = (0..features)
            .map(|at| self.square(at, at) / all - centre[at].powi(2))
            .map(|variance| variance.max(0.0))
            .collect();
        let floor = variance.iter().sum::<f64>() / features as f64 * 1e-3 + 1e-9;
        (0..features).for_each(|at| covariance[(at, at)] += (variance[at] + floor) * SHRINK);
        covariance /= all + SHRINK;
        let weights = Cholesky::new(covariance)?.solve(&means); // [F, C]
        let biases = counts.iter().enumerate().map(|(class, count)| {
            let prior = (count + 1.0) / (all + classes as f64);
            (-0.5 * TEMPER * means.column(class).dot(&weights.column(class)) + prior.ln()) as f32
        });
        let biases: Vec<f32> = biases.collect();
        let weights: Vec<f32> = weights.transpose().iter().map(|weight| (weight * TEMPER) as f32).collect();
        (weights.iter().chain(&biases).all(|value| value.is_finite())).then_some((weights, biases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(discriminants: &mut Discriminants, row: &[f32], class: usize) {
        discriminants.add(row, class);
        discriminants.solve(false);
    }

    fn predict(discriminants: &Discriminants, row: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; discriminants.count() * discriminants.classes];
        discriminants.predict(row, &mut out);
        out
    }

    fn rows(range: std::ops::Range<usize>, turns: usize) -> Vec<(Vec<f32>, usize)> {
        let row = |at: usize| {
            let (class, turn) = (at % 2, at as f32 * 0.7);
            let side = if (class == 0) == (at < turns) { -2.0 } else { 2.0 };
            (vec![side + turn.sin(), turn.cos()], class)
        };
        range.map(row).collect()
    }

    #[test]
    fn the_border_lies_between_the_means_and_sides_are_sure() {
        let mut one = Discriminants::new(&[f64::INFINITY], 2, 2);
        rows(0..400, 1000).iter().for_each(|(row, class)| learn(&mut one, row, *class));
        assert!(predict(&one, &[0.0, 0.0])[0].exp() - 0.5 < 0.05);
        assert!(predict(&one, &[-2.0, 0.0])[0].exp() > 0.9 && predict(&one, &[2.0, 0.0])[1].exp() > 0.9);
        let sum: f32 = predict(&one, &[1.0, 7.0]).iter().map(|log| log.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }

    #[test]
    fn after_a_change_the_fast_rate_is_right_first() {
        let mut both = Discriminants::new(&[10.0, f64::INFINITY], 2, 2);
        rows(0..300, 240).iter().for_each(|(row, class)| learn(&mut both, row, *class));
        let found = predict(&both, &[-2.0, 0.0]);
        assert!(found[1] > found[0] && found[2] > found[3], "{found:?}");
    }

    #[test]
    fn the_solution_is_that_of_the_weighted_covariance() {
        // By hand, without forgetting: two classes of two rows each.
        let labelled = [([0.0f32, 0.0], 0), ([2.0, 0.0], 0), ([0.0, 3.0], 1), ([0.0, 5.0], 1)];
        let mut one = Discriminants::new(&[f64::INFINITY], 2, 2);
        labelled.iter().for_each(|(row, class)| learn(&mut one, row, *class));
        let centre = [0.5, 2.0];
        let means = [[(2.0 + 0.5) / 3.0, 2.0 / 3.0], [0.5 / 3.0, (8.0 + 2.0) / 3.0]];
        let mut covariance = [[0.0f64; 2]; 2];
        for (row, class) in labelled {
            let from = [f64::from(row[0]) - means[class][0], f64::from(row[1]) - means[class][1]];
            (0..4).for_each(|at| covariance[at / 2][at % 2] += from[at / 2] * from[at % 2]);
        }
        let variance = [4.0 / 4.0 - centre[0] * centre[0], 34.0 / 4.0 - centre[1] * centre[1]];
        let floor = (variance[0] + variance[1]) / 2.0 * 1e-3 + 1e-9;
        (0..2).for_each(|at| covariance[at][at] += (variance[at] + floor) * SHRINK);
        let [[a, b], [_, d]] = covariance.map(|row| row.map(|value| value / (4.0 + SHRINK)));
        let determinant = a * d - b * b;
        let score = |class: usize, row: [f64; 2]| {
            let [m, n] = means[class];
            let weights = [(d * m - b * n) / determinant, (a * n - b * m) / determinant];
            TEMPER * (row[0] * weights[0] + row[1] * weights[1] - 0.5 * (m * weights[0] + n * weights[1]))
        };
        let found = predict(&one, &[1.0, 2.0]);
        let by_hand = score(0, [1.0, 2.0]) - score(1, [1.0, 2.0]); // equal priors
        assert!((f64::from(found[0] - found[1]) - by_hand).abs() < 1e-5, "{found:?} {by_hand}");
    }

    #[test]
    fn a_long_stream_stays_finite_and_a_fade_makes_new_rows_count() {
        let mut fast = Discriminants::new(&[2.0], 2, 1);
        (0..2000).for_each(|at| learn(&mut fast, &[at as f32 % 2.0], at % 2));
        assert!(predict(&fast, &[1.0]).iter().all(|log| log.is_finite()));
        let (mut faded, mut plain) = (Discriminants::new(&[1e9], 2, 1), Discriminants::new(&[1e9], 2, 1));
        for (at, one) in [&mut faded, &mut plain].into_iter().enumerate() {
            (0..100).for_each(|at| learn(one, &[at as f32 % 2.0], at % 2));
            if at == 0 {
                one.fade(0.01);
                one.solve(true);
            }
            (0..20).for_each(|at| learn(one, &[1.0 - at as f32 % 2.0], at % 2));
        }
        assert!(predict(&faded, &[1.0])[0] > predict(&plain, &[1.0])[0] + 0.2);
        let before = predict(&plain, &[1.0]);
        learn(&mut plain, &[f32::NAN], 0);
        plain.fade(1.0);
        plain.solve(true);
        assert_eq!(predict(&plain, &[1.0]), before, "what cannot be solved changes nothing");
    }
}

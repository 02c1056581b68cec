//! Statistics over several seeds: mean, standard deviation, and the best of several variants.

use serde::Serialize;
use sluicebox_core::report::Better;

/// Mean and standard deviation over several seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (divided by n - 1); none for a single value.
    pub deviation: Option<f64>,
    /// Number of values.
    pub count: usize,
}

impl Statistics {
    /// Returns the spread of the known values; none where there are none.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().flatten().collect();
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        Some(Self { mean, deviation, count })
    }
}

/// Returns the index of the best, if it leads the next by more than the sum of both standard
/// deviations.
pub fn best(spreads: &[Option<Statistics>], better: Better) -> Option<usize> {
    let sign = match better {
        Better::Higher => 1.0,
        Better::Lower => -1.0,
        Better::Neither => return None,
    };
    let known = spreads.iter().enumerate().filter_map(|(at, spread)| Some((at, (*spread)?)));
    let mut known: Vec<(usize, Statistics)> = known.collect();
    known.sort_by(|(_, a), (_, b)| (sign * b.mean).total_cmp(&(sign * a.mean)));
    let [(at, first), (_, second), ..] = known[..] else { return None };
    let ahead = sign * (first.mean - second.mean);
    (ahead > first.deviation? + second.deviation?).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> Option<Statistics> {
        Statistics::of(values.iter().copied().map(Some))
    }

    #[test]
    fn mean_and_deviation_as_by_hand() {
        // Mean 5; squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32; 32 / 7.
        let found = spread(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((found.mean, found.count), (5.0, 8));
        assert!((found.deviation.unwrap() - 2.138_089_935).abs() < 1e-9);
        assert_eq!(spread(&[3.0]), Some(Statistics { mean: 3.0, deviation: None, count: 1 }));
        assert_eq!(Statistics::of([None, Some(2.0), Some(4.0)]).unwrap().mean, 3.0);
        assert_eq!(Statistics::of([None]), None);
    }

    #[test]
    fn only_a_clear_best_is_one() {
        let clear = [spread(&[0.9, 0.92]), spread(&[0.5, 0.6]), None];
        assert_eq!(best(&clear, Better::Higher), Some(0));
        assert_eq!(best(&clear, Better::Lower), Some(1));
        assert_eq!(best(&clear, Better::Neither), None);
        // Means 0.9 and 0.8; deviations 0.0707 each: 0.1 is less than both together.
        let close = [spread(&[0.85, 0.95]), spread(&[0.75, 0.85])];
        assert_eq!(best(&close, Better::Higher), None);
        assert_eq!(best(&[spread(&[0.9]), spread(&[0.1])], Better::Higher), None, "one seed says nothing");
        assert_eq!(best(&clear[..1], Better::Higher), None);
    }
}

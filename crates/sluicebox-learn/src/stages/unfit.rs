//! Samples that no network can compute with: a value is so large that its square is not finite. Such a value is a fill
//! value or a fault of a sensor; one of them would poison sums for ever.

use crate::standardise::Standardise;
use sluicebox_core::sample::{Format, Labelled, Values};
use std::ops::Range;

/// Largest magnitude of a value as the network gets it: the sum of the squares of 10^8 such values is finite in f32.
const LARGEST: f64 = 1e15;
/// Largest magnitude of a value that is yet to be standardised.
const LARGEST_RAW: f64 = 1e30;

/// Says which samples are unfit.
#[derive(Clone, Copy)]
pub struct Fitness<'a> {
    /// Shape and scale of the samples.
    pub format: &'a Format,
    /// The stream's mean and deviation, where samples are standardised.
    pub standardise: Option<&'a Standardise>,
}

impl Fitness<'_> {
    /// Returns whether a sample, whose values are at `at`, is unfit.
    pub fn is_unfit(self, values: &Values, at: Range<usize>) -> bool {
        let scale = f64::from(self.format.scale);
        let Values::F32(values) = values else { return false };
        values[at].iter().enumerate().any(|(feature, value)| {
            let value = f64::from(*value) * scale;
            let deviations = self.standardise.and_then(|standardise| standardise.deviations(feature, value));
            value.abs() > LARGEST_RAW || deviations.unwrap_or(value).abs() > LARGEST
        })
    }

    /// Returns the positions of the unfit samples.
    pub fn unfit(self, values: &Values) -> Vec<usize> {
        let length = self.format.shape.len();
        let samples = 0..values.len() / length;
        samples.filter(|at| self.is_unfit(values, at * length..(at + 1) * length)).collect()
    }

    /// Returns labelled samples without the unfit ones, and the number of those.
    pub fn fit(self, samples: Labelled) -> (Labelled, usize) {
        let without = self.unfit(&samples.values);
        if without.is_empty() {
            return (samples, 0);
        }
        let length = self.format.shape.len();
        let mut fit = Labelled { values: Values::none(self.format.dtype), classes: Vec::new() };
        for (at, class) in samples.classes.iter().enumerate().filter(|(at, _)| !without.contains(at)) {
            fit.values.extend_from(&samples.values, at * length..(at + 1) * length);
            fit.classes.push(*class);
        }
        (fit, without.len())
    }
}

/// Sets the values of the samples at these positions to 0.
pub fn clear(values: &mut Values, positions: &[usize], length: usize) {
    if let Values::F32(values) = values {
        positions.iter().for_each(|at| values[at * length..(at + 1) * length].fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    #[test]
    fn samples_with_huge_values_are_found_cleared_and_left_out() {
        let classes = vec!["ant".into(), "bee".into()];
        let shape = Shape::Vector { features: 2 };
        let format = Format { shape, dtype: Dtype::F32, scale: 0.5, classes };
        let fitness = Fitness { format: &format, standardise: None };
        let mut values = Values::F32(vec![1.0, 2.0, 1e20, 1.0, 3.0, -4e15, 1.9e15, 0.0]);
        assert_eq!(fitness.unfit(&values), [1, 2]);
        let samples = Labelled { values: values.clone(), classes: vec![0, 1, 0, 1] };
        let (left, without) = fitness.fit(samples);
        assert_eq!((left.classes, without), (vec![0, 1], 2));
        assert!(matches!(left.values, Values::F32(values) if values == [1.0, 2.0, 1.9e15, 0.0]));
        clear(&mut values, &[1, 2], 2);
        assert_eq!(fitness.unfit(&values), Vec::<usize>::new());
    }

    #[test]
    fn once_the_stream_is_known_deviations_from_its_mean_count() {
        let classes = vec!["ant".into(), "bee".into()];
        let shape = Shape::Vector { features: 2 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
        let mut standardise = Standardise::new(&format, 0);
        // Nanoseconds since 1970, and a small number.
        let times = |rows: std::ops::Range<u32>| {
            let rows = rows.flat_map(|row| [1.7e18 + 1e15 * row as f32, 1e-7 * (row % 5) as f32]);
            Values::F32(rows.collect())
        };
        let of = |standardise: &Standardise, values: &Values| {
            Fitness { format: &format, standardise: Some(standardise) }.unfit(values)
        };
        assert_eq!(of(&standardise, &times(0..2)), [0, 1], "nothing is known");
        standardise.add(&times(0..50), &[]);
        assert_eq!(of(&standardise, &times(50..52)), Vec::<usize>::new());
        assert_eq!(of(&standardise, &Values::F32(vec![1.7e18, 1e10, -3.4e38, 0.0])), [0, 1]);
    }
}

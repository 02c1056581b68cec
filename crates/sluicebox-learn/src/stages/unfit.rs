//! Samples that no network can compute with: a value is so large that its square is not finite. Such a value is a fill
//! value or a fault of a sensor; one of them would poison sums for ever.

use sluicebox_core::sample::{Format, Labelled, Values};
use std::ops::Range;

/// Largest magnitude of a value, scaled: the sum of the squares of 10^8 such values is finite in f32.
const LARGEST: f32 = 1e15;

/// Returns whether a sample, whose values are at `at`, is unfit.
pub fn is_unfit(values: &Values, at: Range<usize>, scale: f32) -> bool {
    match values {
        Values::U8(_) => false,
        Values::F32(values) => values[at].iter().any(|value| (value * scale).abs() > LARGEST),
    }
}

/// Returns the positions of the unfit samples.
pub fn unfit(values: &Values, format: &Format) -> Vec<usize> {
    let length = format.shape.len();
    let samples = 0..values.len() / length;
    samples.filter(|at| is_unfit(values, at * length..(at + 1) * length, format.scale)).collect()
}

/// Sets the values of the samples at these positions to 0.
pub fn clear(values: &mut Values, positions: &[usize], length: usize) {
    if let Values::F32(values) = values {
        positions.iter().for_each(|at| values[at * length..(at + 1) * length].fill(0.0));
    }
}

/// Returns labelled samples without the unfit ones, and the number of those.
pub fn fit(samples: Labelled, format: &Format) -> (Labelled, usize) {
    let without = unfit(&samples.values, format);
    if without.is_empty() {
        return (samples, 0);
    }
    let length = format.shape.len();
    let mut fit = Labelled { values: Values::none(format.dtype), classes: Vec::new() };
    for (at, class) in samples.classes.iter().enumerate().filter(|(at, _)| !without.contains(at)) {
        fit.values.extend_from(&samples.values, at * length..(at + 1) * length);
        fit.classes.push(*class);
    }
    (fit, without.len())
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
        let mut values = Values::F32(vec![1.0, 2.0, 1e20, 1.0, 3.0, -4e15, 2e15, 0.0]);
        assert_eq!(unfit(&values, &format), [1, 2]);
        let samples = Labelled { values: values.clone(), classes: vec![0, 1, 0, 1] };
        let (left, without) = fit(samples, &format);
        assert_eq!((left.classes, without), (vec![0, 1], 2));
        assert!(matches!(left.values, Values::F32(values) if values == [1.0, 2.0, 2e15, 0.0]));
        clear(&mut values, &[1, 2], 2);
        assert_eq!(unfit(&values, &format), Vec::<usize>::new());
    }
}

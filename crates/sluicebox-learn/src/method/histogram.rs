//! A histogram of a stream of numbers with exponential forgetting, and its optimal split in two.

use tch::{Device, Kind, Tensor};

/// Number of bins, all of equal width.
const BINS: i64 = 64;

/// Counts of numbers from 0 to `most`; larger ones go into the last bin. It lies on the device of the
/// numbers.
pub struct Histogram {
    most: f64,
    stays: f64,
    /// `[BINS]` f32 counts.
    pub counts: Option<Tensor>,
}

impl Histogram {
    /// Creates an empty histogram; the fraction `stays` of its counts is kept at each step.
    pub fn new(most: f64, stays: f64) -> Self {
        Self { most, stays, counts: None }
    }

    /// Adds `numbers` `[N]`.
    pub fn add(&mut self, numbers: &Tensor) {
        let bins = (numbers * (BINS as f64 / self.most)).floor().clamp(0.0, (BINS - 1) as f64);
        let new = bins.unsqueeze(1).eq_tensor(&places(numbers.device())); // [N, BINS]
        let new = new.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        self.counts = Some(match self.counts.take() {
            Some(old) => old.to_device(numbers.device()) * self.stays + new,
            None => new,
        });
    }

    /// Returns the split that maximises the variance between the two parts (Otsu 1979, equation 14):
    /// numbers below it form the first part. A scalar; 0 where all counts are in one bin or zero.
    /// `None` before the first step.
    pub fn cut(&self) -> Option<Tensor> {
        let counts = self.counts.as_ref()?;
        let share = counts / counts.sum(Kind::Float).clamp_min(1e-12);
        let below = share.cumsum(0, Kind::Float); // ω(k) of the bins up to k
        let moment = (&share * places(counts.device())).cumsum(0, Kind::Float); // μ(k)
        let whole = moment.narrow(0, BINS - 1, 1); // μ_T
        let parts: Tensor = &below * (1.0 - &below);
        let between = (whole * &below - &moment).square() / parts.clamp_min(1e-6);
        // Within a gap all splits are equally good: the middle of the best makes the choice
        // well-defined.
        let best = between.ge_tensor(&(between.max() * (1.0 - 1e-5))).logical_and(&between.gt(1e-9));
        let best = best.to_kind(Kind::Float);
        let places = places(counts.device()) + 1.0;
        let middle = (&best * places).sum(Kind::Float) / best.sum(Kind::Float).clamp_min(1.0);
        Some(middle * (self.most / BINS as f64))
    }
}

/// Returns the bin indices: `[BINS]` f32.
fn places(device: Device) -> Tensor {
    Tensor::arange(BINS, (Kind::Float, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(histogram: &Histogram) -> f64 {
        histogram.cut().unwrap().double_value(&[])
    }

    #[test]
    fn two_heaps_are_cut_between_them() {
        let mut histogram = Histogram::new(6.4, 0.5);
        assert!(histogram.cut().is_none());
        histogram.add(&Tensor::from_slice(&[0.12f32, 0.18, 0.11, 0.31]));
        histogram.add(&Tensor::from_slice(&[4.05f32, 5.07]));
        // Bins 1 and 3, halved, against 40 and 50: any split from the end of bin 3 (0.4) to the
        // beginning of bin 40 (4.0) is equally good; the middle is returned.
        assert!((cut(&histogram) - 2.2).abs() < 1e-5, "{}", cut(&histogram));
    }

    #[test]
    fn one_heap_is_not_cut_and_the_large_are_in_the_last_bin() {
        let mut histogram = Histogram::new(1.0, 0.9);
        histogram.add(&Tensor::from_slice(&[0.5f32, 0.501]));
        assert_eq!(cut(&histogram), 0.0);
        histogram.add(&Tensor::from_slice(&[1e9f32, f32::INFINITY]));
        let counts: Vec<f32> = histogram.counts.as_ref().unwrap().try_into().unwrap();
        assert_eq!((counts[32], counts[63]), (1.8, 2.0));
        assert!(cut(&histogram) > 0.5);
    }

    #[test]
    fn the_cut_is_otsus() {
        // By definition: the split with the largest variance between the parts.
        let counts = [9.0f64, 14.0, 3.0, 1.0, 0.5, 2.0, 6.0, 4.0];
        let between = |cut: usize| {
            let part = |range: std::ops::Range<usize>| {
                let weight: f64 = counts[range.clone()].iter().sum();
                let moment: f64 = range.map(|bin| bin as f64 * counts[bin]).sum();
                (weight, moment / weight)
            };
            let ((w0, m0), (w1, m1)) = (part(0..cut), part(cut..counts.len()));
            w0 * w1 * (m0 - m1).powi(2)
        };
        let best = (1..counts.len()).max_by(|a, b| between(*a).total_cmp(&between(*b))).unwrap();
        let mut histogram = Histogram::new(BINS as f64, 1.0);
        let padded: Vec<f32> =
            (0..BINS as usize).map(|bin| *counts.get(bin).unwrap_or(&0.0) as f32).collect();
        histogram.counts = Some(Tensor::from_slice(&padded));
        assert!((cut(&histogram) - best as f64).abs() < 1e-4);
    }
}

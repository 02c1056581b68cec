//! Recency index: labelled samples in order of age. Newer samples are drawn more often, and those
//! from before a drift alarm (`drift` section) less often than those that came since.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::rng::Draws;
use std::collections::VecDeque;
use std::ops::Range;

/// Maximum number of alarms kept. Samples from before more alarms than that are hardly ever drawn.
const ALARMS: usize = 16;

/// Slots of samples, oldest first.
#[derive(Debug, Default)]
pub struct RecencyIndex {
    /// Key (number of samples that came before) and slot of each sample.
    order: VecDeque<(u64, usize)>,
    alarms: DriftAlarms,
}

/// Drift alarms, oldest first: the next sample's key at the alarm, and the factor that it applies
/// to the weight of samples with a lower key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftAlarms(Vec<(u64, f64)>);

/// Samples between two alarms.
#[derive(Debug, PartialEq)]
struct Span {
    /// Ranks by age; the newest sample has rank 0.
    ranks: Range<usize>,
    weight: f64,
}

impl RecencyIndex {
    /// Creates an index of `samples` (key and slot each) with the alarms so far.
    pub fn new(samples: impl Iterator<Item = (u64, usize)>, alarms: DriftAlarms) -> Self {
        let mut order: Vec<(u64, usize)> = samples.collect();
        order.sort();
        Self { order: order.into(), alarms }
    }

    /// Adds the newest sample.
    pub fn push(&mut self, key: u64, slot: usize) {
        self.order.push_back((key, slot));
    }

    /// Removes the sample with this key.
    pub fn remove(&mut self, key: u64) {
        if let Some(place) = self.place(key) {
            self.order.remove(place);
        }
    }

    /// Records that the sample with this key moved to another slot.
    pub fn moved(&mut self, key: u64, slot: usize) {
        if let Some(place) = self.place(key) {
            self.order[place].1 = slot;
        }
    }

    fn place(&self, key: u64) -> Option<usize> {
        self.order.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    /// Returns the oldest sample's slot.
    pub fn oldest(&self) -> Option<usize> {
        self.order.front().map(|(_, slot)| *slot)
    }

    /// Records an alarm before sample `key`: the weights of all earlier samples are multiplied by `keeps`.
    pub fn record_alarm(&mut self, key: u64, keeps: f64) {
        let oldest = self.order.front().map_or(key, |(key, _)| *key);
        let alarms = &mut self.alarms.0;
        alarms.push((key, keeps));
        alarms.retain(|(key, _)| *key > oldest);
        let over = alarms.len().saturating_sub(ALARMS);
        alarms.drain(..over);
    }

    /// Returns the alarms.
    pub fn alarms(&self) -> &DriftAlarms {
        &self.alarms
    }

    /// Returns the slots before the first alarm, between the first and the second, and so on,
    /// oldest first, each group with the factor of the alarm that follows it.
    pub fn between_alarms(&self) -> Vec<(Vec<usize>, f64)> {
        let mut from = 0;
        let mut parts = Vec::new();
        for (key, keeps) in self.alarms.0.iter().copied().chain([(u64::MAX, 1.0)]) {
            let to = self.order.partition_point(|(other, _)| *other < key);
            parts.push((self.order.range(from..to).map(|(_, slot)| *slot).collect(), keeps));
            from = to;
        }
        parts
    }

    /// Returns the non-empty spans, newest first. The newest has weight 1.
    fn spans(&self) -> Vec<Span> {
        let count = self.order.len();
        let (mut spans, mut weight, mut to) = (Vec::new(), 1.0, count);
        for (key, keeps) in self.alarms.0.iter().rev().copied().chain([(0, 1.0)]) {
            let from = self.order.partition_point(|(other, _)| *other < key);
            if from < to {
                spans.push(Span { ranks: count - to..count - from, weight });
            }
            if from < count {
                weight *= keeps; // an alarm with no sample since changes no relative weight
            }
            to = from;
        }
        spans
    }

    /// Returns whether all samples have the same weight: none lies before an alarm while another
    /// came after it.
    pub fn is_even(&self) -> bool {
        self.spans().len() < 2
    }

    /// Draws `count` slots. A sample's probability is Σ share · weight · exp(-age / time
    /// constant), normalised over the samples for each time constant. The age is counted in samples; an
    /// infinite time constant is uniform.
    pub fn draw(
        &self,
        count: usize,
        time_constants: &[f64],
        shares: &[f64],
        draws: &mut Draws,
    ) -> Vec<usize> {
        let spans = self.spans();
        (0..count).map(|_| self.one(&spans, time_constants, shares, draws)).collect()
    }

    fn one(&self, spans: &[Span], time_constants: &[f64], shares: &[f64], draws: &mut Draws) -> usize {
        let constant = chosen(shares, draws).map_or(f64::INFINITY, |at| time_constants[at]);
        let length = |ranks: &Range<usize>| (ranks.end - ranks.start) as f64;
        let ranks = match spans {
            [only] => only.ranks.clone(),
            _ => {
                let mass = |Span { ranks, weight }: &Span| match constant.is_finite() {
                    true => {
                        weight
                            * (-(ranks.start as f64) / constant).exp()
                            * -(-length(ranks) / constant).exp_m1()
                    }
                    false => weight * length(ranks),
                };
                let masses: Vec<f64> = spans.iter().map(mass).collect();
                spans[chosen(&masses, draws).unwrap_or(0)].ranks.clone()
            }
        };
        let (uniform, count) = (draws.random::<f64>(), length(&ranks));
        let age = match constant.is_finite() {
            true => -constant * (-uniform * -(-count / constant).exp_m1()).ln_1p(), // inverse CDF
            false => uniform * count,
        };
        let rank = (ranks.start + age as usize).min(ranks.end - 1);
        self.order[self.order.len() - 1 - rank].1
    }
}

/// Draws an index of `shares` with probability proportional to its value; `None` where rounding leaves none.
fn chosen(shares: &[f64], draws: &mut Draws) -> Option<usize> {
    let mut left = draws.random::<f64>() * shares.iter().sum::<f64>();
    shares.iter().position(|share| {
        left -= share;
        left < 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};

    fn ages(keys: Range<u64>) -> RecencyIndex {
        RecencyIndex::new(keys.map(|key| (key, key as usize)), DriftAlarms::default())
    }

    /// Returns how often each slot is drawn.
    fn shares(ages: &RecencyIndex, time_constants: &[f64], of: &[f64]) -> Vec<f64> {
        let mut counts = vec![0.0; ages.order.len()];
        let mut draws = Randomness::new(0, 0).at(7, Stage::Labelled);
        for slot in ages.draw(40_000, time_constants, of, &mut draws) {
            counts[slot] += 1.0 / 40_000.0;
        }
        counts
    }

    fn close(found: &[f64], weights: &[f64]) {
        let sum: f64 = weights.iter().sum();
        let near = |(found, weight): (&f64, &f64)| (found - weight / sum).abs() < 0.006;
        assert!(found.iter().zip(weights).all(near), "{found:?} {weights:?}");
    }

    #[test]
    fn recent_samples_are_likelier_by_the_exponential_of_their_age() {
        let ages = ages(0..50);
        let expected = |constant: f64| {
            let weights: Vec<f64> = (0..50).map(|slot| (-f64::from(49 - slot) / constant).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / sum).collect::<Vec<f64>>()
        };
        close(&shares(&ages, &[5.0], &[1.0]), &expected(5.0));
        close(&shares(&ages, &[f64::INFINITY], &[1.0]), &[1.0; 50]);
        let half: Vec<f64> = expected(5.0).iter().zip(expected(30.0)).map(|(a, b)| a + b).collect();
        close(&shares(&ages, &[5.0, 30.0], &[0.5, 0.5]), &half);
    }

    #[test]
    fn what_is_from_before_an_alarm_counts_less_once_something_came_since() {
        let mut ages = ages(0..6);
        ages.record_alarm(6, 0.25);
        assert!(ages.is_even());
        close(&shares(&ages, &[f64::INFINITY], &[1.0]), &[1.0; 6]);
        (6..10).for_each(|key| ages.push(key, key as usize));
        assert!(!ages.is_even());
        let weight = |slot: i32| if slot < 6 { 0.25 } else { 1.0 };
        let all: Vec<f64> = (0..10).map(weight).collect();
        close(&shares(&ages, &[f64::INFINITY], &[1.0]), &all);
        let faded: Vec<f64> = (0..10).map(|slot| weight(slot) * (-f64::from(9 - slot) / 4.0).exp()).collect();
        close(&shares(&ages, &[4.0], &[1.0]), &faded);
        ages.record_alarm(10, 0.5);
        ages.record_alarm(10, 0.5);
        ages.push(10, 10);
        let twice: Vec<f64> = (0..11).map(|slot| if slot < 10 { weight(slot) * 0.25 } else { 1.0 }).collect();
        close(&shares(&ages, &[f64::INFINITY], &[1.0]), &twice);
        let parts: Vec<usize> = ages.between_alarms().iter().map(|(slots, _)| slots.len()).collect();
        assert_eq!(parts, [6, 4, 0, 1]);
    }

    #[test]
    fn alarms_are_bounded_and_go_with_the_samples_before_them() {
        let mut ages = ages(0..2);
        (0..100).for_each(|_| ages.record_alarm(2, 0.5));
        assert_eq!(ages.alarms.0.len(), ALARMS);
        ages.push(2, 2);
        (0..2).for_each(|key| ages.remove(key));
        ages.push(3, 0);
        ages.record_alarm(4, 0.5);
        assert_eq!(ages.alarms.0, [(4, 0.5)]);
    }
}

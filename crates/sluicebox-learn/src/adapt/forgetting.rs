//! Recency weighting: how fast to forget labelled samples. Several forgetting rates run side by
//! side, each with its own discriminant ([`crate::adapt::discriminant`]); a rate is the more probable, the
//! better its discriminant predicted the labels that came since (a mixture of experts: Vovk 1990,
//! with fading as in Herbster and Warmuth 1998). Labelled samples are replayed by that mixture, and
//! the discriminants are blended into the predictions.
//!
//! Age is counted in labels; weights are exp(-age / pace). Where late labels are possible but not
//! certain, no rate is trusted until [`EVIDENCE`] of them have been predicted: until then labelled
//! samples are replayed uniformly, and the network predicts alone.

use crate::adapt::discriminant;
use crate::adapt::discriminant::{Saved, Sums};
use crate::adapt::prior;
use crate::adapt::state::{AdaptState, Discriminants};
use crate::torch::TorchResult;
use crate::window::newest;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use tch::{Kind, Tensor};

/// Number of finite time constants tried: 10, 20, … 1,280 labels; an infinite one is added.
const PACES: usize = 8;
const FASTEST: f64 = 10.0;
/// Fraction of a score (a rate's or the network's) kept per label.
pub const SCORE_STAYS: f64 = 0.97;
/// Labels to predict before rates and discriminants are trusted, where late labels are possible but
/// not certain.
pub const EVIDENCE: u64 = 20;
/// Labelled samples added at once: each needs one weight per rate.
const AT_ONCE: i64 = 4096;
/// Factor on the discriminants' log likelihoods: they are over-confident after a drift.
const TEMPER: f64 = 0.5;

/// The forgetting rates and the probability of each.
pub struct ForgettingMixture {
    shape: Shape,
    paces: Vec<f64>,
    /// Number of newest unlabelled samples from which the present prior is estimated; 0 disables
    /// the estimate.
    window: i64,
    sums: Sums,
    /// `[K]`: exponentially decayed sums of log probabilities of labels.
    scores: Vec<f64>,
    /// Number of labels predicted so far.
    foretold: u64,
    /// Number of predicted labels after which the rates are trusted.
    evidence: u64,
    /// `[W, F]` f64: features of the newest unlabelled samples.
    newest: Tensor,
    /// `[K, C]` f64: log of the present class prior as estimated with each discriminant.
    present: Tensor,
    /// Weights `[K, F, C]` and biases `[K, C]`, once there are labels.
    solved: Option<(Tensor, Tensor)>,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct State {
    sums: Saved,
    scores: Vec<f64>,
    foretold: u64,
    newest: Vec<f64>,
    present: Vec<f64>,
    known: bool,
}

/// Returns the time constants tried where the job sets none, in labels.
pub fn tried() -> Vec<f64> {
    let finite = (0..PACES).map(|power| FASTEST * f64::from(1u32 << power));
    finite.chain([f64::INFINITY]).collect()
}

impl ForgettingMixture {
    /// Creates recency weighting with time constants `paces`, in labels, for samples of a shape; it
    /// is trusted after `evidence` predicted labels.
    pub fn new(paces: Vec<f64>, shape: Shape, classes: usize, window: usize, evidence: u64) -> Self {
        let one = Tensor::zeros(shape.batch(1).as_slice(), (Kind::Float, tch::Device::Cpu));
        let features = discriminant::seen(&one, shape).size()[1];
        Self {
            shape,
            window: window as i64,
            sums: Sums::new(&paces, classes as i64, features),
            scores: vec![0.0; paces.len()],
            foretold: 0,
            evidence,
            present: Tensor::zeros([paces.len() as i64, classes as i64], (Kind::Double, tch::Device::Cpu)),
            newest: Tensor::zeros([0, features], (Kind::Double, tch::Device::Cpu)),
            solved: None,
            paces,
        }
    }

    /// Returns the time constants in labels.
    pub fn paces(&self) -> &[f64] {
        &self.paces
    }

    /// Returns whether enough labels have been predicted to compare the rates.
    pub fn trusted(&self) -> bool {
        self.foretold >= self.evidence
    }

    /// Returns `[K]`: the probability of each rate; all on the slowest until the rates are trusted.
    pub fn shares(&self) -> Vec<f64> {
        if !self.trusted() {
            let slowest = self.paces.len() - 1;
            return (0..=slowest).map(|pace| if pace == slowest { 1.0 } else { 0.0 }).collect();
        }
        let best = self.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let likely: Vec<f64> = self.scores.iter().map(|score| (score - best).exp()).collect();
        let sum: f64 = likely.iter().sum();
        likely.into_iter().map(|share| share / sum).collect()
    }

    /// Learns late labels `classes` `[N]` of samples `input` `[N, …]` f32 on the CPU, after scoring
    /// each rate by how well its discriminant predicts them. Returns false if there was no
    /// discriminant yet.
    pub fn learn(&mut self, input: &Tensor, classes: &Tensor) -> Result<bool> {
        let foretells = self.solved.is_some();
        let rows = self.seen(input);
        if let Some((weights, bias)) = &self.solved {
            let likelihoods = (rows.unsqueeze(0).matmul(weights) + bias.unsqueeze(1)) * TEMPER;
            let prior = self.sums.prior().log().unsqueeze(1);
            let told = (likelihoods + prior).log_softmax(-1, Kind::Double); // [K, N, C]
            let index = classes.view([1, -1, 1]).expand([self.paces.len() as i64, -1, 1], false);
            let of_label = told.gather(2, &index, false).sum_dim_intlist([1i64, 2].as_slice(), false, None);
            let of_label: Vec<f64> = of_label.try_into().torch()?;
            let stays = SCORE_STAYS.powi(rows.size()[0] as i32);
            self.scores.iter_mut().zip(of_label).for_each(|(score, told)| *score = *score * stays + told);
            self.foretold += rows.size()[0] as u64;
        }
        self.take_in(&rows, classes);
        Ok(foretells)
    }

    /// Learns samples that the source delivered already labelled.
    pub fn add(&mut self, input: &Tensor, classes: &Tensor) {
        self.take_in(&self.seen(input), classes);
    }

    fn seen(&self, input: &Tensor) -> Tensor {
        discriminant::seen(input, self.shape).to_kind(Kind::Double)
    }

    fn take_in(&mut self, rows: &Tensor, classes: &Tensor) {
        for (rows, classes) in rows.split(AT_ONCE, 0).iter().zip(classes.split(AT_ONCE, 0)) {
            self.sums.add(rows, &classes);
        }
        self.solved = Some(self.sums.solve());
    }

    /// Handles a drift alarm: multiplies the weight of everything learned so far by `keeps`.
    pub fn alarm(&mut self, keeps: f64) {
        self.sums.fade(keeps);
        self.solved = self.solved.is_some().then(|| self.sums.solve());
    }

    /// Relearns from the replay buffer after a label in it was corrected or withdrawn. `parts` are
    /// the samples before the first alarm, those between it and the second, and so on, each with
    /// the factor of the alarm that follows.
    pub fn learn_again(&mut self, parts: &[(Tensor, Tensor, f64)]) {
        self.sums = Sums::new(&self.paces, self.present.size()[1], self.newest.size()[1]);
        for (input, classes, keeps) in parts {
            if classes.numel() > 0 {
                self.take_in(&self.seen(input), classes);
            }
            self.alarm(*keeps);
        }
    }

    /// Adds a step's unlabelled samples `input` `[B, …]` f32 on the CPU and updates the present prior.
    pub fn watch(&mut self, input: &Tensor) -> Option<AdaptState> {
        if self.window == 0 {
            return self.told();
        }
        let rows = self.seen(input);
        self.newest = newest(&self.newest, &rows, self.window);
        let (weights, bias) = self.solved.as_ref()?;
        let likelihoods = (self.newest.unsqueeze(0).matmul(weights) + bias.unsqueeze(1)) * TEMPER;
        self.present = prior::present(&likelihoods, &self.present);
        self.told()
    }

    /// Returns the recency weighting and discriminants for the present stream; `None` before there
    /// are labels.
    pub fn told(&self) -> Option<AdaptState> {
        let (weights, bias) = self.solved.as_ref()?;
        let shares = Tensor::from_slice(&self.shares()).view([-1, 1]);
        Some(AdaptState {
            trusted: self.trusted(),
            prior: (self.sums.prior() * shares)
                .sum_dim_intlist([0i64].as_slice(), false, None)
                .to_kind(Kind::Float),
            scores: Tensor::from_slice(&self.scores).to_kind(Kind::Float),
            discriminants: Discriminants {
                shape: self.shape,
                weights: (weights * TEMPER).to_kind(Kind::Float),
                bias: (bias * TEMPER + &self.present).to_kind(Kind::Float),
            },
            fresh: None,
        })
    }

    /// Serialises the state for [`ForgettingMixture::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        let newest = self.newest.flatten(0, -1).try_into().torch()?;
        let present = self.present.flatten(0, -1).try_into().torch()?;
        let (sums, scores, foretold) = (self.sums.saved()?, self.scores.clone(), self.foretold);
        let state = State { sums, scores, foretold, newest, present, known: self.solved.is_some() };
        bincode::serialize(&state).map_err(|error| Error::Engine(error.to_string()))
    }

    /// Restores a snapshot; returns false, and changes nothing, where it has other rates.
    pub fn restore(&mut self, state: &[u8]) -> Result<bool> {
        let damaged = |error| Error::Request(format!("the state of the pace is damaged: {error}"));
        let state: State = bincode::deserialize(state).map_err(damaged)?;
        let fits = state.scores.len() == self.scores.len() && state.present.len() == self.present.numel();
        if !fits || !self.sums.restore(&state.sums) {
            return Ok(false);
        }
        (self.scores, self.foretold) = (state.scores, state.foretold);
        self.newest = Tensor::from_slice(&state.newest).view([-1, self.newest.size()[1]]);
        self.present = Tensor::from_slice(&state.present).view(self.present.size().as_slice());
        self.solved = state.known.then(|| self.sums.solve());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::Vector { features: 2 };

    /// Labelled samples one by one: class 0 lies on the left until sample `turns`, then on the right.
    fn learn(pace: &mut ForgettingMixture, range: std::ops::Range<i32>, turns: i32) {
        for at in range {
            let (class, turn) = (at % 2, f64::from(at) * 0.7);
            let side = if (class == 0) == (at < turns) { -2.0 } else { 2.0 };
            let input = [(side + turn.sin()) as f32, turn.cos() as f32];
            let input = Tensor::from_slice(&input).view([1, 2]);
            pace.learn(&input, &Tensor::from_slice(&[i64::from(class)])).unwrap();
        }
    }

    fn pace() -> ForgettingMixture {
        ForgettingMixture::new(vec![10.0, f64::INFINITY], SHAPE, 2, 20, 7)
    }

    #[test]
    fn after_a_turn_the_fast_one_is_likelier_and_without_one_the_slow_one() {
        let (mut still, mut turned) = (pace(), pace());
        learn(&mut still, 0..200, 1000);
        learn(&mut turned, 0..200, 140);
        assert!(turned.shares()[0] > 0.9, "{:?}", turned.shares());
        assert!(still.shares()[1] > turned.shares()[1], "{:?}", still.shares());
        assert!((turned.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_restored_pace_goes_on_as_if_nothing_had_happened() {
        let stream = Tensor::from_slice(&[0.5f32, 0.1, -1.0, 0.3]).view([2, 2]);
        let mut first = pace();
        assert!(first.watch(&stream).is_none(), "there are no labels");
        learn(&mut first, 0..30, 1000);
        first.watch(&stream);
        let mut second = pace();
        second.restore(&first.snapshot().unwrap()).unwrap();
        for pace in [&mut first, &mut second] {
            learn(pace, 30..40, 35);
        }
        let (one, other) = (first.watch(&stream).unwrap(), second.watch(&stream).unwrap());
        assert!(one.discriminants.bias.equal(&other.discriminants.bias));
        assert!(one.discriminants.weights.equal(&other.discriminants.weights));
        assert!(one.scores.equal(&other.scores) && one.prior.equal(&other.prior));
        assert!(pace().restore(b"bad").is_err());
        assert!(
            !ForgettingMixture::new(vec![1.0], SHAPE, 2, 20, 7).restore(&first.snapshot().unwrap()).unwrap()
        );
    }

    #[test]
    fn after_an_alarm_new_labels_outweigh_old_ones() {
        let never = || ForgettingMixture::new(vec![f64::INFINITY], SHAPE, 2, 20, 7);
        let (mut told, mut plain, mut again) = (never(), never(), never());
        for pace in [&mut told, &mut plain] {
            learn(pace, 0..100, 1000);
        }
        told.alarm(0.1);
        let moved = Tensor::from_slice(&[8.0f32, 0.0, 6.0, 0.5]).view([2, 2]);
        let classes = Tensor::from_slice(&[0i64, 0]);
        for pace in [&mut told, &mut plain] {
            pace.add(&moved, &classes);
        }
        let prior = |pace: &ForgettingMixture| f64::try_from(pace.told().unwrap().prior.get(0)).unwrap();
        assert!(prior(&told) > prior(&plain) + 0.02, "{} {}", prior(&told), prior(&plain));
        let old: Vec<f32> = (0..100)
            .flat_map(|at| {
                let (side, turn) = (if at % 2 == 0 { -2.0 } else { 2.0 }, f64::from(at) * 0.7);
                [(side + turn.sin()) as f32, turn.cos() as f32]
            })
            .collect();
        let old_classes: Vec<i64> = (0..100).map(|at| at % 2).collect();
        again.learn_again(&[
            (Tensor::from_slice(&old).view([-1, 2]), Tensor::from_slice(&old_classes), 0.1),
            (moved, classes, 1.0),
        ]);
        assert!((prior(&again) - prior(&told)).abs() < 1e-6);
    }

    #[test]
    fn where_nobody_asks_for_the_present_prior_nothing_is_kept_for_it() {
        let mut pace = ForgettingMixture::new(vec![10.0], SHAPE, 2, 0, 7);
        learn(&mut pace, 0..30, 1000);
        let watched = pace.watch(&Tensor::ones([50, 2], (Kind::Float, tch::Device::Cpu))).unwrap();
        assert!(watched.discriminants.bias.equal(&pace.told().unwrap().discriminants.bias));
        assert_eq!(pace.newest.size()[0], 0);
    }

    #[test]
    fn only_labels_that_were_foretold_are_evidence() {
        let mut pace = pace();
        let (input, classes) = (
            Tensor::ones([50, 2], (Kind::Float, tch::Device::Cpu)),
            Tensor::zeros([50], tch::kind::INT64_CPU),
        );
        pace.add(&input, &classes);
        assert!(!pace.trusted() && !pace.told().unwrap().trusted);
        assert_eq!(pace.shares(), [0.0, 1.0]);
        learn(&mut pace, 0..6, 1000);
        assert!(!pace.trusted());
        learn(&mut pace, 0..1, 1000);
        assert!(pace.trusted() && pace.watch(&input).unwrap().trusted);
    }

    #[test]
    fn what_was_corrected_is_as_if_it_had_never_been_otherwise() {
        let input = Tensor::from_slice(&[1.0f32, 0.0, -1.0, 0.5, 2.0, 1.0]).view([3, 2]);
        let (wrong, right) = (Tensor::from_slice(&[0i64, 0, 1]), Tensor::from_slice(&[0i64, 1, 1]));
        let (mut corrected, mut plain) = (pace(), pace());
        corrected.learn(&input, &wrong).unwrap();
        corrected.learn_again(&[(input.shallow_clone(), right.shallow_clone(), 1.0)]);
        plain.learn(&input, &right).unwrap();
        let (one, other) = (corrected.watch(&input).unwrap(), plain.watch(&input).unwrap());
        assert!(one.discriminants.weights.equal(&other.discriminants.weights));
        assert!(one.prior.equal(&other.prior));
    }
}

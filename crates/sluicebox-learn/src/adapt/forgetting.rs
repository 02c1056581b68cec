//! Recency weighting: how fast to forget labelled samples. Several forgetting rates run side by
//! side, each with its own discriminant ([`crate::adapt::discriminant`]); a rate is the more probable, the
//! better its discriminant predicted the labels that came since (a mixture of experts: Vovk 1990,
//! with fading as in Herbster and Warmuth 1998). Labelled samples are replayed by that mixture, and
//! the discriminants are blended into the predictions.
//!
//! Age is counted in labels; weights are exp(-age / time constant). Where late labels are possible but not
//! certain, no rate is trusted until [`EVIDENCE`] of them have been predicted: until then labelled
//! samples are replayed uniformly, and the network predicts alone.

use crate::adapt::discriminant::{Saved, Sums};
use crate::adapt::features::features;
use crate::adapt::prior;
use crate::adapt::state::{AdaptState, Discriminants};
use crate::torch::TorchResult;
use crate::window::keep_newest_rows;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Number of finite time constants tried: 10, 20, … 1,280 labels; an infinite one is added.
const FINITE: usize = 8;
/// Least time constant tried, in labels.
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
    time_constants: Vec<f64>,
    /// Number of newest unlabelled samples from which the present prior is estimated; 0 disables
    /// the estimate.
    window: i64,
    sums: Sums,
    /// `[K]`: exponentially decayed sums of log probabilities of labels.
    scores: Vec<f64>,
    /// Number of labels predicted so far.
    predicted: u64,
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
    predicted: u64,
    newest: Vec<f64>,
    present: Vec<f64>,
    known: bool,
}

/// Returns the time constants tried where the job sets none, in labels.
pub fn default_time_constants() -> Vec<f64> {
    let finite = (0..FINITE).map(|power| FASTEST * f64::from(1u32 << power));
    finite.chain([f64::INFINITY]).collect()
}

impl ForgettingMixture {
    /// Creates recency weighting with time constants `time_constants`, in labels, for samples of a shape; it
    /// is trusted after `evidence` predicted labels.
    pub fn new(time_constants: Vec<f64>, shape: Shape, classes: usize, window: usize, evidence: u64) -> Self {
        let one = Tensor::zeros(shape.batch(1).as_slice(), (Kind::Float, tch::Device::Cpu));
        let features = features(&one, shape).size()[1];
        Self {
            shape,
            window: window as i64,
            sums: Sums::new(&time_constants, classes as i64, features),
            scores: vec![0.0; time_constants.len()],
            predicted: 0,
            evidence,
            present: Tensor::zeros(
                [time_constants.len() as i64, classes as i64],
                (Kind::Double, tch::Device::Cpu),
            ),
            newest: Tensor::zeros([0, features], (Kind::Double, tch::Device::Cpu)),
            solved: None,
            time_constants,
        }
    }

    /// Returns the time constants in labels.
    pub fn time_constants(&self) -> &[f64] {
        &self.time_constants
    }

    /// Returns whether enough labels have been predicted to compare the rates.
    pub fn trusted(&self) -> bool {
        self.predicted >= self.evidence
    }

    /// Returns `[K]`: the probability of each rate; all on the slowest until the rates are trusted.
    pub fn shares(&self) -> Vec<f64> {
        if !self.trusted() {
            let slowest = self.time_constants.len() - 1;
            return (0..=slowest).map(|rate| if rate == slowest { 1.0 } else { 0.0 }).collect();
        }
        let best = self.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let likely: Vec<f64> = self.scores.iter().map(|score| (score - best).exp()).collect();
        let sum: f64 = likely.iter().sum();
        likely.into_iter().map(|share| share / sum).collect()
    }

    /// Learns late labels `classes` `[N]` of samples `input` `[N, …]` f32 on the CPU, after scoring
    /// each rate by how well its discriminant predicts them. Returns whether there was a
    /// discriminant to predict them.
    pub fn learn(&mut self, input: &Tensor, classes: &Tensor) -> Result<bool> {
        let predicted_first = self.solved.is_some();
        let rows = self.rows(input);
        if let Some((weights, bias)) = &self.solved {
            let likelihoods = (rows.unsqueeze(0).matmul(weights) + bias.unsqueeze(1)) * TEMPER;
            let prior = self.sums.prior().log().unsqueeze(1);
            let predicted = (likelihoods + prior).log_softmax(-1, Kind::Double); // [K, N, C]
            let index = classes.view([1, -1, 1]).expand([self.time_constants.len() as i64, -1, 1], false);
            let of_label =
                predicted.gather(2, &index, false).sum_dim_intlist([1i64, 2].as_slice(), false, None);
            let of_label: Vec<f64> = of_label.try_into().torch()?;
            let stays = SCORE_STAYS.powi(rows.size()[0] as i32);
            self.scores.iter_mut().zip(of_label).for_each(|(score, new)| *score = *score * stays + new);
            self.predicted += rows.size()[0] as u64;
        }
        self.add_rows(&rows, classes);
        Ok(predicted_first)
    }

    /// Learns samples that the source delivered already labelled.
    pub fn add(&mut self, input: &Tensor, classes: &Tensor) {
        self.add_rows(&self.rows(input), classes);
    }

    fn rows(&self, input: &Tensor) -> Tensor {
        features(input, self.shape).to_kind(Kind::Double)
    }

    fn add_rows(&mut self, rows: &Tensor, classes: &Tensor) {
        for (rows, classes) in rows.split(AT_ONCE, 0).iter().zip(classes.split(AT_ONCE, 0)) {
            self.sums.add(rows, &classes);
        }
        self.solved = Some(self.sums.solve());
    }

    /// Handles a drift alarm: multiplies the weight of everything learned so far by `keeps`.
    pub fn decay_weights(&mut self, keeps: f64) {
        self.sums.fade(keeps);
        self.solved = self.solved.is_some().then(|| self.sums.solve());
    }

    /// Relearns from the replay buffer after a label in it was corrected or withdrawn. `parts` are
    /// the samples before the first alarm, those between it and the second, and so on, each with
    /// the factor of the alarm that follows.
    pub fn refit(&mut self, parts: &[(Tensor, Tensor, f64)]) {
        self.sums = Sums::new(&self.time_constants, self.present.size()[1], self.newest.size()[1]);
        for (input, classes, keeps) in parts {
            if classes.numel() > 0 {
                self.add_rows(&self.rows(input), classes);
            }
            self.decay_weights(*keeps);
        }
    }

    /// Adds a step's unlabelled samples `input` `[B, …]` f32 on the CPU, updates the present prior and
    /// returns the state with it; `None` before there are labels.
    pub fn track_prior(&mut self, input: &Tensor) -> Option<AdaptState> {
        if self.window == 0 {
            return self.adapt_state();
        }
        let rows = self.rows(input);
        self.newest = keep_newest_rows(&self.newest, &rows, self.window);
        let (weights, bias) = self.solved.as_ref()?;
        let likelihoods = (self.newest.unsqueeze(0).matmul(weights) + bias.unsqueeze(1)) * TEMPER;
        self.present = prior::estimate_prior(&likelihoods, &self.present);
        self.adapt_state()
    }

    /// Returns the recency weighting and discriminants for the present stream; `None` before there
    /// are labels.
    pub fn adapt_state(&self) -> Option<AdaptState> {
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

    /// Returns to a saved state; returns false, and changes nothing, where it has other time constants.
    pub fn load_matching(&mut self, state: &[u8]) -> Result<bool> {
        let state: State = decode(WHAT, state)?;
        let fits = state.scores.len() == self.scores.len() && state.present.len() == self.present.numel();
        if !fits || !self.sums.load(&state.sums) {
            return Ok(false);
        }
        (self.scores, self.predicted) = (state.scores, state.predicted);
        self.newest = Tensor::from_slice(&state.newest).view([-1, self.newest.size()[1]]);
        self.present = Tensor::from_slice(&state.present).view(self.present.size().as_slice());
        self.solved = state.known.then(|| self.sums.solve());
        Ok(true)
    }
}

/// The state's name in messages.
const WHAT: &str = "the forgetting rates";

impl Stateful for ForgettingMixture {
    fn save(&self) -> Result<Vec<u8>> {
        let newest = self.newest.flatten(0, -1).try_into().torch()?;
        let present = self.present.flatten(0, -1).try_into().torch()?;
        let (sums, scores, predicted) = (self.sums.to_saved()?, self.scores.clone(), self.predicted);
        encode(WHAT, &State { sums, scores, predicted, newest, present, known: self.solved.is_some() })
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        match self.load_matching(state)? {
            true => Ok(()),
            false => Err(Error::Request(format!("the state of {WHAT} does not fit the job"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::Vector { features: 2 };

    /// Labelled samples one by one: class 0 lies on the left until sample `turns`, then on the right.
    fn learn(mixture: &mut ForgettingMixture, range: std::ops::Range<i32>, turns: i32) {
        for at in range {
            let (class, turn) = (at % 2, f64::from(at) * 0.7);
            let side = if (class == 0) == (at < turns) { -2.0 } else { 2.0 };
            let input = [(side + turn.sin()) as f32, turn.cos() as f32];
            let input = Tensor::from_slice(&input).view([1, 2]);
            mixture.learn(&input, &Tensor::from_slice(&[i64::from(class)])).unwrap();
        }
    }

    fn mixture() -> ForgettingMixture {
        ForgettingMixture::new(vec![10.0, f64::INFINITY], SHAPE, 2, 20, 7)
    }

    #[test]
    fn after_a_change_the_fast_rate_is_likelier_and_without_one_the_slow_rate() {
        let (mut still, mut turned) = (mixture(), mixture());
        learn(&mut still, 0..200, 1000);
        learn(&mut turned, 0..200, 140);
        assert!(turned.shares()[0] > 0.9, "{:?}", turned.shares());
        assert!(still.shares()[1] > turned.shares()[1], "{:?}", still.shares());
        assert!((turned.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_restored_mixture_goes_on_alike() {
        let stream = Tensor::from_slice(&[0.5f32, 0.1, -1.0, 0.3]).view([2, 2]);
        let mut first = mixture();
        assert!(first.track_prior(&stream).is_none(), "there are no labels");
        learn(&mut first, 0..30, 1000);
        first.track_prior(&stream);
        let mut second = mixture();
        second.load(&first.save().unwrap()).unwrap();
        for mixture in [&mut first, &mut second] {
            learn(mixture, 30..40, 35);
        }
        let (one, other) = (first.track_prior(&stream).unwrap(), second.track_prior(&stream).unwrap());
        assert!(one.discriminants.bias.equal(&other.discriminants.bias));
        assert!(one.discriminants.weights.equal(&other.discriminants.weights));
        assert!(one.scores.equal(&other.scores) && one.prior.equal(&other.prior));
        assert!(mixture().load(b"bad").is_err());
        assert!(ForgettingMixture::new(vec![1.0], SHAPE, 2, 20, 7).load(&first.save().unwrap()).is_err());
    }

    #[test]
    fn after_an_alarm_new_labels_outweigh_old_ones() {
        let never = || ForgettingMixture::new(vec![f64::INFINITY], SHAPE, 2, 20, 7);
        let (mut faded, mut plain, mut again) = (never(), never(), never());
        for mixture in [&mut faded, &mut plain] {
            learn(mixture, 0..100, 1000);
        }
        faded.decay_weights(0.1);
        let moved = Tensor::from_slice(&[8.0f32, 0.0, 6.0, 0.5]).view([2, 2]);
        let classes = Tensor::from_slice(&[0i64, 0]);
        for mixture in [&mut faded, &mut plain] {
            mixture.add(&moved, &classes);
        }
        let prior =
            |mixture: &ForgettingMixture| f64::try_from(mixture.adapt_state().unwrap().prior.get(0)).unwrap();
        assert!(prior(&faded) > prior(&plain) + 0.02, "{} {}", prior(&faded), prior(&plain));
        let old: Vec<f32> = (0..100)
            .flat_map(|at| {
                let (side, turn) = (if at % 2 == 0 { -2.0 } else { 2.0 }, f64::from(at) * 0.7);
                [(side + turn.sin()) as f32, turn.cos() as f32]
            })
            .collect();
        let old_classes: Vec<i64> = (0..100).map(|at| at % 2).collect();
        again.refit(&[
            (Tensor::from_slice(&old).view([-1, 2]), Tensor::from_slice(&old_classes), 0.1),
            (moved, classes, 1.0),
        ]);
        assert!((prior(&again) - prior(&faded)).abs() < 1e-6);
    }

    #[test]
    fn with_a_window_of_0_no_samples_are_kept_for_the_present_prior() {
        let mut mixture = ForgettingMixture::new(vec![10.0], SHAPE, 2, 0, 7);
        learn(&mut mixture, 0..30, 1000);
        let watched = mixture.track_prior(&Tensor::ones([50, 2], (Kind::Float, tch::Device::Cpu))).unwrap();
        assert!(watched.discriminants.bias.equal(&mixture.adapt_state().unwrap().discriminants.bias));
        assert_eq!(mixture.newest.size()[0], 0);
    }

    #[test]
    fn only_labels_that_were_predicted_are_evidence() {
        let mut mixture = mixture();
        let (input, classes) = (
            Tensor::ones([50, 2], (Kind::Float, tch::Device::Cpu)),
            Tensor::zeros([50], tch::kind::INT64_CPU),
        );
        mixture.add(&input, &classes);
        assert!(!mixture.trusted() && !mixture.adapt_state().unwrap().trusted);
        assert_eq!(mixture.shares(), [0.0, 1.0]);
        learn(&mut mixture, 0..6, 1000);
        assert!(!mixture.trusted());
        learn(&mut mixture, 0..1, 1000);
        assert!(mixture.trusted() && mixture.track_prior(&input).unwrap().trusted);
    }

    #[test]
    fn a_corrected_label_leaves_no_trace_of_the_wrong_one() {
        let input = Tensor::from_slice(&[1.0f32, 0.0, -1.0, 0.5, 2.0, 1.0]).view([3, 2]);
        let (wrong, right) = (Tensor::from_slice(&[0i64, 0, 1]), Tensor::from_slice(&[0i64, 1, 1]));
        let (mut corrected, mut plain) = (mixture(), mixture());
        corrected.learn(&input, &wrong).unwrap();
        corrected.refit(&[(input.shallow_clone(), right.shallow_clone(), 1.0)]);
        plain.learn(&input, &right).unwrap();
        let (one, other) = (corrected.track_prior(&input).unwrap(), plain.track_prior(&input).unwrap());
        assert!(one.discriminants.weights.equal(&other.discriminants.weights));
        assert!(one.prior.equal(&other.prior));
    }
}

//! Prior correction, for predictions and pseudo-labels: adapts the network's probabilities to the
//! class prior of the present stream ([`crate::adapt::prior`]) and blends in the discriminants
//! ([`crate::adapt::forgetting`]), each weighted by how well it predicted the labels that came.

use crate::adapt::discriminant;
use crate::adapt::forgetting::SCORE_STAYS;
use crate::adapt::prior;
use crate::adapt::prior::Prior;
use crate::adapt::state::{AdaptState, Discriminants, Fresh};
use crate::torch::TorchResult;
use crate::window::newest;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Lower bound on probabilities before the logarithm.
const LEAST: f64 = 1e-6;

/// One fixed prior correction. Its tensors share memory and are never changed.
#[derive(Debug)]
pub struct PriorCorrection {
    /// Exponent (inverse temperature) on the network's probabilities.
    temper: f64,
    /// `[C]` f32: added to the tempered log probabilities to adapt them to the present prior.
    shift: Tensor,
    /// `[1 + K]` f32: blending weights of the network and of each discriminant.
    shares: Option<Tensor>,
    discriminants: Option<Discriminants>,
}

impl PriorCorrection {
    /// Returns corrected probabilities `[N, C]` from the network's `probabilities` `[N, C]` for a
    /// view of `input` `[N, …]`.
    pub fn of(&self, probabilities: &Tensor, input: &Tensor) -> Tensor {
        let own = (log(probabilities) * self.temper + &self.shift).softmax(1, Kind::Float);
        let (Some(shares), Some(discriminants)) = (&self.shares, &self.discriminants) else { return own };
        let rows = discriminant::seen(input, discriminants.shape).to_kind(Kind::Float);
        let others = rows.unsqueeze(0).matmul(&discriminants.weights) + discriminants.bias.unsqueeze(1);
        let others = others.softmax(-1, Kind::Float); // [K, N, C]
        let all = Tensor::cat(&[own.unsqueeze(0), others], 0);
        (all * shares.view([-1, 1, 1])).sum_dim_intlist([0i64].as_slice(), false, Kind::Float)
    }

    /// Returns the same prior correction, sharing memory.
    pub fn share(&self) -> Self {
        Self {
            temper: self.temper,
            shift: self.shift.shallow_clone(),
            shares: self.shares.as_ref().map(Tensor::shallow_clone),
            discriminants: self.discriminants.as_ref().map(Discriminants::share),
        }
    }
}

/// Returns `[C]`: the log of a uniform prior.
fn even(like: &Tensor) -> Tensor {
    like.full_like(-(like.numel() as f64).ln())
}

fn log(probabilities: &Tensor) -> Tensor {
    probabilities.clamp_min(LEAST).log()
}

/// Settings of the prior correction.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Class prior to correct to.
    pub prior: Prior,
    /// Exponent on the network's probabilities before prior correction.
    pub temper: f64,
    /// Number of newest unlabelled samples to which the prior correction is fitted.
    pub window: usize,
    /// Whether to blend in the discriminants.
    pub blend: bool,
}

/// Learns the prior correction from step to step.
pub struct CorrectionFit {
    settings: Settings,
    /// f32 scalar: exponentially decayed sum of the network's log probabilities of labels.
    score: Tensor,
    /// `[W, C]` f32: tempered log likelihoods of the newest unlabelled samples.
    newest: Tensor,
    /// `[C]` f32: log of the present class prior; where the prior is given, the shift that matches it.
    present: Tensor,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct State {
    score: f32,
    newest: Vec<f32>,
    present: Vec<f32>,
}

impl CorrectionFit {
    /// Creates a prior correction that has learned nothing.
    pub fn new(settings: Settings, classes: usize, device: Device) -> Self {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, device));
        let (score, newest, present) = (zeros(&[]), zeros(&[0, classes as i64]), zeros(&[classes as i64]));
        Self { settings, score, newest, present }
    }

    /// Learns from a step for whose samples the network returned `probabilities` `[B, C]`. Returns
    /// the prior correction; `None` where the network's probabilities are used unchanged.
    pub fn learn(
        &mut self,
        probabilities: &Tensor,
        paced: AdaptState,
        fresh: Option<&Tensor>,
    ) -> Option<PriorCorrection> {
        let log_trained = paced.prior.log();
        if let (Some(Fresh { classes, .. }), Some(said)) = (&paced.fresh, fresh) {
            let temper = if self.settings.prior == Prior::None { 1.0 } else { self.settings.temper };
            let likelihoods = (log(said) - &log_trained) * temper;
            let told = (likelihoods + &log_trained).log_softmax(1, Kind::Float);
            let stays = SCORE_STAYS.powi(classes.size()[0] as i32);
            let of_label = told.gather(1, &classes.view([-1, 1]), false).sum(Kind::Float);
            self.score = &self.score * stays + of_label;
        }
        if self.fits(paced.trusted) {
            let rows = (log(probabilities) - &log_trained) * self.settings.temper;
            self.newest = newest(&self.newest, &rows, self.settings.window as i64);
            self.present = match self.settings.prior {
                Prior::Labelled => prior::matching(&self.newest, &log_trained, &self.present),
                Prior::Uniform => prior::matching(&self.newest, &even(&log_trained), &self.present),
                _ => prior::present(&self.newest, &self.present),
            };
        }
        self.told(paced)
    }

    /// Returns whether probabilities are fitted to a prior: one that is given, or the present one
    /// once enough labels were predicted.
    fn fits(&self, trusted: bool) -> bool {
        match self.settings.prior {
            Prior::None => false,
            Prior::Present => trusted,
            Prior::Labelled | Prior::Uniform => true,
        }
    }

    /// Returns the prior correction learned so far; `None` where the network's probabilities are
    /// used unchanged.
    pub fn told(
        &self,
        AdaptState { trusted, prior, scores, discriminants, .. }: AdaptState,
    ) -> Option<PriorCorrection> {
        let (fits, blends) = (self.fits(trusted), self.settings.blend && trusted);
        if !fits && !blends {
            return None;
        }
        let temper = self.settings.temper;
        let (temper, shift) = match fits {
            false => (1.0, prior.zeros_like()),
            true => (temper, &self.present - prior.log() * temper),
        };
        let shares = || Tensor::cat(&[self.score.view([1]), scores], 0).softmax(0, Kind::Float);
        Some(PriorCorrection {
            temper,
            shift,
            shares: blends.then(shares),
            discriminants: blends.then_some(discriminants),
        })
    }

    /// Serialises the state for [`CorrectionFit::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        let values = |tensor: &Tensor| tensor.to_device(Device::Cpu).flatten(0, -1).try_into().torch();
        let (newest, present) = (values(&self.newest)?, values(&self.present)?);
        let state = State { score: self.score.double_value(&[]) as f32, newest, present };
        bincode::serialize(&state).map_err(|error| Error::Engine(error.to_string()))
    }

    /// Restores a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the state of the answers is damaged: {error}"));
        let state: State = bincode::deserialize(state).map_err(damaged)?;
        let device = self.newest.device();
        if state.present.len() != self.present.numel() {
            return Err(Error::request("the state of the answers does not fit the job"));
        }
        self.present = Tensor::from_slice(&state.present).to_device(device);
        self.score = Tensor::from(state.score).to_device(device);
        self.newest = Tensor::from_slice(&state.newest).view([-1, self.newest.size()[1]]).to_device(device);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::Shape;

    fn answering(prior: Prior, blend: bool) -> CorrectionFit {
        CorrectionFit::new(Settings { prior, temper: 0.7, window: 50, blend }, 2, Device::Cpu)
    }

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 2])
    }

    /// One discriminant that always predicts `[0.9, 0.1]`.
    fn paced(score: f32, fresh: Option<i64>) -> AdaptState {
        AdaptState {
            trusted: true,
            prior: Tensor::from_slice(&[0.5f32, 0.5]),
            scores: Tensor::from_slice(&[score]),
            discriminants: Discriminants {
                shape: Shape::Vector { features: 1 },
                weights: Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu)),
                bias: rows(&[0.9f32.ln(), 0.1f32.ln()]),
            },
            fresh: fresh.map(|class| Fresh {
                input: Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)),
                classes: Tensor::from_slice(&[class]),
            }),
        }
    }

    fn answer(
        answering: &mut CorrectionFit,
        said: &[f32],
        paced: AdaptState,
        fresh: Option<&[f32]>,
    ) -> Vec<f32> {
        let (said, fresh) = (rows(said), fresh.map(rows));
        let found = match answering.learn(&said, paced, fresh.as_ref()) {
            Some(answer) => answer.of(&said, &Tensor::zeros([said.size()[0], 1], (Kind::Float, Device::Cpu))),
            None => said,
        };
        found.flatten(0, -1).try_into().unwrap()
    }

    #[test]
    fn before_there_is_evidence_the_network_answers_alone_and_is_judged_all_the_same() {
        let mut answering = answering(Prior::Present, true);
        let early = AdaptState { trusted: false, ..paced(-0.1, Some(1)) };
        let found = answer(&mut answering, &[0.3, 0.7], early, Some(&[0.99, 0.01]));
        assert_eq!(found, [0.3, 0.7]);
        let found = answer(&mut answering, &[0.3, 0.7], paced(-0.1, None), None);
        assert!(found[0] > 0.8, "{found:?}");
    }

    #[test]
    fn without_prior_and_blend_the_network_has_its_say_alone() {
        let mut plain = answering(Prior::None, false);
        assert_eq!(answer(&mut plain, &[0.3, 0.7], paced(0.0, None), None), [0.3, 0.7]);
    }

    #[test]
    fn shares_are_by_what_was_foretold() {
        let mut blended = answering(Prior::None, true);
        // Nothing has been predicted yet: equal weights.
        let found = answer(&mut blended, &[0.3, 0.7], paced(0.0, None), None);
        assert!((found[0] - 0.6).abs() < 1e-5, "{found:?}");
        // The network gave the label almost no probability, the discriminant much.
        for _ in 0..5 {
            let told = paced(-0.1, Some(1));
            answer(&mut blended, &[0.3, 0.7], told, Some(&[0.99, 0.01]));
        }
        let found = answer(&mut blended, &[0.3, 0.7], paced(-0.1, None), None);
        assert!(found[0] > 0.89, "{found:?}");
        let mut again = answering(Prior::None, true);
        again.restore(&blended.snapshot().unwrap()).unwrap();
        assert_eq!(answer(&mut again, &[0.3, 0.7], paced(-0.1, None), None), found);
        assert!(again.restore(b"bad").is_err());
    }

    #[test]
    fn a_stream_of_one_class_pulls_doubtful_samples_to_it() {
        let mut with = answering(Prior::Present, false);
        for _ in 0..40 {
            answer(&mut with, &[0.9, 0.1], paced(0.0, None), None);
        }
        let found = answer(&mut with, &[0.45, 0.55], paced(0.0, None), None);
        assert!(found[0] > 0.6, "{found:?}");
    }

    #[test]
    fn where_classes_are_alike_the_doubtful_go_to_the_one_that_lacks_samples() {
        for prior in [Prior::Uniform, Prior::Labelled] {
            let mut with = answering(prior, false);
            // Of four samples two are clearly of class 0, one is doubtful, one is clearly of class 1.
            let stream = [0.99, 0.01, 0.98, 0.02, 0.8, 0.2, 0.05, 0.95];
            let mut found = Vec::new();
            for _ in 0..40 {
                found = answer(&mut with, &stream, paced(0.0, None), None);
            }
            assert!(found[0] > 0.8 && found[4] < 0.5 && found[6] < 0.05, "{found:?}");
            let share: f32 = found.iter().step_by(2).sum();
            assert!((share - 2.0).abs() < 0.1, "{found:?}");
        }
    }
}

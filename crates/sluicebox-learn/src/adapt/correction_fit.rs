//! Learns the prior correction ([`PriorCorrection`]) from step to step. The network and each
//! discriminant are weighted by how well they predicted the late labels.

use crate::adapt::correction::{PriorCorrection, log};
use crate::adapt::forgetting::SCORE_STAYS;
use crate::adapt::prior;
use crate::adapt::prior::Prior;
use crate::adapt::state::{AdaptState, Fresh};
use crate::torch::TorchResult;
use crate::window::keep_newest_rows;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Device, Kind, Tensor};

/// Returns `[C]`: the log of a uniform prior.
fn even(like: &Tensor) -> Tensor {
    like.full_like(-(like.numel() as f64).ln())
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

    /// Learns from a step for whose samples the network returned `probabilities` `[B, C]`, and
    /// `fresh` `[N, C]` for those of `state.fresh`. Returns the prior correction; `None` where the
    /// network's probabilities are used unchanged.
    pub fn learn(
        &mut self,
        probabilities: &Tensor,
        state: AdaptState,
        fresh: Option<&Tensor>,
    ) -> Option<PriorCorrection> {
        self.score_labels(&state, fresh);
        let log_trained = state.prior.log();
        if self.fits_prior(state.trusted) {
            let rows = (log(probabilities) - &log_trained) * self.settings.temper;
            self.newest = keep_newest_rows(&self.newest, &rows, self.settings.window as i64);
            self.present = match self.settings.prior {
                Prior::Labelled => prior::match_prior(&self.newest, &log_trained, &self.present),
                Prior::Uniform => prior::match_prior(&self.newest, &even(&log_trained), &self.present),
                _ => prior::estimate_prior(&self.newest, &self.present),
            };
        }
        self.correction(state)
    }

    /// Scores the network by how well its probabilities `fresh` `[N, C]` predict the labels of
    /// `state.fresh`.
    pub fn score_labels(&mut self, state: &AdaptState, fresh: Option<&Tensor>) {
        let (Some(Fresh { classes, .. }), Some(probabilities)) = (&state.fresh, fresh) else { return };
        let log_trained = state.prior.log();
        let temper = if self.settings.prior == Prior::None { 1.0 } else { self.settings.temper };
        let likelihoods = (log(probabilities) - &log_trained) * temper;
        let predicted = (likelihoods + &log_trained).log_softmax(1, Kind::Float);
        let stays = SCORE_STAYS.powi(classes.size()[0] as i32);
        let of_label = predicted.gather(1, &classes.view([-1, 1]), false).sum(Kind::Float);
        self.score = &self.score * stays + of_label;
    }

    /// Returns whether probabilities are fitted to a prior: one that is given, or the present one
    /// once enough labels were predicted.
    fn fits_prior(&self, trusted: bool) -> bool {
        match self.settings.prior {
            Prior::None => false,
            Prior::Present => trusted,
            Prior::Labelled | Prior::Uniform => true,
        }
    }

    /// Returns the prior correction learned so far; `None` where the network's probabilities are
    /// used unchanged.
    pub fn correction(
        &self,
        AdaptState { trusted, prior, scores, discriminants, .. }: AdaptState,
    ) -> Option<PriorCorrection> {
        let (fits, blends) = (self.fits_prior(trusted), self.settings.blend && trusted);
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
}

/// The state's name in messages.
const WHAT: &str = "the prior correction";

impl Stateful for CorrectionFit {
    fn save(&self) -> Result<Vec<u8>> {
        let values = |tensor: &Tensor| tensor.to_device(Device::Cpu).flatten(0, -1).try_into().torch();
        let (newest, present) = (values(&self.newest)?, values(&self.present)?);
        encode(WHAT, &State { score: self.score.double_value(&[]) as f32, newest, present })
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let state: State = decode(WHAT, state)?;
        let device = self.newest.device();
        if state.present.len() != self.present.numel() {
            return Err(Error::Request(format!("the state of {WHAT} does not fit the job")));
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
    use crate::adapt::state::Discriminants;
    use sluicebox_core::sample::Shape;

    fn fit(prior: Prior, blend: bool) -> CorrectionFit {
        CorrectionFit::new(Settings { prior, temper: 0.7, window: 50, blend }, 2, Device::Cpu)
    }

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 2])
    }

    /// One discriminant that always predicts `[0.9, 0.1]`.
    fn state(score: f32, fresh: Option<i64>) -> AdaptState {
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

    fn corrected(
        fit: &mut CorrectionFit,
        probabilities: &[f32],
        state: AdaptState,
        fresh: Option<&[f32]>,
    ) -> Vec<f32> {
        let (probabilities, fresh) = (rows(probabilities), fresh.map(rows));
        let found = match fit.learn(&probabilities, state, fresh.as_ref()) {
            Some(correction) => correction.apply(
                &probabilities,
                &Tensor::zeros([probabilities.size()[0], 1], (Kind::Float, Device::Cpu)),
            ),
            None => probabilities,
        };
        found.flatten(0, -1).try_into().unwrap()
    }

    #[test]
    fn before_there_is_evidence_the_network_predicts_alone_but_is_scored() {
        let mut both = fit(Prior::Present, true);
        let early = AdaptState { trusted: false, ..state(-0.1, Some(1)) };
        let found = corrected(&mut both, &[0.3, 0.7], early, Some(&[0.99, 0.01]));
        assert_eq!(found, [0.3, 0.7]);
        let found = corrected(&mut both, &[0.3, 0.7], state(-0.1, None), None);
        assert!(found[0] > 0.8, "{found:?}");
    }

    #[test]
    fn without_prior_and_blend_nothing_is_corrected() {
        let mut plain = fit(Prior::None, false);
        assert_eq!(corrected(&mut plain, &[0.3, 0.7], state(0.0, None), None), [0.3, 0.7]);
    }

    #[test]
    fn shares_follow_the_predictions_of_labels() {
        let mut blended = fit(Prior::None, true);
        // Nothing has been predicted yet: equal weights.
        let found = corrected(&mut blended, &[0.3, 0.7], state(0.0, None), None);
        assert!((found[0] - 0.6).abs() < 1e-5, "{found:?}");
        // The network gave the label almost no probability, the discriminant much.
        for _ in 0..5 {
            let late = state(-0.1, Some(1));
            corrected(&mut blended, &[0.3, 0.7], late, Some(&[0.99, 0.01]));
        }
        let found = corrected(&mut blended, &[0.3, 0.7], state(-0.1, None), None);
        assert!(found[0] > 0.89, "{found:?}");
        let mut again = fit(Prior::None, true);
        again.load(&blended.save().unwrap()).unwrap();
        assert_eq!(corrected(&mut again, &[0.3, 0.7], state(-0.1, None), None), found);
        assert!(again.load(b"bad").is_err());
    }

    #[test]
    fn a_stream_of_one_class_pulls_doubtful_samples_to_it() {
        let mut with = fit(Prior::Present, false);
        for _ in 0..40 {
            corrected(&mut with, &[0.9, 0.1], state(0.0, None), None);
        }
        let found = corrected(&mut with, &[0.45, 0.55], state(0.0, None), None);
        assert!(found[0] > 0.6, "{found:?}");
    }

    #[test]
    fn with_a_given_prior_doubtful_samples_go_to_the_class_that_lacks_them() {
        for prior in [Prior::Uniform, Prior::Labelled] {
            let mut with = fit(prior, false);
            // Of four samples two are clearly of class 0, one is doubtful, one is clearly of class 1.
            let stream = [0.99, 0.01, 0.98, 0.02, 0.8, 0.2, 0.05, 0.95];
            let mut found = Vec::new();
            for _ in 0..40 {
                found = corrected(&mut with, &stream, state(0.0, None), None);
            }
            assert!(found[0] > 0.8 && found[4] < 0.5 && found[6] < 0.05, "{found:?}");
            let share: f32 = found.iter().step_by(2).sum();
            assert!((share - 2.0).abs() < 0.1, "{found:?}");
        }
    }
}

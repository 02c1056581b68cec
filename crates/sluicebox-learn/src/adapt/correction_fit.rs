//! Learns from step to step how to answer ([`PriorCorrection`]): how much the network and the experts count, by how well
//! they foretold the late labels, and the class prior of the stream.
//!
//! A correction to the present prior helps on one stream and ruins another, so it is itself judged by the labels: it
//! counts by how right it was when the sample streamed by.

use crate::adapt::correction::{LEAST_OF_NETWORK, PriorCorrection, log};
use crate::adapt::prior::{self, Prior};
use crate::adapt::shares::{EVIDENCE, LEAST, RATES};
use crate::adapt::state::{AdaptState, Fresh};
use crate::device::upload::upload;
use crate::torch::TorchResult;
use crate::window::keep_newest_rows;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Device, Kind, Tensor};

/// Shares before any label: of the network and the experts, and of the answer as it is and corrected to the present prior.
const START: [f32; 4] = [0.3, 0.7, 0.5, 0.5];
/// Rates of switching to and from the correction, and the exponent on its evidence: what it is worth changes slowly.
const GATE_RATES: [f64; 4] = [0.0005, 0.005, 0.03, 0.1];
const GATE_EVIDENCE: f32 = 1.0;
/// Rows' worth of the labels' prior in the estimate of the present one.
const PRIOR_ROWS: f64 = 20.0;
/// Maximum steps whose correction is remembered, and maximum values of them: a label later than that judges another step's.
const STEPS: usize = 4096;
const VALUES: usize = 1 << 20;

/// Settings of the answers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Class prior to correct to.
    pub prior: Prior,
    /// Exponent on the probabilities before they are corrected to a prior that is given.
    pub temper: f64,
    /// Number of newest unlabelled samples to which the correction is fitted.
    pub window: usize,
    /// Whether the experts have a say.
    pub blend: bool,
    /// Shape of a sample.
    pub shape: Shape,
}

/// Learns the answers from step to step.
pub struct CorrectionFit {
    settings: Settings,
    /// `[2, rates, 2]` f32: shares of network and experts, and of the answer as it is and corrected, at each rate of
    /// switching ([`crate::adapt::shares`]).
    shares: Tensor,
    /// `[2, rates]` f32: probability of each rate.
    rates: Tensor,
    /// Constants on the device: `[2, 1, 2]` the shares before any label, `[2, rates, 1]` the fraction of a share that stays with
    /// a label, `[2, 1, 1]` the exponent on the evidence.
    start: Tensor,
    stays: Tensor,
    exponent: Tensor,
    /// `[W, C]` f32: answers for the newest unlabelled samples, before the correction; where the prior is given, their
    /// tempered log likelihoods.
    newest: Tensor,
    /// `[C]` f32: the shift that corrects to the prior; where the prior is given, before that of the labels is taken off.
    present: Tensor,
    /// `[S, C]` f32: the shift of each step, at its number modulo S.
    shifts: Tensor,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct State {
    shares: Vec<f32>,
    rates: Vec<f32>,
    newest: Vec<f32>,
    present: Vec<f32>,
    shifts: Vec<f32>,
}

impl CorrectionFit {
    /// Creates answers that are the network's.
    pub fn new(settings: Settings, classes: usize, device: Device) -> Self {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, device));
        let judged = settings.prior == Prior::Present;
        let steps = if judged { STEPS.min(VALUES / classes).max(1) } else { 1 };
        let (count, classes) = (RATES.len() as i64, classes as i64);
        let up = |values: &[f32]| upload(&Tensor::from_slice(values), device);
        let start = up(&START).view([2, 1, 2]);
        let stays: Vec<f32> = RATES.iter().chain(&GATE_RATES).map(|rate| 1.0 - *rate as f32).collect();
        Self {
            settings,
            shares: start.expand([2, count, 2], false).copy(),
            rates: Tensor::full([2, count], 1.0 / count as f64, (Kind::Float, device)),
            stays: up(&stays).view([2, count, 1]),
            exponent: up(&[EVIDENCE as f32, GATE_EVIDENCE]).view([2, 1, 1]),
            start,
            newest: zeros(&[0, classes]),
            present: zeros(&[classes]),
            shifts: zeros(&[steps as i64, classes]),
        }
    }

    /// Learns from a step for whose samples the network returned `probabilities` `[B, C]`, and `fresh` `[N, C]` for those of
    /// `state.fresh`. Returns how to answer, and the answers `[B, C]` for the step's samples; `None` where the network's
    /// probabilities are used unchanged.
    pub fn learn(
        &mut self,
        probabilities: &Tensor,
        state: &AdaptState,
        fresh: Option<&Tensor>,
    ) -> Option<(PriorCorrection, Tensor)> {
        self.score_labels(state, fresh);
        let mut correction = self.correction(state)?;
        let blended = correction.blend(&log(probabilities), state.answers.as_ref());
        if self.fits_prior(state.trusted) {
            let labelled = state.prior.log();
            self.present = match self.settings.prior {
                Prior::Labelled | Prior::Uniform => {
                    let rows = (&blended - &labelled) * self.settings.temper;
                    self.newest = keep_newest_rows(&self.newest, &rows, self.settings.window as i64);
                    let wanted =
                        if self.settings.prior == Prior::Uniform { even(&labelled) } else { labelled };
                    prior::match_prior(&self.newest, &wanted, &self.present)
                }
                _ => {
                    let rows = blended.softmax(1, Kind::Float);
                    self.newest = keep_newest_rows(&self.newest, &rows, self.settings.window as i64);
                    // One iteration of expectation maximisation from the labels' prior: more of them walk to a corner
                    // where classes overlap.
                    let sum = self.newest.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
                    let count = self.newest.size()[0] as f64 + PRIOR_ROWS;
                    ((sum + &state.prior * PRIOR_ROWS) / count).log() - labelled
                }
            };
            self.remember(state.step);
            correction.shift = self.shift(state);
        }
        let answers = correction.of_blended(&blended);
        Some((correction, answers))
    }

    fn remember(&mut self, step: u64) {
        let place = (step % self.shifts.size()[0] as u64) as i64;
        let mut kept = self.shifts.get(place); // shares memory
        kept.copy_(&self.present);
    }

    /// Returns `[C]`: the shift that corrects answers to the prior.
    fn shift(&self, state: &AdaptState) -> Tensor {
        match self.settings.prior {
            Prior::Present => self.present.shallow_clone(),
            _ => &self.present - state.prior.log() * self.settings.temper,
        }
    }

    /// Scores network, experts and correction by how well they foretold the labels of `state.fresh`, for which the network
    /// returns `fresh` `[N, C]`.
    pub fn score_labels(&mut self, state: &AdaptState, fresh: Option<&Tensor>) {
        let (Some(Fresh { classes, answers, steps, .. }), Some(network)) = (&state.fresh, fresh) else {
            return;
        };
        let network = log(network).clamp_min(LEAST_OF_NETWORK.ln()).log_softmax(1, Kind::Float);
        let now = self.now();
        let blended = match self.settings.blend {
            true => &network * now.get(0).get(0) + answers * now.get(0).get(1),
            false => network.shallow_clone(),
        };
        let shift = self.shifts.index_select(0, &steps.remainder(self.shifts.size()[0]));
        let corrected = (&blended + shift).log_softmax(1, Kind::Float);
        let said = Tensor::stack(&[&network, answers, &blended.log_softmax(1, Kind::Float), &corrected], 0); // [4, N, C]
        let of_label = said.gather(2, &classes.view([1, -1, 1]).expand([4, -1, 1], false), false);
        let evidence =
            of_label.clamp_min(LEAST.ln()).sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
        let evidence = evidence.view([2, 1, 2]) * &self.exponent;
        let counted = &self.shares * (&evidence - evidence.amax([2i64].as_slice(), true)).exp();
        let sum = counted.sum_dim_intlist([2i64].as_slice(), true, Kind::Float); // [2, rates, 1]
        let stays = self.stays.pow_tensor_scalar(classes.size()[0]);
        self.shares = self.start.lerp_tensor(&(counted / &sum), &stays);
        let rates = &self.rates * sum.squeeze_dim(2);
        self.rates = &rates / rates.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    }

    /// Returns `[2, 2]`: shares of network and experts, and of the answer as it is and corrected.
    pub fn now(&self) -> Tensor {
        (&self.shares * self.rates.unsqueeze(2)).sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
    }

    /// Returns whether answers are corrected to a prior: one that is given, or the present one once enough labels were
    /// foretold.
    fn fits_prior(&self, trusted: bool) -> bool {
        match self.settings.prior {
            Prior::None => false,
            Prior::Present => trusted,
            Prior::Labelled | Prior::Uniform => true,
        }
    }

    /// Returns how to answer, as learned so far; `None` where the network's probabilities are used unchanged.
    pub fn correction(&self, state: &AdaptState) -> Option<PriorCorrection> {
        let (fits, blends) = (self.fits_prior(state.trusted), self.settings.blend && state.trusted);
        if !fits && !blends {
            return None;
        }
        let now = self.now();
        let is_judged = fits && self.settings.prior == Prior::Present;
        let is_given = fits && !is_judged;
        Some(PriorCorrection {
            shares: blends.then(|| now.get(0)),
            experts: state.experts.clone(),
            temper: if is_given { self.settings.temper } else { 1.0 },
            shift: if fits { self.shift(state) } else { self.present.zeros_like() },
            gate: is_judged.then(|| now.get(1)),
            shape: self.settings.shape,
        })
    }
}

/// Returns `[C]`: the log of a uniform prior.
fn even(like: &Tensor) -> Tensor {
    like.full_like(-(like.numel() as f64).ln())
}

/// The state's name in messages.
const WHAT: &str = "the answers";

impl Stateful for CorrectionFit {
    fn save(&self) -> Result<Vec<u8>> {
        let values = |tensor: &Tensor| tensor.to_device(Device::Cpu).flatten(0, -1).try_into().torch();
        let state = State {
            shares: values(&self.shares)?,
            rates: values(&self.rates)?,
            newest: values(&self.newest)?,
            present: values(&self.present)?,
            shifts: values(&self.shifts)?,
        };
        encode(WHAT, &state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let state: State = decode(WHAT, state)?;
        let whole = [
            (&mut self.shares, &state.shares),
            (&mut self.rates, &state.rates),
            (&mut self.present, &state.present),
            (&mut self.shifts, &state.shifts),
        ];
        if whole.iter().any(|(tensor, saved)| tensor.numel() != saved.len()) {
            return Err(Error::Request(format!("the state of {WHAT} does not fit the job")));
        }
        for (tensor, saved) in whole {
            *tensor = Tensor::from_slice(saved).view(tensor.size().as_slice()).to_device(tensor.device());
        }
        let (classes, device) = (self.newest.size()[1], self.newest.device());
        self.newest = Tensor::from_slice(&state.newest).view([-1, classes]).to_device(device);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(prior: Prior, blend: bool) -> CorrectionFit {
        let shape = Shape::Vector { features: 1 };
        CorrectionFit::new(Settings { prior, temper: 0.7, window: 50, blend, shape }, 2, Device::Cpu)
    }

    fn rows(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 2])
    }

    /// The experts say `[0.9, 0.1]` of every sample, and said it of the one of the step before that gets its label `fresh`.
    fn state(step: u64, count: usize, fresh: Option<i64>) -> AdaptState {
        let said = [0.9f32, 0.1].repeat(count.max(1));
        AdaptState {
            step,
            trusted: true,
            prior: Tensor::from_slice(&[0.5f32, 0.5]),
            answers: Some(rows(&said).log()),
            experts: None,
            fresh: fresh.map(|class| Fresh {
                classes: Tensor::from_slice(&[class]),
                answers: rows(&[0.9, 0.1]).log(),
                steps: Tensor::from_slice(&[step as i64 - 1]),
            }),
        }
    }

    fn answered(
        fit: &mut CorrectionFit,
        probabilities: &[f32],
        state: &AdaptState,
        fresh: Option<&[f32]>,
    ) -> Vec<f32> {
        let (probabilities, fresh) = (rows(probabilities), fresh.map(rows));
        let found = match fit.learn(&probabilities, state, fresh.as_ref()) {
            Some((_, answers)) => answers,
            None => probabilities,
        };
        found.flatten(0, -1).try_into().unwrap()
    }

    #[test]
    fn before_there_is_evidence_the_network_answers_alone_but_is_scored() {
        let mut both = fit(Prior::Present, true);
        let early = AdaptState { trusted: false, ..state(1, 1, Some(1)) };
        assert_eq!(answered(&mut both, &[0.3, 0.7], &early, Some(&[0.01, 0.99])), [0.3, 0.7]);
        assert!(both.now().double_value(&[0, 0]) > 0.35, "it was right where the experts were wrong");
    }

    #[test]
    fn without_prior_and_blend_nothing_is_changed() {
        assert_eq!(answered(&mut fit(Prior::None, false), &[0.3, 0.7], &state(0, 1, None), None), [0.3, 0.7]);
    }

    #[test]
    fn shares_follow_what_was_foretold() {
        let mut blended = fit(Prior::None, true);
        let answer = |fit: &mut CorrectionFit| answered(fit, &[0.3, 0.7], &state(9, 1, None), None);
        assert!(answer(&mut blended)[0] > 0.6, "the experts count more at first");
        (1..9).for_each(|at| {
            _ = answered(&mut blended, &[0.3, 0.7], &state(at, 1, Some(1)), Some(&[0.01, 0.99]))
        });
        let found = answer(&mut blended);
        assert!(found[0] < 0.4, "{found:?}");
        let mut again = fit(Prior::None, true);
        again.load(&blended.save().unwrap()).unwrap();
        assert_eq!(answer(&mut again), found);
        assert!(again.load(b"bad").is_err());
    }

    #[test]
    fn a_step_with_two_labels_is_the_formula() {
        let mut blended = fit(Prior::None, true);
        let two = AdaptState {
            fresh: Some(Fresh {
                classes: Tensor::from_slice(&[0i64, 1]),
                answers: rows(&[0.64, 0.36, 0.64, 0.36]).log(),
                steps: Tensor::from_slice(&[0i64, 0]),
            }),
            ..state(0, 1, None)
        };
        blended.score_labels(&two, Some(&rows(&[0.5, 0.5, 0.5, 0.5])));
        // Evidence: network 0.5, experts √(0.64 · 0.36) = 0.48.
        let earned = 0.3 * 0.5 / (0.3 * 0.5 + 0.7 * 0.48);
        let by_hand = RATES
            .iter()
            .map(|rate| (1.0 - rate) * (1.0 - rate))
            .map(|stays| stays * earned + (1.0 - stays) * 0.3);
        let by_hand: f64 = by_hand.sum::<f64>() / RATES.len() as f64;
        assert!((blended.now().double_value(&[0, 0]) - by_hand).abs() < 1e-6);
    }

    #[test]
    fn the_correction_to_the_present_prior_counts_by_how_right_it_was() {
        // The stream is of class 0 only; the labels' prior is even.
        let (mut helped, mut harmed) = (fit(Prior::Present, false), fit(Prior::Present, false));
        for step in 1..40 {
            answered(&mut helped, &[0.7, 0.3], &state(step, 1, Some(0)), Some(&[0.7, 0.3]));
            answered(&mut harmed, &[0.7, 0.3], &state(step, 1, Some(1)), Some(&[0.7, 0.3]));
        }
        let gate = |fit: &CorrectionFit| fit.now().double_value(&[1, 1]);
        assert!(gate(&helped) > 0.8 && gate(&harmed) < 0.2, "{} {}", gate(&helped), gate(&harmed));
        let doubtful = |fit: &mut CorrectionFit| answered(fit, &[0.45, 0.55], &state(41, 1, None), None)[0];
        assert!(doubtful(&mut helped) > 0.5 && doubtful(&mut harmed) < 0.48);
    }

    #[test]
    fn with_a_given_prior_doubtful_samples_go_to_the_class_that_lacks_them() {
        for prior in [Prior::Uniform, Prior::Labelled] {
            let mut with = fit(prior, false);
            // Of four samples two are clearly of class 0, one is doubtful, one is clearly of class 1.
            let stream = [0.99, 0.01, 0.98, 0.02, 0.8, 0.2, 0.05, 0.95];
            let mut found = Vec::new();
            for step in 0..40 {
                found = answered(&mut with, &stream, &state(step, 4, None), None);
            }
            assert!(found[0] > 0.8 && found[4] < 0.5 && found[6] < 0.05, "{found:?}");
            let share: f32 = found.iter().step_by(2).sum();
            assert!((share - 2.0).abs() < 0.1, "{found:?}");
        }
    }
}

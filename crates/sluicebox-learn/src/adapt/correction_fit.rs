//! Learns from step to step how to answer ([`PriorCorrection`]): how much the network and the experts count, by how well
//! they foretold the late labels, and the class prior of the stream.
//!
//! A correction to the present prior helps on one stream and ruins another, and where classes overlap the estimate of the
//! prior falls short. So corrections of several strengths are themselves judged by the labels: each counts by how right it
//! was when the sample streamed by.

use crate::adapt::correction::{PriorCorrection, Shift, log_of_network, reweighted};
use crate::adapt::discriminant::normalise;
use crate::adapt::prior::{self, Prior};
use crate::adapt::shares::{LEARNERS, Pace, Shares};
use crate::adapt::state::AdaptState;
use crate::adapt::thread::Said;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use sluicebox_core::state::{Stateful, decode, encode};
use std::sync::Arc;

/// Shares before any label: of the network and of the experts.
const START: [f64; 2] = [0.3, 0.7];
/// Strengths of the correction to the present prior, factors on its shift, and the shares before any label. The first is the
/// answer as it is.
const STRENGTHS: [(f32, f64); 4] = [(0.0, 0.5), (1.0, 0.35), (2.0, 0.1), (3.0, 0.05)];
/// How fast the strengths' shares change: what a correction is worth changes slowly.
const STRENGTHS_PACE: Pace = Pace { rates: [0.0005, 0.005, 0.03, 0.1], evidence: 1.0 };
/// Rows' worth of the labels' prior in the estimate of the present one.
const PRIOR_ROWS: f32 = 20.0;
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

/// Learns the answers from step to step, on the host. C classes.
pub struct CorrectionFit {
    settings: Settings,
    classes: usize,
    state: State,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct State {
    /// Shares of the network and of the experts.
    learners: Shares,
    /// Shares of the strengths.
    strengths: Shares,
    /// `[W, C]`: answers for the newest unlabelled samples, before the correction; where the prior is given, their tempered
    /// likelihoods, normalised.
    newest: Vec<f32>,
    /// `[C]`: the shift that corrects to the prior; where the prior is given, before that of the labels is taken off.
    present: Vec<f32>,
    /// `[S, C]`: the shift of each step, at its number modulo S.
    shifts: Vec<f32>,
}

impl CorrectionFit {
    /// Creates answers that are the network's.
    pub fn new(settings: Settings, classes: usize) -> Self {
        let steps = match settings.prior {
            Prior::Present => STEPS.min(VALUES / classes).max(1),
            _ => 1,
        };
        let state = State {
            learners: Shares::new(START.to_vec()),
            strengths: Shares::new(STRENGTHS.iter().map(|(_, start)| *start).collect()),
            newest: Vec::new(),
            present: vec![0.0; classes],
            shifts: vec![0.0; steps * classes],
        };
        Self { settings, classes, state }
    }

    /// Learns from a step for whose samples the network returned `probabilities` `[B, C]`, and `fresh` `[N, C]` for those that
    /// have just got their label. Returns how to answer, and the answers `[B, C]` for the step's samples; `None` where the
    /// network's probabilities are used unchanged.
    pub fn learn(
        &mut self,
        probabilities: &[f32],
        step: &AdaptState,
        fresh: Option<&[f32]>,
    ) -> Option<(PriorCorrection, Vec<f32>)> {
        self.score_labels(step, fresh);
        let said = &step.said;
        let mut correction = self.correction(said)?;
        let blended = correction.blend(probabilities, said.answers.as_deref());
        if self.fits_prior(said.trusted) {
            self.fit_prior(&blended, &said.prior);
            let first = self.place(step.step);
            self.state.shifts[first..first + self.classes].copy_from_slice(&self.state.present);
            correction.shifts = self.shifts(said);
        }
        let answers = correction.of_blended(&blended);
        Some((correction, answers))
    }

    /// Takes in what the network says of a blank sample, `probabilities` `[C]`, where answers are corrected by it.
    pub fn see_blank(&mut self, probabilities: &[f32]) {
        if self.settings.prior == Prior::Blank {
            self.state.present = prior::without_blank(probabilities);
        }
    }

    /// Fits the shift to the newest answers before the correction, those of the step included: `blended` `[B, C]`. `labels`
    /// `[C]` is the labels' prior.
    fn fit_prior(&mut self, blended: &[f32], labels: &[f32]) {
        if self.settings.prior == Prior::Blank {
            return;
        }
        let State { newest, present, .. } = &mut self.state;
        let is_given = self.settings.prior != Prior::Present;
        if is_given {
            let temper = self.settings.temper as f32;
            let factors: Vec<f32> = labels.iter().map(|prior| prior.powf(-temper)).collect();
            let rows = blended.chunks_exact(self.classes);
            rows.for_each(|row| newest.extend(reweighted(row, &factors, 1.0)));
        } else {
            newest.extend(blended);
        }
        let gone = newest.len().saturating_sub(self.settings.window * self.classes);
        newest.drain(..gone);
        *present = match self.settings.prior {
            Prior::Uniform => {
                prior::match_prior(newest, &vec![1.0 / self.classes as f32; self.classes], present)
            }
            Prior::Labelled => prior::match_prior(newest, labels, present),
            // One iteration of expectation maximisation from the labels' prior: more of them walk to a corner where
            // classes overlap.
            Prior::Present | Prior::None | Prior::Blank => {
                let mut sum: Vec<f32> = labels.iter().map(|prior| prior * PRIOR_ROWS).collect();
                for row in newest.chunks_exact(self.classes) {
                    sum.iter_mut().zip(row).for_each(|(sum, of_class)| *sum += of_class);
                }
                let rows = (newest.len() / self.classes) as f32 + PRIOR_ROWS;
                sum.iter().zip(labels).map(|(sum, prior)| (sum / rows / prior).ln()).collect()
            }
        };
    }

    /// Returns where the shift of a step is kept.
    fn place(&self, step: u64) -> usize {
        let steps = self.state.shifts.len() / self.classes;
        (step % steps as u64) as usize * self.classes
    }

    /// Returns the shifts that correct answers to the prior.
    fn shifts(&self, said: &Said) -> Arc<[Shift]> {
        let present = &self.state.present;
        if self.settings.prior == Prior::Present {
            let shares = self.state.strengths.now();
            let of = |((strength, _), share): (&(f32, f64), f64)| Shift {
                share: share as f32,
                of_class: present.iter().map(|of_class| strength * of_class).collect(),
            };
            return STRENGTHS.iter().zip(shares).map(of).collect();
        }
        if self.settings.prior == Prior::Blank {
            return [Shift { share: 1.0, of_class: present.clone() }].into();
        }
        let temper = self.settings.temper as f32;
        let of_class = present.iter().zip(&said.prior).map(|(shift, prior)| shift - temper * prior.ln());
        [Shift { share: 1.0, of_class: of_class.collect() }].into()
    }

    /// Scores network, experts and strengths by how well they foretold the step's labels, to whose samples the network gives
    /// `fresh` `[N, C]`.
    pub fn score_labels(&mut self, step: &AdaptState, fresh: Option<&[f32]>) {
        let (Some(foretold), Some(fresh)) = (&step.said.foretold, fresh) else { return };
        let [of_network, of_experts] = self.learners();
        let rows = fresh.chunks_exact(self.classes).zip(foretold.answers.chunks_exact(self.classes));
        for ((row, class), streamed) in rows.zip(&step.classes).zip(&foretold.steps) {
            let ((network, experts), class) = (row, *class as usize);
            let mut network: Vec<f32> = network.iter().map(|of_class| log_of_network(*of_class)).collect();
            normalise(&mut network);
            self.state.learners.learn(&[network[class], experts[class]], &LEARNERS);
            if self.settings.blend {
                let both = network.iter_mut().zip(experts);
                both.for_each(|(network, experts)| *network = of_network * *network + of_experts * experts);
            }
            let first = self.place(*streamed);
            let shift = &self.state.shifts[first..first + self.classes];
            let corrected = STRENGTHS.map(|(strength, _)| {
                let shifted = network.iter().zip(shift);
                let mut answer: Vec<f32> = shifted.map(|(log, shift)| log + strength * shift).collect();
                normalise(&mut answer);
                answer[class]
            });
            self.state.strengths.learn(&corrected, &STRENGTHS_PACE);
        }
    }

    fn learners(&self) -> [f32; 2] {
        let shares = self.state.learners.now();
        [shares[0] as f32, shares[1] as f32]
    }

    /// Returns whether answers are corrected to a prior: one that is given, or the present one once enough labels were
    /// foretold.
    fn fits_prior(&self, trusted: bool) -> bool {
        match self.settings.prior {
            Prior::None => false,
            Prior::Present => trusted,
            Prior::Labelled | Prior::Uniform | Prior::Blank => true,
        }
    }

    /// Returns how to answer, as learned so far; `None` where the network's probabilities are used unchanged.
    pub fn correction(&self, said: &Said) -> Option<PriorCorrection> {
        let (fits, blends) = (self.fits_prior(said.trusted), self.settings.blend && said.trusted);
        if !fits && !blends {
            return None;
        }
        let is_given = fits && matches!(self.settings.prior, Prior::Labelled | Prior::Uniform);
        let none = || [Shift { share: 1.0, of_class: vec![0.0; self.classes] }].into();
        Some(PriorCorrection {
            shares: blends.then(|| self.learners()),
            experts: said.snapshot.clone(),
            prototypes: None,
            temper: if is_given { self.settings.temper as f32 } else { 1.0 },
            shifts: if fits { self.shifts(said) } else { none() },
            shape: self.settings.shape,
        })
    }
}

/// The state's name in messages.
const WHAT: &str = "the answers";

impl Stateful for CorrectionFit {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let state: State = decode(WHAT, state)?;
        let sizes = |state: &State| {
            (state.present.len(), state.shifts.len(), state.learners.now().len(), state.strengths.now().len())
        };
        if sizes(&state) != sizes(&self.state) || !state.newest.len().is_multiple_of(self.classes) {
            return Err(Error::Request(format!("the state of {WHAT} does not fit the job")));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::experts::Foretold;

    fn fit(prior: Prior, blend: bool) -> CorrectionFit {
        let shape = Shape::Vector { features: 1 };
        CorrectionFit::new(Settings { prior, temper: 0.7, window: 50, blend, shape }, 2)
    }

    fn logs(values: &[f32]) -> Vec<f32> {
        values.iter().map(|value| value.ln()).collect()
    }

    /// The experts say `[0.9, 0.1]` of every sample, and said it of the one of the step before that gets its label `fresh`.
    fn state(step: u64, count: usize, fresh: Option<i64>) -> AdaptState {
        let said = Said {
            trusted: true,
            prior: vec![0.5, 0.5],
            answers: Some(logs(&[0.9, 0.1].repeat(count.max(1)))),
            foretold: fresh.map(|_| Foretold { answers: logs(&[0.9, 0.1]), steps: vec![step - 1] }),
            snapshot: None,
        };
        AdaptState { step, said, classes: Vec::from_iter(fresh) }
    }

    fn answered(
        fit: &mut CorrectionFit,
        probabilities: &[f32],
        state: &AdaptState,
        fresh: Option<&[f32]>,
    ) -> Vec<f32> {
        match fit.learn(probabilities, state, fresh) {
            Some((_, answers)) => answers,
            None => probabilities.to_vec(),
        }
    }

    #[test]
    fn before_there_is_evidence_the_network_answers_alone_but_is_scored() {
        let mut both = fit(Prior::Present, true);
        let mut early = state(1, 1, Some(1));
        early.said.trusted = false;
        assert_eq!(answered(&mut both, &[0.3, 0.7], &early, Some(&[0.01, 0.99])), [0.3, 0.7]);
        assert!(both.learners()[0] > 0.35, "it was right where the experts were wrong");
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
    fn a_label_is_the_formula() {
        let mut blended = fit(Prior::Present, true);
        let mut one = state(1, 1, Some(1));
        one.said.foretold = Some(Foretold { answers: logs(&[0.64, 0.36]), steps: vec![0] });
        blended.state.shifts[1] = 2f32.ln();
        blended.score_labels(&one, Some(&[0.75, 0.25]));
        // Evidence: network √0.25 = 0.5, experts √0.36 = 0.6.
        let returns = |earned: f64, start: f64, pace: &Pace| {
            pace.rates.iter().map(|rate| (1.0 - rate) * earned + rate * start).sum::<f64>() / 4.0
        };
        let earned = 0.3 * 0.5 / (0.3 * 0.5 + 0.7 * 0.6);
        assert!((blended.state.learners.now()[0] - returns(earned, 0.3, &LEARNERS)).abs() < 1e-6);
        // The blended odds for the label, doubled with each strength.
        let odds = (0.25f64 / 0.75).powf(0.3) * (0.36f64 / 0.64).powf(0.7);
        let said = [1.0, 2.0, 4.0, 8.0].map(|factor| odds * factor / (odds * factor + 1.0));
        let counted: Vec<f64> = STRENGTHS.iter().zip(said).map(|((_, start), said)| start * said).collect();
        let earned = counted[0] / counted.iter().sum::<f64>();
        assert!((blended.state.strengths.now()[0] - returns(earned, 0.5, &STRENGTHS_PACE)).abs() < 1e-6);
    }

    #[test]
    fn the_correction_to_the_present_prior_counts_by_how_right_it_was() {
        // The stream is of class 0 only; the labels' prior is even.
        let (mut helped, mut harmed) = (fit(Prior::Present, false), fit(Prior::Present, false));
        for step in 1..40 {
            answered(&mut helped, &[0.7, 0.3], &state(step, 1, Some(0)), Some(&[0.7, 0.3]));
            answered(&mut harmed, &[0.7, 0.3], &state(step, 1, Some(1)), Some(&[0.7, 0.3]));
        }
        let gate = |fit: &CorrectionFit| 1.0 - fit.state.strengths.now()[0];
        assert!(gate(&helped) > 0.8 && gate(&harmed) < 0.2, "{} {}", gate(&helped), gate(&harmed));
        let doubtful = |fit: &mut CorrectionFit| answered(fit, &[0.45, 0.55], &state(41, 1, None), None)[0];
        assert!(doubtful(&mut helped) > 0.5 && doubtful(&mut harmed) < 0.48);
    }

    #[test]
    fn what_the_network_says_of_a_blank_sample_is_taken_off() {
        let mut with = fit(Prior::Blank, false);
        let near = |with: &mut CorrectionFit, step, expected: [f32; 4]| {
            let found = answered(with, &[0.8, 0.2, 0.5, 0.5], &state(step, 2, None), None);
            let close = found.iter().zip(expected).all(|(found, hand)| (found - hand).abs() < 1e-6);
            assert!(close, "{found:?}");
        };
        near(&mut with, 0, [0.8, 0.2, 0.5, 0.5]); // there is none yet
        for step in 1..9 {
            with.see_blank(&[0.8, 0.2]);
            near(&mut with, step, [0.5, 0.5, 0.2, 0.8]);
        }
        let mut again = fit(Prior::Blank, false);
        again.load(&with.save().unwrap()).unwrap();
        let said = state(9, 1, None).said;
        assert_eq!(again.correction(&said).unwrap().shifts, with.shifts(&said));
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

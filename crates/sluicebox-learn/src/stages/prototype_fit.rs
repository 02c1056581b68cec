//! Prototypes that follow the stream (`answer.prototypes`; hybrid consistency training, Ye et al. 2020, inference with iterative
//! adaptation): a class's prototype is the mean of its labelled samples' features, and goes on from there to where the stream's
//! samples are that look like it. With one label a class that mean is a single sample.
//!
//! Features are scaled to length 1, centred, and scaled again. In each iteration the newest unlabelled samples belong to each class
//! by the softmax of their cosines with the prototypes, and each prototype moves by `rate` toward the mean of its labelled samples
//! and of these, each as far as it belongs to the class.
//!
//! Only the paper's abstract and its idea were at hand: certainty, rate and number of iterations are our own. Labelled samples
//! have the features of their last draw, by the teacher. Prototypes begin anew from the labelled samples in each step, since
//! features move.

use crate::adapt::prototypes::{Prototypes, assigned, centred};
use crate::loss::unit;
use crate::messages::Scores;
use crate::method::average::{load_tensors, save_tensors};
use crate::method::bank::Bank;
use crate::pseudo_labels::Target;
use crate::torch::on_host;
use crate::window::keep_newest_rows;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Maximum number of labelled samples whose features are kept.
const CAPACITY: usize = 4096;

/// `answer.prototypes`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Factor on the cosines of features and prototypes, whose softmax is the answer, from 0.01 to 1000.
    pub certainty: f64,
    /// Iterations in which prototypes move to the stream's samples. 0: they are the means of labelled samples.
    pub iterations: u64,
    /// How far they move in each, from 0 to 1.
    pub rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { certainty: 10.0, iterations: 10, rate: 0.2 }
    }
}

impl Settings {
    /// Returns what of it is out of range, if anything.
    pub fn fault(&self) -> Option<String> {
        let faults = outside(&[
            ("certainty", self.certainty, 0.01..=1e3),
            ("iterations", self.iterations as f64, 0.0..=1000.0),
            ("rate", self.rate, 0.0..=1.0),
        ]);
        faults.into_iter().next().map(|(key, reason)| format!("{key} = {reason}"))
    }
}

/// Makes prototypes from step to step.
pub struct PrototypeFit {
    settings: Settings,
    classes: i64,
    /// Most unlabelled samples whose features are kept.
    window: i64,
    bank: Bank,
    /// `[W, F]`: features of the newest unlabelled samples, of length 1.
    newest: Option<Tensor>,
    made: Option<Arc<Prototypes>>,
}

impl PrototypeFit {
    /// Creates what has seen no sample, for `classes` classes and a window of `window` unlabelled samples.
    pub fn new(settings: Settings, classes: usize, window: usize) -> Self {
        let (classes, window, bank) = (classes as i64, window as i64, Bank::new(CAPACITY));
        Self { settings, classes, window, bank, newest: None, made: None }
    }

    /// Returns the newest prototypes; `None` before the first labelled sample.
    pub fn made(&self) -> Option<Arc<Prototypes>> {
        self.made.clone()
    }

    /// Takes in a step, and returns prototypes for it. On a GPU it waits for them.
    pub fn learn(&mut self, scores: &Scores) -> Option<Arc<Prototypes>> {
        if let Some(labelled) = &scores.labelled {
            let features = labelled.features.to_kind(Kind::Float);
            self.bank.learn(&labelled.keys, &features, &labelled.classes, scores.step);
        }
        let new = unit(&scores.features);
        let before = self.newest.take().unwrap_or_else(|| new.narrow(0, 0, 0)).to_device(new.device());
        let newest = keep_newest_rows(&before, &new, self.window);
        if let Some(held) = self.bank.held() {
            let (support, classes) =
                (held.features.to_device(new.device()), held.classes.to_device(new.device()));
            let members = Target::Hard(classes).rows(self.classes); // [K, C]
            self.made = Some(Arc::new(adapted(&support, &members, &newest, self.settings)));
        }
        self.newest = Some(newest);
        self.made()
    }
}

/// Returns what prototypes say of a step's samples `[B, C]`. Where `labels` says so, that stands in for the network's
/// probabilities, also of labelled samples: of these a method makes pseudo-labels.
pub fn stand_in(prototypes: &Prototypes, scores: &mut Scores, labels: bool) -> Tensor {
    let said = prototypes.answer(&scores.features);
    if labels {
        scores.unlabelled[0] = said.shallow_clone();
        if let Some(labelled) = &mut scores.labelled {
            labelled.probabilities = prototypes.answer(&labelled.features);
            for view in &mut labelled.further {
                view.probabilities = prototypes.answer(&view.features);
            }
        }
    }
    said
}

/// Returns the prototypes of labelled samples with features `support` `[K, F]`, which are of classes `members` `[K, C]`, as they
/// follow the samples with features `newest` `[W, F]`.
fn adapted(support: &Tensor, members: &Tensor, newest: &Tensor, settings: Settings) -> Prototypes {
    let sums = |rows: &Tensor| rows.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
    let all = Tensor::cat(&[support, newest], 0);
    let mean = all.mean_dim([0i64].as_slice(), false, Kind::Float); // [F]
    let (support, newest) = (centred(support, &mean), centred(newest, &mean));
    let (of_class, counts) = (members.tr().matmul(&support), sums(members).unsqueeze(1)); // [C, F], [C, 1]
    let absent = counts.eq(0.0).squeeze_dim(1);
    let mut rows = &of_class / counts.clamp_min(1.0);
    for _ in 0..settings.iterations {
        let belongs = assigned(&newest, &rows, &absent, settings.certainty); // [W, C]
        let means = (&of_class + belongs.tr().matmul(&newest))
            / (&counts + sums(&belongs).unsqueeze(1)).clamp_min(1e-6);
        rows = rows.lerp(&means, settings.rate);
    }
    let present = on_host(&absent).into_iter().map(|absent| absent == 0.0).collect();
    Prototypes { mean: on_host(&mean), rows: on_host(&rows), present, certainty: settings.certainty }
}

/// The state's name in messages.
const WHAT: &str = "`answer.prototypes`";

impl Stateful for PrototypeFit {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(self.bank.save()?, save_tensors(&[&self.newest])?, self.made.as_deref()))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (bank, newest, made): (Vec<u8>, Vec<u8>, Option<Prototypes>) = decode(WHAT, state)?;
        self.bank.load(&bank)?;
        load_tensors(&newest, [&mut self.newest])?;
        self.made = made.map(Arc::new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn rows(values: &[[f32; 2]]) -> Tensor {
        Tensor::from_slice2(values)
    }

    fn near(found: &[f32], expected: &[f32]) {
        let close = found.iter().zip(expected).all(|(found, hand)| (found - hand).abs() < 1e-4);
        assert!(close && found.len() == expected.len(), "{found:?} is not {expected:?}");
    }

    /// Samples that are of length 1 and have no mean: each with its opposite.
    fn with_opposites(values: &[[f32; 2]]) -> Tensor {
        let rows = rows(values);
        Tensor::cat(&[&rows, &-&rows], 0)
    }

    #[test]
    fn prototypes_move_to_what_looks_like_them() {
        // By hand: two samples that belong to the two classes by 0.8808 and 0.1192.
        let settings = Settings { iterations: 1, ..Settings::default() };
        let support = rows(&[[1.0, 0.0], [0.0, 1.0]]);
        let newest = rows(&[[0.8, 0.6], [0.6, 0.8]]);
        let belongs = assigned(&newest, &support, &Tensor::from_slice(&[false, false]), 10.0);
        near(&on_host(&belongs), &[0.8808, 0.1192, 0.1192, 0.8808]);
        let means = (&support + belongs.tr().matmul(&newest)) / 2.0;
        near(&on_host(&means), &[0.8881, 0.3119, 0.3119, 0.8881]);
        near(&on_host(&support.lerp(&means, 0.2)), &[0.9776, 0.0624, 0.0624, 0.9776]);
        // The same by the whole: four classes, so that the mean is 0.
        let support = with_opposites(&[[1.0, 0.0], [0.0, 1.0]]);
        let newest = with_opposites(&[[0.8, 0.6], [0.6, 0.8]]);
        let members = Tensor::eye(4, (Kind::Float, Device::Cpu));
        let found = adapted(&support, &members, &newest, settings);
        near(&found.mean, &[0.0, 0.0]);
        near(&found.rows[..4], &[0.9776, 0.0624, 0.0624, 0.9776]);
        let fixed = adapted(&support, &members, &newest, Settings { iterations: 0, ..settings });
        near(&fixed.rows[..4], &[1.0, 0.0, 0.0, 1.0]);
    }

    fn scores(step: u64, features: &[[f32; 2]], labelled: Option<i64>) -> Scores {
        let none = || Tensor::zeros([0], (Kind::Float, Device::Cpu));
        let labelled = labelled.map(|class| crate::messages::LabelledScores {
            probabilities: none(),
            features: rows(&[[3.0, 1.0]]),
            heads: Vec::new(),
            input: none(),
            classes: Tensor::from_slice(&[class]),
            keys: vec![class as u64],
            further: Vec::new(),
        });
        Scores {
            step,
            unlabelled: Vec::new(),
            input: none(),
            labelled,
            features: rows(features),
            heads: Vec::new(),
            alarm: false,
            ledger_stats: None,
        }
    }

    #[test]
    fn a_class_without_labels_is_never_answered_and_a_restart_goes_on_alike() {
        let new = || PrototypeFit::new(Settings::default(), 3, 3);
        let mut fit = new();
        assert!(fit.learn(&scores(0, &[[1.0, 0.0]], None)).is_none());
        let made = fit.learn(&scores(1, &[[1.0, 0.0], [0.0, 2.0]], Some(2))).unwrap();
        assert_eq!(made.present, [false, false, true]);
        near(&on_host(&made.answer(&rows(&[[0.3, 0.1]]))), &[0.0, 0.0, 1.0]);
        let mut again = new();
        again.load(&fit.save().unwrap()).unwrap();
        assert_eq!(again.made(), fit.made());
        let next = || scores(2, &[[2.0, 1.0], [0.0, 1.0]], Some(0));
        assert_eq!(again.learn(&next()), fit.learn(&next()));
        assert_eq!(again.newest.as_ref().unwrap().size(), [3, 2]);
        assert!(again.load(&[1, 2]).is_err());
    }
}

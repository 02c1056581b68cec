//! FlexMatch (Zhang et al. 2021, §3): FixMatch with a threshold for each class. A class on which the
//! teacher is seldom confident is still being learned and gets a lower threshold: τ · β / (2 - β),
//! where β is the number of confident pseudo-labels of the class over the largest such number of any
//! class.
//!
//! One departure: the paper keeps the last confident pseudo-label of each sample of a data set. A
//! stream has no end, so the ledger's last `ledger.retain` samples replace the data set here; a sample
//! that gets a label or leaves the ledger no longer counts.
//!
//! As in FixMatch, batch norm sees rejected samples only with `filter.mode = "mask"`.

use crate::device::upload::upload;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::method::fixmatch;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::report::ledger::LedgerStats;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the paper's (§4).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a confident pseudo-label, and the threshold of the best-learned class.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// Whether thresholds stay low while most samples in the ledger have no confident pseudo-label (§3,
    /// threshold warm-up).
    pub warm_up: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0, warm_up: true }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let Self { threshold, unlabelled_weight, .. } = *self;
        fixmatch::Settings { threshold, unlabelled_weight }.faults()
    }
}

/// The method.
pub struct FlexMatch(pub Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(FlexMatch(settings(spec)?)))
}

impl Settings {
    /// Returns the threshold of each class; 0 before there are ledger statistics.
    fn thresholds(&self, ledger_stats: Option<&LedgerStats>, classes: usize) -> Vec<f32> {
        let Some(ledger_stats) = ledger_stats else { return vec![0.0; classes] };
        let confident = &ledger_stats.confident;
        let unused = ledger_stats.unlabelled() - confident.iter().sum::<u64>();
        let most = confident.iter().copied().max().unwrap_or(0);
        let most = if self.warm_up { most.max(unused) } else { most };
        let threshold = |count: &u64| {
            let beta = *count as f64 / most.max(1) as f64;
            (self.threshold * beta / (2.0 - beta)) as f32
        };
        confident.iter().map(threshold).collect()
    }
}

impl Method for FlexMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest { ledger_stats: true, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let settings = self.0.clone();
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0];
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let thresholds = settings.thresholds(scores.ledger_stats.as_ref(), rows.size()[1] as usize);
            let thresholds = upload(&Tensor::from_slice(&thresholds), rows.device()); // [C]
            let weight = confidence.ge_tensor(&thresholds.index_select(0, &class)).to_kind(Kind::Float);
            PseudoLabels {
                confident: Some(confidence.ge(settings.threshold)),
                threshold: Some(thresholds),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_stats(confident: &[u64], judged: u64, met: u64) -> LedgerStats {
        let mut ledger_stats = LedgerStats::new(confident.len());
        ledger_stats.confident = confident.to_vec();
        ledger_stats.judged[0] = judged;
        ledger_stats.met = met;
        ledger_stats
    }

    fn close(found: &[f32], by_hand: [f32; 3]) {
        assert!(
            found.iter().zip(by_hand).all(|(found, by_hand)| (found - by_hand).abs() < 1e-6),
            "{found:?}"
        );
    }

    #[test]
    fn thresholds_are_those_of_the_paper() {
        let flexmatch = Settings::default();
        close(&flexmatch.thresholds(None, 3), [0.0; 3]);
        // 20 of 60 have no confident judgement: β is 30/30, 10/30, 0/30.
        close(&flexmatch.thresholds(Some(&ledger_stats(&[30, 10, 0], 70, 10)), 3), [0.95, 0.19, 0.0]);
        // 60 of 100 have none: β is 30/60, 10/60, 0/60.
        let low = [0.95 * 0.5 / 1.5, 0.95 / 11.0, 0.0];
        close(&flexmatch.thresholds(Some(&ledger_stats(&[30, 10, 0], 100, 0)), 3), low);
        let at_once = Settings { warm_up: false, ..Settings::default() };
        close(&at_once.thresholds(Some(&ledger_stats(&[30, 10, 0], 100, 0)), 3), [0.95, 0.19, 0.0]);
        close(&at_once.thresholds(Some(&ledger_stats(&[0, 0, 0], 0, 0)), 3), [0.0; 3]);
    }

    #[test]
    fn what_is_accepted_is_not_all_confident() {
        let rows = Tensor::from_slice2(&[[0.96f32, 0.02, 0.02], [0.6, 0.4, 0.0], [0.1, 0.2, 0.7]]);
        let ledger_stats = Some(ledger_stats(&[30, 10, 0], 60, 0));
        let none = || Tensor::zeros([0], (Kind::Float, tch::Device::Cpu));
        let scores = Scores {
            step: 0,
            unlabelled: vec![rows],
            input: none(),
            labelled: None,
            features: none(),
            heads: Vec::new(),
            alarm: false,
            ledger_stats,
        };
        let pseudo_labels = FlexMatch(Settings::default()).pseudo_labeller().pseudo_label(&scores);
        let accepted: Vec<bool> = pseudo_labels.accepted().try_into().unwrap();
        let confident: Vec<bool> = pseudo_labels.confident.unwrap().try_into().unwrap();
        assert_eq!(accepted, [true, false, true]);
        assert_eq!(confident, [true, false, false]);
    }
}

//! The nearest labelled samples vote on each sample's class, as in adaptive continual memory (Prabhu et
//! al. 2023, §3), a memory of features that forgets nothing. The winning class is the pseudo-label, its
//! share of the votes the confidence; the student learns from labelled samples and from these
//! pseudo-labels on strong views.
//!
//! The bank holds the features of labelled samples as of their last draw: with `features = "model"` the
//! teacher's features, with `"input"` the samples themselves, which training does not change. A
//! corrected label takes effect at the sample's next draw; a withdrawn one stays until newer samples
//! evict it.
//!
//! Departures: the paper searches an index of all samples ever seen over a frozen network, and has no
//! student. Here the search is exact, a matrix product over at most `capacity` samples, the most
//! recently labelled ones.

use crate::loss::unit;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::bank::Bank;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Features between which distance is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The input of the teacher's last layer.
    #[default]
    Model,
    /// The sample itself, flattened.
    Input,
}

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Features whose cosine measures similarity.
    pub features: Features,
    /// Number of nearest labelled samples that vote.
    pub neighbours: u64,
    /// A vote has weight exp(cosine / temperature). 0: all votes have the same weight.
    pub temperature: f64,
    /// Steps after which the weight of a labelled sample's vote has fallen to 1/e. 0: it stays the same.
    pub memory_steps: u64,
    /// Maximum number of labelled samples in the bank.
    pub capacity: usize,
    /// Least share of the votes for an accepted pseudo-label.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            features: Features::Model,
            neighbours: 3,
            temperature: 0.1,
            memory_steps: 0,
            capacity: 10_000,
            threshold: 0.95,
            unlabelled_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("neighbours", self.neighbours as f64, 1.0..=1000.0),
            ("temperature", self.temperature, 0.0..=1e6),
            ("capacity", self.capacity as f64, 1.0..=1e7),
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Knn(Settings);

/// The bank of labelled samples' features, and how they vote.
struct Labeller {
    settings: Settings,
    bank: Bank,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Knn(settings(spec)?)))
}

impl Labeller {
    /// Returns the classes' shares of the votes on `queries` `[B, F]`: `[B, C]`; `None` while the bank
    /// is empty.
    fn votes(&self, queries: &Tensor, step: u64, classes: i64) -> Option<Tensor> {
        let Settings { neighbours, temperature, memory_steps, .. } = self.settings;
        let held = self.bank.held()?;
        let cosine = unit(queries).matmul(&held.features.tr()); // [B, N]
        let count = (neighbours as i64).min(held.features.size()[0]);
        let (near, index) = cosine.topk(count, 1, true, true); // [B, k], [B, k]
        let mut exponent = match temperature > 0.0 {
            true => near / temperature,
            false => near.zeros_like(),
        };
        if memory_steps > 0 {
            let ages = (held.born - step as i64) / memory_steps as f64; // [N], at most 0
            exponent += ages.to_kind(Kind::Float).take(&index);
        }
        let weights = exponent.softmax(1, Kind::Float).unsqueeze(2); // [B, k, 1]
        let all = Tensor::arange(classes, (Kind::Int64, queries.device()));
        let voted = held.classes.take(&index).unsqueeze(2).eq_tensor(&all); // [B, k, C]
        Some((weights * voted.to_kind(Kind::Float)).sum_dim_intlist([1i64].as_slice(), false, Kind::Float))
    }
}

impl Method for Knn {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled_scores: true, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        Box::new(Labeller { settings: self.0.clone(), bank: Bank::new(self.0.capacity) })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let queries = match self.settings.features {
            Features::Model => scores.features.to_kind(Kind::Float),
            Features::Input => scores.input.flatten(1, -1),
        };
        if let Some(labelled) = &scores.labelled {
            let features = match self.settings.features {
                Features::Model => labelled.features.to_kind(Kind::Float),
                Features::Input => labelled.input.flatten(1, -1),
            };
            self.bank.learn(&labelled.keys, &features, &labelled.classes, scores.step);
        }
        let rows = &scores.unlabelled[0];
        let threshold = Some(Tensor::full([1], self.settings.threshold, (Kind::Float, rows.device())));
        match self.votes(&queries, scores.step, rows.size()[1]) {
            Some(votes) => {
                let (share, class) = votes.max_dim(1, false); // [B], [B]
                let weight = share.ge(self.settings.threshold).to_kind(Kind::Float);
                PseudoLabels { threshold, ..PseudoLabels::hard(class, share, weight) }
            }
            // Without votes nothing is accepted; the teacher's prediction is recorded with weight 0.
            None => {
                let (confidence, class) = rows.max_dim(1, false);
                let weight = confidence.zeros_like();
                PseudoLabels { threshold, ..PseudoLabels::hard(class, confidence, weight) }
            }
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        self.bank.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.bank.load(state)
    }
}

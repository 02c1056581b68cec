//! CoMatch (Li, Xiong and Hoi 2021, §3): FixMatch whose pseudo-labels are smoothed by those of samples seen a moment ago that
//! look alike, and whose projections are drawn together where pseudo-labels agree.
//!
//! - A queue holds the projections of the newest samples with their probabilities: the teacher's of unlabelled samples, the
//!   class of labelled ones. α of a pseudo-label is the sample's own, the rest is what those in the queue say, each by its
//!   similarity. It is not smoothed before the queue is full.
//! - Two samples of a step whose smoothed probabilities agree by at least `contrast_threshold` are a pair, and each is one with
//!   itself. The projection of a sample's first strong view is to be as near to the second views of its pairs as they agree.
//!
//! As in the authors' code the queue gets probabilities before they are smoothed, and every sample of the step takes part in
//! the contrast, confident or not. Pseudo-labels are aligned with classes that come alike. With a contrast threshold above 1
//! only a sample's own two views are a pair, which is the NT-Xent loss.
//!
//! Departures: the teacher makes projections and probabilities of the queue (the student there); and of several workers each
//! contrasts its own part of a step.

use crate::loss::{cross_entropy, unit};
use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::ring::Ring;
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the authors' for CIFAR-10, but for the threshold: 0.95 there, in a training a thousand times
/// as long as `pipelines/digits-ten-labels.toml`, of whose samples it accepted too few (seeds 0 to 2: 94.5 %; with 0.8 96.7, with 0.7 95.1).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// Least agreement of two samples that are drawn together: the product of their probabilities.
    pub contrast_threshold: f64,
    /// Temperature of similarities: a softmax of cosines over it.
    pub temperature: f64,
    /// α: share of the network's probabilities in a pseudo-label; the rest are the queue's.
    pub own_share: f64,
    /// Number of samples in the queue.
    pub queue: usize,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// λ_u: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// λ_c: weight of the contrast.
    pub contrast_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 0.8,
            contrast_threshold: 0.8,
            temperature: 0.2,
            own_share: 0.9,
            queue: 2560,
            aligned_steps: 32,
            unlabelled_weight: 1.0,
            contrast_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("contrast_threshold", self.contrast_threshold, 0.0..=2.0),
            ("temperature", self.temperature, 1e-3..=1e3),
            ("own_share", self.own_share, 0.0..=1.0),
            ("queue", self.queue as f64, 1.0..=1e5),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("contrast_weight", self.contrast_weight, 0.0..=1e6),
        ])
    }
}

/// As the authors', but for the width of the hidden layer, which is that of the network's features there.
const HEADS: &[Head] = &[Head {
    name: "projection",
    hidden: Width::Fixed(128),
    layers: 2,
    outputs: Width::Fixed(64),
    base: Base::Features,
}];
/// `[B]` f32: weight in the contrast, 1 for every sample.
const EVERY: &str = "every";
/// Logit of a sample that does not take part.
const NEVER: f64 = -1e4;

struct CoMatch(Settings);

/// The queue, and the mean probabilities of the last steps.
struct Labeller {
    settings: Settings,
    queue: Ring,
    alignment: Alignment,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(CoMatch(settings(spec)?)))
}

impl CoMatch {
    /// Returns the contrast of the step's samples, divided by B; `None` where no sample was selected.
    fn contrast(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let [first, second] = forward.strong.as_slice() else { return None };
        let every = forward.rows.get(EVERY)?; // [A]
        let Target::Soft(rows) = &forward.target else { return None };
        let agreement = rows.matmul(&rows.tr()); // [A, A]
        let itself = Tensor::eye(rows.size()[0], (Kind::Bool, rows.device()));
        let agreement = agreement.masked_fill(&itself, 1.0);
        let near = agreement.ge(self.0.contrast_threshold).logical_or(&itself).to_kind(Kind::Float);
        let pairs = agreement * near * every.unsqueeze(0);
        let sum = pairs.sum_dim_intlist([1i64].as_slice(), true, Kind::Float).clamp_min(1e-12);
        let cosines = unit(first.heads.first()?).matmul(&unit(second.heads.first()?).tr());
        let takes_part = every.gt(0.0).unsqueeze(0);
        let logits = (cosines / self.0.temperature).masked_fill(&takes_part.logical_not(), NEVER);
        Some(cross_entropy(&logits, &Target::Soft(pairs / sum)).dot(every) / forward.batch)
    }
}

impl Method for CoMatch {
    fn views(&self) -> ViewRequest {
        let student = vec![View::Strong, View::Strong];
        ViewRequest { student, labelled_scores: true, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let (queue, alignment) = (Ring::new(self.0.queue), Alignment::new(self.0.aligned_steps));
        Box::new(Labeller { settings: self.0.clone(), queue, alignment })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)?;
        Some(match self.contrast(&forward) {
            Some(contrast) => loss.plus(&(contrast * self.0.contrast_weight)),
            None => loss,
        })
    }
}

impl Labeller {
    /// Returns the probabilities `[B, C]` that a full queue gives to samples with these projections `[B, D]`.
    fn said(&self, projection: &Tensor) -> Option<Tensor> {
        let (held, rows) = self.queue.held(self.settings.queue, projection)?;
        let near = projection.matmul(&held.tr()) / self.settings.temperature; // [B, K]
        Some(near.softmax(1, Kind::Float).matmul(&rows))
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        if scores.alarm {
            self.alignment.means = None;
        }
        let own = self.alignment.aligned(&scores.unlabelled[0]); // [B, C]
        let projection = scores.heads.first().map(unit); // [B, D]
        let said = projection.as_ref().and_then(|projection| self.said(projection));
        let share = self.settings.own_share;
        let rows = said.map_or_else(|| own.shallow_clone(), |said| &own * share + said * (1.0 - share));
        if let Some(projection) = &projection {
            self.queue.add(projection, &own);
        }
        if let Some(labelled) = &scores.labelled
            && let Some(projection) = labelled.heads.first()
        {
            let classes = Target::Hard(labelled.classes.shallow_clone()).rows(own.size()[1]);
            self.queue.add(&unit(projection), &classes);
        }
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confidence.ge(self.settings.threshold).to_kind(Kind::Float);
        let every = confidence.ones_like();
        PseudoLabels {
            threshold: Some(Tensor::full([1], self.settings.threshold, (Kind::Float, rows.device()))),
            rows: [(EVERY, every)].into(),
            further: Some(EVERY),
            ..PseudoLabels::soft(rows, confidence, class, weight)
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.queue.projections, &self.queue.probabilities, &self.alignment.means])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let Self { queue, alignment, .. } = self;
        load_tensors(state, [&mut queue.projections, &mut queue.probabilities, &mut alignment.means])
    }
}

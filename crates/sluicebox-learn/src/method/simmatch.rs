//! SimMatch (Zheng et al. 2022, §3.2 to 3.4): FixMatch in which labelled samples that look alike have a say. A bank holds the
//! projections of labelled samples.
//!
//! - The teacher's similarities to the bank, weighed by the probability of each neighbour's class, are how a sample resembles
//!   labelled ones: the student's similarities of the strong view are to match them, for every sample (instance similarity).
//! - The similarities, summed by class, smooth the pseudo-label: α of it stays, the rest is what the neighbours say.
//!
//! Pseudo-labels are aligned with classes that come alike (`aligned_steps`), and soft. With α = 1, no instance loss and no
//! alignment this is UDA with a temperature of 1.
//!
//! The bank holds a labelled sample's projection as of its last draw, made by the teacher (as the authors' code for ImageNet
//! does; USB's for CIFAR blends the student's). A corrected label takes effect at the sample's next draw.

use crate::loss::{cross_entropy, unit};
use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::bank::Bank;
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use crate::torch::copied;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Options of the method. The defaults are those of USB for CIFAR-10, but for the threshold, 0.95 there: a target is confident only where
/// neighbours agree, and in `pipelines/digits-ten-labels.toml` half of the samples were accepted (seeds 0 to 2: 94.9 %; with 0.8 95.8).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// Temperature of similarities: a softmax of cosines over it.
    pub temperature: f64,
    /// α: share of the network's probabilities in a pseudo-label; the rest are the neighbours'.
    pub own_share: f64,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// Maximum number of labelled samples in the bank.
    pub capacity: usize,
    /// λ_u: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// λ_in: weight of the instance loss.
    pub instance_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 0.8,
            temperature: 0.1,
            own_share: 0.9,
            aligned_steps: 32,
            capacity: 4096,
            unlabelled_weight: 1.0,
            instance_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("temperature", self.temperature, 1e-3..=1e3),
            ("own_share", self.own_share, 0.0..=1.0),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("capacity", self.capacity as f64, 1.0..=1e5),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("instance_weight", self.instance_weight, 0.0..=1e6),
        ])
    }
}

/// As the authors', but for the width of the hidden layer, which is that of the network's features there.
const HEADS: &[Head] = &[Head {
    name: "projection",
    hidden: Width::Fixed(128),
    layers: 2,
    outputs: Width::Fixed(128),
    base: Base::Features,
}];
/// `[K, D]`: the projections in the bank, of length 1.
const BANK: &str = "bank";
/// `[B, K]`: how each sample resembles those in the bank; rows sum to 1.
const ALIKE: &str = "alike";
/// `[B]` f32: weight in the instance loss, 1 for every sample.
const EVERY: &str = "every";

struct SimMatch(Settings);

/// The bank of labelled samples, and the mean probabilities of the last steps.
struct Labeller {
    settings: Settings,
    bank: Bank,
    alignment: Alignment,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(SimMatch(settings(spec)?)))
}

impl SimMatch {
    /// Returns the instance loss, divided by B; `None` while the bank is empty, or where no sample was selected.
    fn instance_loss(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let (bank, alike) = (forward.constants.get(BANK)?, forward.rows.get(ALIKE)?);
        let projection = unit(forward.strong.first()?.heads.first()?); // [A, D]
        let cosines = projection.matmul(&bank.tr()) / self.0.temperature; // [A, K]
        let each = cross_entropy(&cosines, &Target::Soft(alike.shallow_clone()));
        Some(each.dot(forward.rows.get(EVERY)?) / forward.batch)
    }
}

impl Method for SimMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled_scores: true, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let (bank, alignment) = (Bank::new(self.0.capacity), Alignment::new(self.0.aligned_steps));
        Box::new(Labeller { settings: self.0.clone(), bank, alignment })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)?;
        Some(match self.instance_loss(&forward) {
            Some(instances) => loss.plus(&(instances * self.0.instance_weight)),
            None => loss,
        })
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let Settings { threshold, temperature, own_share, instance_weight, .. } = self.settings;
        let projection = |heads: &[Tensor]| heads.first().map(Tensor::shallow_clone);
        if let Some((labelled, projection)) =
            scores.labelled.as_ref().and_then(|labelled| Some((labelled, projection(&labelled.heads)?)))
        {
            self.bank.learn(&labelled.keys, &projection, &labelled.classes, scores.step);
        }
        if scores.alarm {
            self.alignment.means = None;
        }
        let own = self.alignment.aligned(&scores.unlabelled[0]); // [B, C]
        let held = self.bank.held().zip(projection(&scores.heads));
        let (rows, told) = match held {
            Some((held, projection)) => {
                // A copy: the bank changes while this step is still on its way to the student.
                let bank = copied(&held.features.to_device(own.device())); // [K, D]
                let classes = held.classes.to_device(own.device()); // [K]
                let near = (unit(&projection).matmul(&bank.tr()) / temperature).softmax(1, Kind::Float);
                let alike = &near * own.index_select(1, &classes);
                let sum = alike.sum_dim_intlist([1i64].as_slice(), true, Kind::Float).clamp_min(1e-12);
                let voted = near.matmul(&Target::Hard(classes).rows(own.size()[1])); // [B, C]
                let rows = &own * own_share + voted * (1.0 - own_share);
                (rows, Some((alike / sum, bank)))
            }
            None => (own, None),
        };
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confidence.ge(threshold).to_kind(Kind::Float);
        let every = confidence.ones_like();
        let reported = Some(Tensor::full([1], threshold, (Kind::Float, rows.device())));
        let labels =
            PseudoLabels { threshold: reported, ..PseudoLabels::soft(rows, confidence, class, weight) };
        match told.filter(|_| instance_weight > 0.0) {
            Some((alike, bank)) => PseudoLabels {
                rows: [(ALIKE, alike), (EVERY, every)].into(),
                further: Some(EVERY),
                constants: [(BANK, bank)].into(),
                ..labels
            },
            None => labels,
        }
    }
}

/// The state's name in messages.
const WHAT: &str = "`simmatch`";

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(self.bank.save()?, save_tensors(&[&self.alignment.means])?))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (bank, means): (Vec<u8>, Vec<u8>) = decode(WHAT, state)?;
        self.bank.load(&bank)?;
        load_tensors(&means, [&mut self.alignment.means])
    }
}

//! SimMatchV2 (Zheng et al. 2023, §3.2 to 3.5): FixMatch on graphs, whose nodes are samples and whose edges are similarities of
//! their projections. What is said of a weak and of a strong view is to be consistent in four ways:
//!
//! - node and node, edge and node: a sample and the labelled samples next to it (of the bank that `simmatch` has) pass their
//!   classes on along the edges, Ŷ = (1 - α) (I - αA)⁻¹ [q; Y]; what arrives at the sample is its pseudo-label. Since that is
//!   (1 - α) Σ αᵏ Aᵏ, the sample keeps at least 1 - α of its own word.
//! - edge and edge: to the newest unlabelled samples, which a ring holds, the strong view has the similarities of the weak one.
//! - node and edge: what those samples were said to be, weighed by the similarities of the strong view, is what the weak view is.
//!
//! The first counts where the sample's own probabilities reach the threshold; the two others have no threshold, and begin once
//! the ring has as many samples as a step. Pseudo-labels are aligned with classes that come alike, and soft. With α = 0 and
//! neither of the two this is UDA with a temperature of 1.
//!
//! Departures, since the paper has ImageNet: few neighbours, a small ring (on digits one of 4,096 is no better), one strong view
//! and equal weights by default. The
//! inverse is its series, as far as a term is above 1e-5. The ring is read before the step's own samples join it, so that none
//! is next to itself. The paper normalises features before the last layer; here they are the network's own. The teacher makes
//! the projections of bank and ring.

use crate::loss::{cross_entropy, unit};
use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::bank::Bank;
use crate::method::ring::Ring;
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// Temperature of similarities: a softmax of cosines over it.
    pub temperature: f64,
    /// α: how much of its neighbours' classes a sample takes on, from 0 to 0.9.
    pub passed_on: f64,
    /// Number of labelled samples next to a sample.
    pub neighbours: usize,
    /// Maximum number of labelled samples in the bank.
    pub capacity: usize,
    /// Maximum number of unlabelled samples in the ring.
    pub ring: usize,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// λ_nn: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// λ_ee: weight of the loss of similarities.
    pub edge_weight: f64,
    /// λ_ne: weight of the loss of classes weighed by similarities.
    pub node_edge_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 0.95,
            temperature: 0.1,
            passed_on: 0.1,
            neighbours: 16,
            capacity: 4096,
            ring: 1024,
            aligned_steps: 32,
            unlabelled_weight: 1.0,
            edge_weight: 1.0,
            node_edge_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("temperature", self.temperature, 1e-3..=1e3),
            ("passed_on", self.passed_on, 0.0..=0.9),
            ("neighbours", self.neighbours as f64, 1.0..=1024.0),
            ("capacity", self.capacity as f64, 1.0..=1e5),
            ("ring", self.ring as f64, 1.0..=1e5),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("edge_weight", self.edge_weight, 0.0..=1e6),
            ("node_edge_weight", self.node_edge_weight, 0.0..=1e6),
        ])
    }
}

/// As `simmatch` has it.
const HEADS: &[Head] = &[Head {
    name: "projection",
    hidden: Width::Fixed(128),
    layers: 2,
    outputs: Width::Fixed(128),
    base: Base::Features,
}];
/// `[K, D]` and `[K, C]`: projections in the ring, of length 1, and what their samples were said to be.
const RING: &str = "ring";
const SAID: &str = "said";
/// `[B, K]`: similarities of the weak view to those in the ring; rows sum to 1.
const ALIKE: &str = "alike";
/// `[B, C]`: the sample's own aligned probabilities.
const OWN: &str = "own";
/// `[B]` f32: weight in the losses of edges, 1 for every sample.
const EVERY: &str = "every";
/// What is below it is no edge, and no term of the series.
const NEVER: f64 = -1e9;
const LEAST: f64 = 1e-5;

struct SimMatchV2(Settings);

/// The bank of labelled samples, the ring of unlabelled ones, and the mean probabilities of the last steps.
struct Labeller {
    settings: Settings,
    bank: Bank,
    ring: Ring,
    alignment: Alignment,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(SimMatchV2(settings(spec)?)))
}

/// Returns what arrives at the first node of graphs `nodes` `[B, N, D]`, rows of length 1, whose nodes say `rows` `[B, N, C]`.
fn arrived(nodes: &Tensor, rows: &Tensor, temperature: f64, passed_on: f64) -> Tensor {
    let itself = Tensor::eye(nodes.size()[1], (Kind::Bool, nodes.device()));
    let cosines = nodes.bmm(&nodes.transpose(1, 2)) / temperature;
    let edges = cosines.masked_fill(&itself, NEVER).softmax(2, Kind::Float); // [B, N, N]
    let terms = (LEAST.ln() / passed_on.ln()).ceil().max(0.0) as i32;
    let mut at = rows.zeros_like().narrow(2, 0, 1).transpose(1, 2); // [B, 1, N]
    let _ = at.narrow(2, 0, 1).fill_(1.0);
    let mut sum = at.zeros_like();
    for term in 0..terms {
        sum += &at * ((1.0 - passed_on) * passed_on.powi(term));
        at = at.bmm(&edges);
    }
    // The rest of the series goes on from where it is, so that rows sum to 1.
    (sum + at * passed_on.powi(terms)).bmm(rows).squeeze_dim(1)
}

impl SimMatchV2 {
    /// Returns the losses of edges, divided by B and weighted; `None` while the ring is short, or where no sample was selected.
    fn of_edges(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let (ring, said) = (forward.constants.get(RING)?, forward.constants.get(SAID)?);
        let (alike, own) = (forward.rows.get(ALIKE)?, forward.rows.get(OWN)?);
        let projection = unit(forward.strong.first()?.heads.first()?); // [A, D]
        let cosines = projection.matmul(&ring.tr()) / self.0.temperature; // [A, K]
        let edges = cross_entropy(&cosines, &Target::Soft(alike.shallow_clone()));
        let classes = cosines.softmax(1, Kind::Float).matmul(said).clamp_min(1e-12); // [A, C]
        let node_edges = -(own * classes.log()).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        let each = edges * self.0.edge_weight + node_edges * self.0.node_edge_weight;
        Some(each.dot(forward.rows.get(EVERY)?) / forward.batch)
    }
}

impl Method for SimMatchV2 {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled_scores: true, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let Settings { capacity, ring, aligned_steps, .. } = self.0;
        let alignment = Alignment::new(aligned_steps);
        let (bank, ring) = (Bank::new(capacity), Ring::new(ring));
        Box::new(Labeller { settings: self.0.clone(), bank, ring, alignment })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)?;
        Some(match self.of_edges(&forward) {
            Some(edges) => loss.plus(&edges),
            None => loss,
        })
    }
}

impl Labeller {
    /// Returns what arrives at samples that say `own` `[B, C]`, from the labelled ones next to their projections `[B, D]`.
    fn with_neighbours(&self, own: &Tensor, projection: &Tensor) -> Tensor {
        let Some(held) = self.bank.held() else { return own.shallow_clone() };
        let device = own.device();
        let (bank, classes) = (held.features.to_device(device), held.classes.to_device(device));
        let (batch, count) = (own.size()[0], classes.size()[0].min(self.settings.neighbours as i64));
        let (_, places) = projection.matmul(&bank.tr()).topk(count, 1, true, false); // [B, n]
        let places = places.view(-1);
        let near = |rows: &Tensor| rows.index_select(0, &places).view([batch, count, -1]);
        let said = near(&Target::Hard(classes).rows(own.size()[1])); // [B, n, C]
        let nodes = Tensor::cat(&[projection.unsqueeze(1), near(&bank)], 1); // [B, n + 1, D]
        let rows = Tensor::cat(&[own.unsqueeze(1), said], 1);
        arrived(&nodes, &rows, self.settings.temperature, self.settings.passed_on)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let Settings { threshold, temperature, edge_weight, node_edge_weight, .. } = self.settings;
        if let Some(labelled) = &scores.labelled
            && let Some(projection) = labelled.heads.first()
        {
            self.bank.learn(&labelled.keys, projection, &labelled.classes, scores.step);
        }
        if scores.alarm {
            self.alignment.means = None;
        }
        let own = self.alignment.aligned(&scores.unlabelled[0]); // [B, C]
        let projection = scores.heads.first().map(unit); // [B, D]
        let rows = match &projection {
            Some(projection) => self.with_neighbours(&own, projection),
            None => own.shallow_clone(),
        };
        let confidence = own.amax([1i64].as_slice(), false); // [B]
        let weight = confidence.ge(threshold).to_kind(Kind::Float);
        let (class, every) = (rows.argmax(1, false), confidence.ones_like());
        let reported = Some(Tensor::full([1], threshold, (Kind::Float, rows.device())));
        let labels =
            PseudoLabels { threshold: reported, ..PseudoLabels::soft(rows, confidence, class, weight) };
        let Some(projection) = projection.filter(|_| edge_weight > 0.0 || node_edge_weight > 0.0) else {
            return labels;
        };
        let least = (own.size()[0] as usize).min(self.settings.ring);
        let held = self.ring.held(least, &own);
        self.ring.add(&projection, &own);
        let Some((ring, said)) = held else { return labels };
        let alike = (projection.matmul(&ring.tr()) / temperature).softmax(1, Kind::Float);
        PseudoLabels {
            rows: [(ALIKE, alike), (OWN, own), (EVERY, every)].into(),
            further: Some(EVERY),
            constants: [(RING, ring), (SAID, said)].into(),
            ..labels
        }
    }
}

/// The state's name in messages.
const WHAT: &str = "`simmatch-v2`";

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        let tensors = [&self.ring.projections, &self.ring.probabilities, &self.alignment.means];
        encode(WHAT, &(self.bank.save()?, save_tensors(&tensors)?))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (bank, tensors): (Vec<u8>, Vec<u8>) = decode(WHAT, state)?;
        self.bank.load(&bank)?;
        let Self { ring, alignment, .. } = self;
        load_tensors(&tensors, [&mut ring.projections, &mut ring.probabilities, &mut alignment.means])
    }
}

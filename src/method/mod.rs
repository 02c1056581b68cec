//! What to learn from: three verbs for three stages, and no hooks. One file a method, one row
//! in [`METHODS`].
//!
//! `views` says what to augment (weak and strong stages), `judge` turns the teacher's scores
//! into targets and weights (filter stage, the only one with state), `loss` says how far the
//! student is off (learn stage).

mod adamatch;
mod arazo;
mod average;
mod ccic;
mod elr;
pub mod filter;
mod fixmatch;
mod flexmatch;
mod freematch;
pub mod gate;
mod histogram;
mod knn;
mod mean_teacher;
mod pseudo_label;
mod ramp;
mod range;
mod saa;
mod shrinkmatch;
mod softmatch;
mod supervised;
mod uda;

use crate::data::{Judgement, Scores, Target};
use crate::error::Result;
use crate::model::Output;
use crate::model::heads::Head;
use crate::randomness::Draws;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::student::loss::cross_entropy;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// What a method wants to see of each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Weak views of each unlabelled sample; the teacher scores each. At least 1.
    pub weak: usize,
    /// Views of each selected sample for the student. 0: nothing is learned from unlabelled
    /// samples.
    pub strong: usize,
    /// How those views are made.
    pub student: View,
    /// The teacher also scores the labelled samples.
    pub labelled_scores: bool,
    /// The ledger tells how things stand: judging waits for it.
    pub standing: bool,
    /// The student learns mixtures of the samples of its joint batch.
    pub mix: Option<Mixing>,
    /// What is put on the model's features.
    pub heads: &'static [Head],
}

impl Default for Wanted {
    /// One weak and one strong view, and nothing else.
    fn default() -> Self {
        Self {
            weak: 1,
            strong: 1,
            student: View::Strong,
            labelled_scores: false,
            standing: false,
            mix: None,
            heads: &[],
        }
    }
}

/// Mixup of the joint batch (Zhang et al. 2018, §2): the first views of the selected samples and as
/// many labelled ones, each with another one of either kind; their targets likewise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixing {
    /// The share of each is drawn from Beta(α, α).
    pub alpha: f64,
    /// The share that a sample keeps is at least a half (Berthelot et al. 2019, §3.3).
    pub dominant: bool,
}

/// How a view is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// By `views.weak`.
    Weak,
    /// By `views.labelled`: as labelled samples are shown.
    Labelled,
    /// By `views.strong`.
    Strong,
    /// By `views.strong`; where the judgement's row [`EASY`] is more than 0, one half of such a
    /// view and the other half of a second one.
    Spliced,
}

/// The row of a judgement that says which samples [`View::Spliced`] splices: `[B]` f32.
pub const EASY: &str = "easy";

/// The student's forward pass, as a method's loss sees it.
pub struct Forward<'a> {
    /// Labelled samples, where there are some.
    pub labelled: Option<LabelledForward<'a>>,
    /// Views of the selected samples: outputs `[A, …]` each.
    pub strong: Vec<Output>,
    /// What the selected samples are to be: of A.
    pub target: Target,
    /// `[A]` f32: what each counts.
    pub weight: Tensor,
    /// B, by which sums over A are divided.
    pub batch: i64,
    /// What `judge` left for the loss, a row a selected sample: `[A, …]` each.
    pub rows: BTreeMap<&'static str, Tensor>,
    /// What else it left.
    pub constants: &'a BTreeMap<&'static str, Tensor>,
    /// The step's own random numbers.
    pub draws: Draws,
}

/// The labelled part of a forward pass.
pub struct LabelledForward<'a> {
    /// `[L, …]`.
    pub output: Output,
    /// What they are to be: of L.
    pub target: Target,
    /// `[L]` i64: what they are.
    pub classes: &'a Tensor,
}

impl Forward<'_> {
    /// Mean cross-entropy of the labelled samples: a scalar. None where there are none.
    pub fn labelled_loss(&self) -> Option<Tensor> {
        let labelled = self.labelled.as_ref()?;
        Some(cross_entropy(&labelled.output.logits, &labelled.target).mean(Kind::Float))
    }

    /// Cross-entropy of the first view against the targets, weighted, over the whole batch: a
    /// scalar. None where nothing was selected.
    pub fn unlabelled_loss(&self) -> Option<Tensor> {
        let each = cross_entropy(&self.strong.first()?.logits, &self.target);
        Some(self.over_batch(&each))
    }

    /// Sum over A of `each` `[A]`, weighted, over B: a scalar.
    pub fn over_batch(&self, each: &Tensor) -> Tensor {
        each.dot(&self.weight) / self.batch as f64
    }
}

/// The loss in parts: f32 scalars.
pub struct Loss {
    /// What is minimised.
    pub total: Tensor,
    /// The labelled part, for the report.
    pub labelled: Tensor,
    /// The unlabelled part before its factor, for the report.
    pub unlabelled: Tensor,
}

impl Loss {
    /// The labelled part, and `weight` times the unlabelled one. None where both are missing.
    pub fn sum(labelled: Option<Tensor>, unlabelled: Option<Tensor>, weight: f64) -> Option<Self> {
        let total = match (&labelled, &unlabelled) {
            (None, None) => return None,
            (Some(labelled), None) => labelled.shallow_clone(),
            (None, Some(unlabelled)) => unlabelled * weight,
            (Some(labelled), Some(unlabelled)) => labelled + unlabelled * weight,
        };
        let told = |part: Option<Tensor>| part.unwrap_or_else(|| total.zeros_like()).detach();
        Some(Self { labelled: told(labelled), unlabelled: told(unlabelled), total })
    }

    /// The same with a further term in what is minimised.
    pub fn plus(self, term: &Tensor) -> Self {
        Self { total: self.total + term, ..self }
    }
}

/// A method of semi-supervised learning.
pub trait Method {
    /// What is to be seen of each step.
    fn views(&self) -> Wanted;

    /// What the teacher's scores mean. May learn from them: the state is in the checkpoint.
    fn judge(&mut self, scores: &Scores) -> Judgement;

    /// How far the student is off. `None`: there is nothing to learn from.
    fn loss(&self, forward: Forward<'_>) -> Option<Loss>;

    /// What `judge` has learned: bytes for [`Method::restore`].
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Goes back to a snapshot.
    fn restore(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Makes a method from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Method>>;

/// Every method a job can name.
pub static METHODS: Registry<Build> = Registry {
    what: "method",
    entries: &[
        Entry {
            name: "supervised",
            about: "the baseline: labelled samples only",
            resolve: resolve::<supervised::Settings>,
            build: supervised::build,
        },
        Entry {
            name: "pseudo-label",
            about: "confident classes of weak views are labels of weak views (Lee 2013)",
            resolve: resolve::<pseudo_label::Settings>,
            build: pseudo_label::build,
        },
        Entry {
            name: "mean-teacher",
            about: "views as of labelled samples have the averaged network's probabilities (Tarvainen and Valpola 2017)",
            resolve: resolve::<mean_teacher::Settings>,
            build: mean_teacher::build,
        },
        Entry {
            name: "uda",
            about: "strong views have the sharpened probabilities of weak views (Xie et al. 2020)",
            resolve: resolve::<uda::Settings>,
            build: uda::build,
        },
        Entry {
            name: "fixmatch",
            about: "confident pseudo-labels of weak views teach strong views (Sohn et al. 2020)",
            resolve: resolve::<fixmatch::Settings>,
            build: fixmatch::build,
        },
        Entry {
            name: "flexmatch",
            about: "FixMatch with lower thresholds for classes still being learned (Zhang et al. 2021)",
            resolve: resolve::<flexmatch::Settings>,
            build: flexmatch::build,
        },
        Entry {
            name: "freematch",
            about: "FixMatch with thresholds that follow the teacher's scores, and class fairness (Wang et al. 2023)",
            resolve: resolve::<freematch::Settings>,
            build: freematch::build,
        },
        Entry {
            name: "softmatch",
            about: "FixMatch with weights, by a Gaussian of the confidences, for thresholds (Chen et al. 2023)",
            resolve: resolve::<softmatch::Settings>,
            build: softmatch::build,
        },
        Entry {
            name: "adamatch",
            about: "FixMatch aligned with, and with a threshold relative to, labelled scores (Berthelot et al. 2022)",
            resolve: resolve::<adamatch::Settings>,
            build: adamatch::build,
        },
        Entry {
            name: "shrinkmatch",
            about: "FixMatch, and samples in doubt teach in fewer classes (Yang et al. 2023)",
            resolve: resolve::<shrinkmatch::Settings>,
            build: shrinkmatch::build,
        },
        Entry {
            name: "saa",
            about: "stronger views of easy samples, on FixMatch or FlexMatch (Gui et al. 2023)",
            resolve: resolve::<saa::Settings>,
            build: saa::build,
        },
        Entry {
            name: "elr",
            about: "FixMatch that holds on to what was learned early (Liu et al. 2020)",
            resolve: resolve::<elr::Settings>,
            build: elr::build,
        },
        Entry {
            name: "arazo",
            about: "soft pseudo-labels of all samples, mixed with labelled ones (Arazo et al. 2020)",
            resolve: resolve::<arazo::Settings>,
            build: arazo::build,
        },
        Entry {
            name: "ccic",
            about: "mixed consistency, features of different classes apart (Boschini et al. 2022)",
            resolve: resolve::<ccic::Settings>,
            build: ccic::build,
        },
        Entry {
            name: "knn",
            about: "the nearest labelled samples vote on pseudo-labels (Prabhu et al. 2023)",
            resolve: resolve::<knn::Settings>,
            build: knn::build,
        },
    ],
};

//! What to learn from: three verbs for three stages, and no hooks. One file a method, one row
//! in [`METHODS`].
//!
//! `views` says what to augment (weak and strong stages), `judge` turns the teacher's scores
//! into targets and weights (filter stage, the only one with state), `loss` says how far the
//! student is off (learn stage).

pub mod filter;
mod fixmatch;
mod flexmatch;
mod supervised;

use crate::data::{Judgement, Scores, Target};
use crate::error::Result;
use crate::model::Output;
use crate::randomness::Draws;
use crate::registry::{Entry, Registry, Spec, resolve};
use std::collections::BTreeMap;
use tch::Tensor;

/// What a method wants to see of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Weak views of each unlabelled sample; the teacher scores each. At least 1.
    pub weak: usize,
    /// Strong views of each selected sample. 0: nothing is learned from unlabelled samples.
    pub strong: usize,
    /// The teacher also scores the labelled samples.
    pub labelled_scores: bool,
    /// The teacher also gives the features of the first weak view.
    pub features: bool,
    /// The ledger tells how things stand: judging waits for it.
    pub standing: bool,
}

/// The student's forward pass, as a method's loss sees it.
pub struct Forward<'a> {
    /// Labelled samples: outputs `[L, …]` and classes `[L]` i64.
    pub labelled: Option<(Output, &'a Tensor)>,
    /// Strong views: outputs `[A, …]` each.
    pub strong: Vec<Output>,
    /// What the selected samples are to be: of A.
    pub target: Target,
    /// `[A]` f32: what each counts.
    pub weight: Tensor,
    /// B, by which sums over A are divided.
    pub batch: i64,
    /// What `judge` left for the loss.
    pub aux: &'a BTreeMap<&'static str, Tensor>,
    /// The step's own random numbers.
    pub draws: Draws,
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
    ],
};

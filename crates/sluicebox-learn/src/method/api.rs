//! The contract of a method: three functions for three stages, and no hooks.
//!
//! A [`Method`] holds settings and never changes: one object serves every stage. All that is learned
//! from scores belongs to its [`PseudoLabeller`], which the filter stage owns. The loss sees of that
//! state only what travels in the `rows` and `constants` of [`PseudoLabels`].

use crate::augmentation::api::images_only;
use crate::augmentation::block_mask::Blocks;
use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::model::api::Output;
use crate::model::heads::Head;
use crate::pseudo_labels::{PseudoLabels, Target};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use sluicebox_core::state::Stateful;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Inputs that a method needs from each step.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewRequest {
    /// Number of weak views of each unlabelled sample, at least 1; the teacher scores each.
    pub weak: usize,
    /// The student's views of each selected sample. Without any the method learns nothing from
    /// unlabelled samples.
    pub student: Vec<View>,
    /// Whether the teacher also scores the labelled samples.
    pub labelled_scores: bool,
    /// The student's views of each labelled sample besides that of `views.labelled`.
    pub labelled: Vec<View>,
    /// Whether the pseudo-labeller needs the first weak view itself.
    pub input: bool,
    /// Whether the pseudo-labeller needs the ledger statistics; the filter stage then waits for them.
    pub ledger_stats: bool,
    /// Mixup of the student's joint batch; `None` for no mixing.
    pub mix: Option<Mixing>,
    /// Further heads on the model's features.
    pub heads: &'static [Head],
    /// A last view of the student's: the first one, moved.
    pub adversary: Option<Adversary>,
}

impl ViewRequest {
    /// Returns the reason why the method cannot learn from samples of this shape, if it cannot.
    pub fn refuses(&self, shape: Shape) -> Option<String> {
        let boxes = self.mix.filter(|mixing| matches!(mixing.among, Among::Across { .. }));
        let of_view = self.student.iter().chain(&self.labelled).find_map(|view| view.refuses(shape));
        of_view.or_else(|| boxes.and_then(|_| images_only(shape)))
    }
}

impl Default for ViewRequest {
    /// Returns one weak and one strong view, and nothing else.
    fn default() -> Self {
        Self {
            weak: 1,
            student: vec![View::Strong],
            labelled_scores: false,
            labelled: Vec::new(),
            input: false,
            ledger_stats: false,
            mix: None,
            heads: &[],
            adversary: None,
        }
    }
}

/// Mixup of the joint batch (Zhang et al. 2018, §2): samples are each mixed with a random partner, and so are their targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixing {
    /// α of the Beta(α, α) from which each sample's own share is drawn.
    pub alpha: f64,
    /// Whether a sample's own share is at least one half (Berthelot et al. 2019, §3.3).
    pub dominant: bool,
    /// Number of the student's views that take part, from the first on.
    pub views: usize,
    /// Who is mixed with whom.
    pub among: Among,
}

/// Who is mixed with whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Among {
    /// Views, and no more labelled samples than samples were selected: each with any of them.
    All,
    /// Views, with each other; labelled samples stay as they are.
    Views,
    /// No more labelled samples than samples were selected, with any of them or of the views, which stay as they are.
    Labelled,
    /// The first view with itself, beside the view: the mixtures come after the student's views, and [`MIXTURE`] says of whom they
    /// are. Labelled samples are mixed with each other.
    Beside,
    /// The first view with labelled samples and those with the first view: a box in each has the other's pixels (Bai et al.
    /// 2023, §3.2), and its area is the other's share. α is not used. For images.
    Across {
        /// Side of the box, as a fraction of the image's.
        side: f64,
    },
}

/// Move of a view into the direction in which the student's probabilities change most (Miyato et al. 2018).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adversary {
    /// Length of the move, in standard deviations of the view for each of its values.
    pub deviations: f64,
}

/// Augmentation of a view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View {
    /// As `views.weak` says.
    Weak,
    /// As `views.labelled` says: like labelled samples.
    Labelled,
    /// As `views.medium` says: stronger than weak.
    Medium,
    /// As `views.strong` says.
    Strong,
    /// As `views.strong` says; where the entry [`EASY`] of the pseudo-labels' `rows` is above 0,
    /// one half of such a view and the other half of a second one.
    Spliced,
    /// As `views.strong` says, then turned by as many quarters as [`quarters`](crate::augmentation::turn::quarters) says.
    /// For square images.
    Turned,
    /// As `views.strong` says, then blocks masked with the mean of the batch. For images.
    Masked(Blocks),
}

impl View {
    /// Returns the list of `views` in the job that the view is made by.
    pub fn list(&self) -> &'static str {
        match self {
            View::Weak => "weak",
            View::Labelled => "labelled",
            View::Medium => "medium",
            View::Strong | View::Spliced | View::Turned | View::Masked(_) => "strong",
        }
    }

    /// Returns the reason why the view cannot be made of samples of this shape, if it cannot.
    pub fn refuses(&self, shape: Shape) -> Option<String> {
        match self {
            View::Masked(_) => images_only(shape),
            View::Turned => match shape {
                Shape::Image { height, width, .. } if height == width => None,
                _ => Some(format!("turns square images, but a sample has {shape}")),
            },
            _ => None,
        }
    }
}

/// Name of the entry of the pseudo-labels' `rows`, `[B]` f32, whose samples above 0
/// [`View::Spliced`] splices.
pub const EASY: &str = "easy";

/// Name of the entry of a forward pass's `rows`, `[A, A]` f32, with the share of each selected sample in each mixture of
/// [`Among::Beside`].
pub const MIXTURE: &str = "mixture";

/// The student's forward pass, input of a method's loss.
pub struct Forward<'a> {
    /// Labelled samples; `None` without any.
    pub labelled: Option<LabelledForward<'a>>,
    /// Outputs `[A, …]` for each view of the selected samples.
    pub strong: Vec<Output>,
    /// Targets of the A selected samples, after mixing where the first view was mixed.
    pub target: Target,
    /// Targets of the further views that were mixed.
    pub further_targets: Vec<Target>,
    /// `[A]` f32: weights in the loss.
    pub weight: Tensor,
    /// B, the divisor of sums over A; one of several workers has its fraction of it.
    pub batch: f64,
    /// The selected rows of the pseudo-labels' `rows`: `[A, …]` each.
    pub rows: BTreeMap<&'static str, Tensor>,
    /// The pseudo-labels' `constants`.
    pub constants: &'a BTreeMap<&'static str, Tensor>,
    /// Random generator of this step.
    pub draws: Draws,
}

/// The labelled samples of a forward pass.
pub struct LabelledForward<'a> {
    /// Outputs `[L, …]`.
    pub output: Output,
    /// Outputs `[L, …]` of the further views, in their order.
    pub further: Vec<Output>,
    /// Targets of the L labelled samples, after smoothing and mixing; times the samples' weights where they have any.
    pub target: Target,
    /// `[L]` i64: classes before smoothing and mixing.
    pub classes: &'a Tensor,
    /// L, the divisor of sums over labelled samples; one of several workers has its fraction of it.
    pub batch: f64,
    /// The rows of the [`JudgedLabels`](crate::pseudo_labels::JudgedLabels): `[L, …]` each.
    pub rows: BTreeMap<&'static str, Tensor>,
}

impl<'a> LabelledForward<'a> {
    /// Creates that of samples in one view, of which this worker has all.
    pub fn new(output: Output, target: Target, classes: &'a Tensor) -> Self {
        let batch = classes.size()[0] as f64;
        Self { output, further: Vec::new(), target, classes, batch, rows: BTreeMap::new() }
    }

    /// Returns the sum of `each` `[L]`, divided by L: a scalar.
    pub fn mean(&self, each: &Tensor) -> Tensor {
        each.sum(Kind::Float) / self.batch
    }
}

impl Forward<'_> {
    /// Returns the mean cross-entropy of the labelled samples, a scalar; `None` without any.
    pub fn labelled_loss(&self) -> Option<Tensor> {
        let labelled = self.labelled.as_ref()?;
        Some(cross_entropy(&labelled.output.logits, &labelled.target).mean(Kind::Float))
    }

    /// Returns the same of all views of the labelled samples, their mean.
    pub fn labelled_loss_of_views(&self) -> Option<Tensor> {
        let labelled = self.labelled.as_ref()?;
        let views = labelled.further.iter().map(|view| cross_entropy(&view.logits, &labelled.target));
        let first = self.labelled_loss()?;
        let sum = views.fold(first, |sum, view| sum + view.mean(Kind::Float));
        Some(sum / (1 + labelled.further.len()) as f64)
    }

    /// Returns the weighted cross-entropy of the first view against the targets, summed and divided
    /// by B: a scalar. `None` where no sample was selected.
    pub fn unlabelled_loss(&self) -> Option<Tensor> {
        let each = cross_entropy(&self.strong.first()?.logits, &self.target);
        Some(self.over_batch(&each))
    }

    /// Returns targets `[A, C]` and logits `[A, C]` of each view that was mixed; of the first view where none was.
    pub fn mixed_views(&self) -> impl Iterator<Item = (Tensor, &Tensor)> {
        let targets = std::iter::once(&self.target).chain(&self.further_targets);
        targets.zip(&self.strong).map(|(target, view)| (target.rows(view.logits.size()[1]), &view.logits))
    }

    /// Returns the squared difference between the probabilities of a view's `logits` and `rows`, both `[A, C]`: a mean over
    /// classes, weighted, summed and divided by B. A scalar.
    pub fn squared_error(&self, logits: &Tensor, rows: &Tensor) -> Tensor {
        let gap = logits.softmax(1, Kind::Float) - rows;
        self.over_batch(&gap.square().mean_dim([1i64].as_slice(), false, Kind::Float))
    }

    /// Returns the weighted sum of `each` `[A]`, divided by B: a scalar.
    pub fn over_batch(&self, each: &Tensor) -> Tensor {
        each.dot(&self.weight) / self.batch
    }
}

/// A loss and its two terms: f32 scalars.
pub struct Loss {
    /// The loss to minimise.
    pub total: Tensor,
    /// Labelled loss, for the report.
    pub labelled: Tensor,
    /// Unlabelled loss before its factor, for the report.
    pub unlabelled: Tensor,
}

impl Loss {
    /// Adds the labelled loss and `weight` times the unlabelled one. Returns `None` where both are missing.
    pub fn sum(labelled: Option<Tensor>, unlabelled: Option<Tensor>, weight: f64) -> Option<Self> {
        let total = match (&labelled, &unlabelled) {
            (None, None) => return None,
            (Some(labelled), None) => labelled.shallow_clone(),
            (None, Some(unlabelled)) => unlabelled * weight,
            (Some(labelled), Some(unlabelled)) => labelled + unlabelled * weight,
        };
        let reported = |part: Option<Tensor>| part.unwrap_or_else(|| total.zeros_like()).detach();
        Some(Self { labelled: reported(labelled), unlabelled: reported(unlabelled), total })
    }

    /// Adds a further term to the loss to minimise.
    pub fn plus(self, term: &Tensor) -> Self {
        Self { total: self.total + term, ..self }
    }
}

/// A semi-supervised learning method: its settings, which never change.
///
/// ```
/// use sluicebox_learn::messages::Scores;
/// use sluicebox_learn::method::api::{Forward, Loss, Method, PseudoLabeller, stateless};
/// use sluicebox_learn::pseudo_labels::PseudoLabels;
/// use tch::Kind;
///
/// /// Accepts every likeliest class whose probability is at least the threshold.
/// struct Confident(f64);
///
/// impl Method for Confident {
///     fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
///         let threshold = self.0;
///         stateless(move |scores: &Scores| {
///             let (confidence, class) = scores.unlabelled[0].max_dim(1, false);
///             let weight = confidence.ge(threshold).to_kind(Kind::Float);
///             PseudoLabels::hard(class, confidence, weight)
///         })
///     }
///     fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
///         Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), 1.0)
///     }
/// }
/// assert!(Confident(0.9).pseudo_labeller().save()?.is_empty());
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Method {
    /// Returns the inputs that the method needs from each step: by default one weak and one strong view.
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    /// Creates a pseudo-labeller that has seen no scores.
    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller>;

    /// Returns the student's loss; `None` where there is nothing to learn from.
    fn loss(&self, forward: Forward<'_>) -> Option<Loss>;

    /// Returns the loss of an update on labelled samples alone: of a warm-up, a further one of a step (`batch.updates`), or one
    /// before labels of two classes are known. Methods with several last layers or networks let all of them learn.
    fn loss_of_labels(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), None, 0.0)
    }
}

/// Makes pseudo-labels, and owns all that a method learns from scores. Its state is part of the
/// checkpoint.
pub trait PseudoLabeller: Stateful {
    /// Turns the teacher's scores into pseudo-labels.
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels;
}

/// Returns a pseudo-labeller without state: a function of the scores alone.
pub fn stateless(label: impl Fn(&Scores) -> PseudoLabels + 'static) -> Box<dyn PseudoLabeller> {
    Box::new(Stateless(label))
}

struct Stateless<F>(F);

impl<F: Fn(&Scores) -> PseudoLabels> PseudoLabeller for Stateless<F> {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        (self.0)(scores)
    }
}

impl<F> Stateful for Stateless<F> {
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn load(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Builds a method from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Method>>;

//! Semi-supervised learning methods. A method implements three functions for three stages; there
//! are no other hooks. One file per method, one row in [`METHODS`].
//!
//! `views` says which views to make (weak and strong stages), `pseudo_labeller` creates the owner of
//! the method's state, which turns the teacher's scores into targets and weights (filter stage),
//! `loss` computes the student's loss (learn stage).

mod adamatch;
pub mod api;
mod arazo;
mod average;
mod ccic;
mod elr;
mod fixmatch;
mod flexmatch;
mod freematch;
mod histogram;
mod knn;
mod mean_teacher;
mod pseudo_label;
mod ramp;
mod saa;
mod shrinkmatch;
mod softmatch;
mod supervised;
mod uda;

use crate::method::api::Build;
use sluicebox_core::config::registry::{Entry, Registry};

/// Every method a job can name.
pub static METHODS: Registry<Build> = Registry {
    what: "method",
    entries: &[
        Entry::new::<supervised::Settings>(
            "supervised",
            "the baseline: labelled samples only",
            supervised::build,
        ),
        Entry::new::<pseudo_label::Settings>(
            "pseudo-label",
            "confident predictions for a weak view are labels for another weak view (Lee 2013)",
            pseudo_label::build,
        ),
        Entry::new::<mean_teacher::Settings>(
            "mean-teacher",
            "the student matches the averaged network's probabilities (Tarvainen and Valpola 2017)",
            mean_teacher::build,
        ),
        Entry::new::<uda::Settings>(
            "uda",
            "sharpened probabilities of weak views are targets for strong views (Xie et al. 2020)",
            uda::build,
        ),
        Entry::new::<fixmatch::Settings>(
            "fixmatch",
            "confident predictions for weak views are labels for strong views (Sohn et al. 2020)",
            fixmatch::build,
        ),
        Entry::new::<flexmatch::Settings>(
            "flexmatch",
            "FixMatch with lower thresholds for classes still being learned (Zhang et al. 2021)",
            flexmatch::build,
        ),
        Entry::new::<freematch::Settings>(
            "freematch",
            "FixMatch with self-adaptive thresholds and a class fairness term (Wang et al. 2023)",
            freematch::build,
        ),
        Entry::new::<softmatch::Settings>(
            "softmatch",
            "FixMatch with Gaussian weights instead of a threshold (Chen et al. 2023)",
            softmatch::build,
        ),
        Entry::new::<adamatch::Settings>(
            "adamatch",
            "FixMatch with distribution alignment and a relative threshold (Berthelot et al. 2022)",
            adamatch::build,
        ),
        Entry::new::<shrinkmatch::Settings>(
            "shrinkmatch",
            "FixMatch that also learns from uncertain samples, over fewer classes (Yang et al. 2023)",
            shrinkmatch::build,
        ),
        Entry::new::<saa::Settings>(
            "saa",
            "FixMatch or FlexMatch with stronger views of easy samples (Gui et al. 2023)",
            saa::build,
        ),
        Entry::new::<elr::Settings>(
            "elr",
            "FixMatch with early-learning regularisation against wrong labels (Liu et al. 2020)",
            elr::build,
        ),
        Entry::new::<arazo::Settings>(
            "arazo",
            "soft pseudo-labels of all samples, and mixup with labelled ones (Arazo et al. 2020)",
            arazo::build,
        ),
        Entry::new::<ccic::Settings>(
            "ccic",
            "mixup consistency, and features of different classes pushed apart (Boschini et al. 2022)",
            ccic::build,
        ),
        Entry::new::<knn::Settings>(
            "knn",
            "the nearest labelled samples vote on pseudo-labels (Prabhu et al. 2023)",
            knn::build,
        ),
    ],
};

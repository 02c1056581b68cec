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
            "confident classes of weak views are labels of weak views (Lee 2013)",
            pseudo_label::build,
        ),
        Entry::new::<mean_teacher::Settings>(
            "mean-teacher",
            "views as of labelled samples have the averaged network's probabilities (Tarvainen and Valpola 2017)",
            mean_teacher::build,
        ),
        Entry::new::<uda::Settings>(
            "uda",
            "strong views have the sharpened probabilities of weak views (Xie et al. 2020)",
            uda::build,
        ),
        Entry::new::<fixmatch::Settings>(
            "fixmatch",
            "confident pseudo-labels of weak views teach strong views (Sohn et al. 2020)",
            fixmatch::build,
        ),
        Entry::new::<flexmatch::Settings>(
            "flexmatch",
            "FixMatch with lower thresholds for classes still being learned (Zhang et al. 2021)",
            flexmatch::build,
        ),
        Entry::new::<freematch::Settings>(
            "freematch",
            "FixMatch with thresholds that follow the teacher's scores, and class fairness (Wang et al. 2023)",
            freematch::build,
        ),
        Entry::new::<softmatch::Settings>(
            "softmatch",
            "FixMatch with weights, by a Gaussian of the confidences, for thresholds (Chen et al. 2023)",
            softmatch::build,
        ),
        Entry::new::<adamatch::Settings>(
            "adamatch",
            "FixMatch aligned with, and with a threshold relative to, labelled scores (Berthelot et al. 2022)",
            adamatch::build,
        ),
        Entry::new::<shrinkmatch::Settings>(
            "shrinkmatch",
            "FixMatch, and samples in doubt teach in fewer classes (Yang et al. 2023)",
            shrinkmatch::build,
        ),
        Entry::new::<saa::Settings>(
            "saa",
            "stronger views of easy samples, on FixMatch or FlexMatch (Gui et al. 2023)",
            saa::build,
        ),
        Entry::new::<elr::Settings>(
            "elr",
            "FixMatch that holds on to what was learned early (Liu et al. 2020)",
            elr::build,
        ),
        Entry::new::<arazo::Settings>(
            "arazo",
            "soft pseudo-labels of all samples, mixed with labelled ones (Arazo et al. 2020)",
            arazo::build,
        ),
        Entry::new::<ccic::Settings>(
            "ccic",
            "mixed consistency, features of different classes apart (Boschini et al. 2022)",
            ccic::build,
        ),
        Entry::new::<knn::Settings>(
            "knn",
            "the nearest labelled samples vote on pseudo-labels (Prabhu et al. 2023)",
            knn::build,
        ),
    ],
};

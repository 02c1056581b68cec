//! Semi-supervised learning methods. A method implements three functions for three stages; there
//! are no other hooks. One file per method, one row in [`METHODS`].
//!
//! `views` says which views to make (weak and strong stages), `judge` turns the teacher's scores
//! into targets and weights (filter stage, the only one with state), `loss` computes the student's
//! loss (learn stage).

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
use sluicebox_core::config::registry::{Entry, Registry, resolve};

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

//! Semi-supervised learning methods. A method implements three functions for three stages; there
//! are no other hooks. One file per method, one row in [`METHODS`].
//!
//! `views` says which views to make (weak and strong stages), `pseudo_labeller` creates the owner of
//! the method's state, which turns the teacher's scores into targets and weights (filter stage),
//! `loss` computes the student's loss (learn stage).

mod abc;
mod adamatch;
mod adawac;
mod alignment;
pub mod api;
mod arazo;
pub(crate) mod average;
pub(crate) mod bank;
mod bcp;
mod ccic;
mod co_teaching;
mod comatch;
mod cps;
mod crmatch;
mod cross;
mod dash;
mod defixmatch;
mod elr;
mod fixmatch;
mod flexmatch;
mod freematch;
mod frequencies;
mod histogram;
mod ict;
mod knn;
mod mean_teacher;
mod mic;
mod mixmatch;
mod multimatch;
mod pi_model;
mod pseudo_label;
pub(crate) mod ramp;
mod rdcr;
mod refixmatch;
mod remixmatch;
mod ring;
mod saa;
mod semixup;
mod sequencematch;
mod shrinkmatch;
mod simmatch;
mod simmatch_v2;
mod softmatch;
mod supervised;
mod uda;
mod unmixmatch;
mod vat;

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
        Entry::new::<pi_model::Settings>(
            "pi-model",
            "the student's probabilities for two views are to be equal (Laine and Aila 2017)",
            pi_model::build,
        ),
        Entry::new::<mean_teacher::Settings>(
            "mean-teacher",
            "the student matches the averaged network's probabilities (Tarvainen and Valpola 2017)",
            mean_teacher::build,
        ),
        Entry::new::<vat::Settings>(
            "vat",
            "probabilities stay the same where a sample is moved against them (Miyato et al. 2018)",
            vat::build,
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
        Entry::new::<refixmatch::Settings>(
            "refixmatch",
            "FixMatch with soft targets below the threshold (Nguyen and Yang 2023)",
            refixmatch::build,
        ),
        Entry::new::<dash::Settings>(
            "dash",
            "FixMatch with a threshold on the loss, which falls (Xu et al. 2021)",
            dash::build,
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
        Entry::new::<simmatch::Settings>(
            "simmatch",
            "FixMatch in which labelled samples that look alike have a say (Zheng et al. 2022)",
            simmatch::build,
        ),
        Entry::new::<simmatch_v2::Settings>(
            "simmatch-v2",
            "FixMatch on the graph of a sample and the labelled samples next to it (Zheng et al. 2023)",
            simmatch_v2::build,
        ),
        Entry::new::<comatch::Settings>(
            "comatch",
            "FixMatch with smoothed pseudo-labels, and projections of alike samples (Li et al. 2021)",
            comatch::build,
        ),
        Entry::new::<saa::Settings>(
            "saa",
            "FixMatch or FlexMatch with stronger views of easy samples (Gui et al. 2023)",
            saa::build,
        ),
        Entry::new::<mic::Settings>(
            "mic",
            "the class of the whole image is the target of a masked one (Hoyer et al. 2023)",
            mic::build,
        ),
        Entry::new::<abc::Settings>(
            "abc",
            "FixMatch with a second last layer for which classes come alike (Lee et al. 2021)",
            abc::build,
        ),
        Entry::new::<defixmatch::Settings>(
            "defixmatch",
            "FixMatch whose unlabelled loss is corrected by that of labelled samples (Schmutz et al. 2023)",
            defixmatch::build,
        ),
        Entry::new::<sequencematch::Settings>(
            "sequencematch",
            "FlexMatch with a medium view between weak and strong ones (Nguyen 2024)",
            sequencematch::build,
        ),
        Entry::new::<crmatch::Settings>(
            "crmatch",
            "FixMatch that keeps features of weak and strong views apart, and turned images (Fan et al. 2021)",
            crmatch::build,
        ),
        Entry::new::<multimatch::Settings>(
            "multimatch",
            "three last layers, each taught by the two others (Sirbu et al. 2025)",
            multimatch::build,
        ),
        Entry::new::<elr::Settings>(
            "elr",
            "FixMatch with early-learning regularisation against wrong labels (Liu et al. 2020)",
            elr::build,
        ),
        Entry::new::<adawac::Settings>(
            "adawac",
            "each labelled sample's own balance of its label and of two views (Dong et al. 2023)",
            adawac::build,
        ),
        Entry::new::<rdcr::Settings>(
            "rdcr",
            "Mean Teacher, and a head that tells turned images apart (Tsai et al. 2019)",
            rdcr::build,
        ),
        Entry::new::<mixmatch::Settings>(
            "mixmatch",
            "sharpened means of weak views, and mixup of all samples (Berthelot et al. 2019)",
            mixmatch::build,
        ),
        Entry::new::<remixmatch::Settings>(
            "remixmatch",
            "MixMatch with aligned targets of strong views, and turned images (Berthelot et al. 2020)",
            remixmatch::build,
        ),
        Entry::new::<ict::Settings>(
            "ict",
            "mixtures of samples are answered by mixtures of answers (Verma et al. 2019)",
            ict::build,
        ),
        Entry::new::<semixup::Settings>(
            "semixup",
            "samples, strong views and mixtures of them are answered alike (Nguyen et al. 2020)",
            semixup::build,
        ),
        Entry::new::<bcp::Settings>(
            "bcp",
            "boxes of labelled images in unlabelled ones and the reverse (Bai et al. 2023)",
            bcp::build,
        ),
        Entry::new::<unmixmatch::Settings>(
            "unmixmatch",
            "unlabelled samples may be of no class: alike views, turns, mixtures (Roy and Etemad 2024)",
            unmixmatch::build,
        ),
        Entry::new::<cps::Settings>(
            "cps",
            "two networks, each of which learns the other one's confident classes (Chen et al. 2021)",
            cps::build,
        ),
        Entry::new::<co_teaching::Settings>(
            "co-teaching",
            "two networks, each of which picks the labels that the other one learns (Han et al. 2018)",
            co_teaching::build,
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

//! NumPy arrays: one of samples and one of classes, streamed in shuffled blocks. Class -1, NaN or an empty text means
//! unknown.

use crate::decode::axes::Layout;
use crate::decode::npy;
use crate::remote;
use crate::source::api::{Context, Source};
use crate::source::array_set::{self, Described, Files, Opening};
use crate::source::bad_records;
use crate::source::bad_records::{BadRecords, one_percent};
use crate::source::blocks::{Options, block, twenty_five, yes};
use crate::source::sample_format;
use crate::source::wanted::{InAll, Wanted};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::at_least;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use std::path::PathBuf;

/// Classes of a set without labels, unless the job says how many.
const UNLABELLED_CLASSES: usize = 10;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder with the files.
    pub path: PathBuf,
    /// File of the streamed samples: `[count, features]`, `[count, height, width]` or `[count,
    /// channels, height, width]`, or with the channels last. Bytes stay u8, other numbers become f32.
    #[serde(default = "samples")]
    pub samples: String,
    /// File of their classes, `[count]`; "" for none: then nothing is labelled at the start.
    #[serde(default = "labels")]
    pub labels: String,
    /// File of the evaluation samples; "" for none.
    #[serde(default)]
    pub test_samples: String,
    /// File of the classes of the evaluation samples.
    #[serde(default)]
    pub test_labels: String,
    /// Number of classes, called 0, 1, 2, …; by default the classes are those that the labels name
    /// (without labels: 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Factor from a value to the model's input; by default 1/255 for bytes and 1 for other numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Where the channels of an image are.
    #[serde(default, skip_serializing_if = "Layout::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub layout: Layout,
    /// Labelled samples per class, or as many as a class has.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Labelled samples in all, of the classes as the data has them, or `"all"` whose class is known; in place of
    /// `labelled_per_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<InAll>,
    /// Samples that are decoded and shuffled together.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Whether to start again at the end of the file, for ever.
    #[serde(default = "yes")]
    pub repeat: bool,
    /// Largest fraction of samples that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for the numbers of bad samples; by default `dead-letter.jsonl` in the state folder or
    /// the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

fn samples() -> String {
    "samples.npy".into()
}
fn labels() -> String {
    "labels.npy".into()
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "classes", self.classes.unwrap_or(2), 2);
        faults.extend(InAll::fault(self.labelled));
        faults.extend(sample_format::scale_fault(self.scale));
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults.extend(bad_records::faults(self.max_bad));
        if self.labels.is_empty() && self.labelled.is_some() {
            faults.push(("labelled", "needs a file of classes: source.labels".into()));
        }
        if self.test_samples.is_empty() != self.test_labels.is_empty() {
            faults.push(("test_samples", "an evaluation needs both test_samples and test_labels".into()));
        }
        faults.extend(remote::refused(&self.path, false).map(|reason| ("path", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        // Other classes would be other samples, which a state does not suit.
        &["path", "classes", "test_samples", "test_labels", "repeat", "max_bad", "dead_letter"]
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let labelled = match options.labels.is_empty() {
        true => Wanted::PerClass(0),
        false => Wanted::new(options.labelled_per_class, options.labelled),
    };
    let (shuffle_buffer, repeat) = (options.shuffle_buffer, options.repeat);
    let stream = Options { labelled, shuffle_buffer, repeat, own_ids: None };
    // Without labels nothing says how many classes there are.
    let classes = options.classes.or(options.labels.is_empty().then_some(UNLABELLED_CLASSES));
    let described = Described {
        folder: options.path,
        streamed: Files { samples: options.samples, labels: options.labels },
        test: Files { samples: options.test_samples, labels: options.test_labels },
        classes,
        scale: options.scale,
        layout: options.layout,
        transpose: false,
    };
    let opening =
        Opening { find: |folder, name| folder.join(name), samples: npy::array, labels: npy::labels };
    let bad = BadRecords::new(options.max_bad, options.dead_letter, context);
    array_set::build(described, opening, stream, bad, context)
}

//! Source of the samples sent to `POST /samples`. The job's server ingests them; this source reads
//! them back from the write-ahead log. Its options describe the samples.

use crate::decode::missing;
use crate::decode::table;
use crate::decode::{self, Form, Keys, Missing};
use crate::ingest::IngestContext;
use crate::source::api::{Context, Source};
use crate::source::filled;
use crate::source::logged::Logged;
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Dtype;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Keys of the features in JSON, in the order of the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub features: Vec<table::Column>,
    /// Key of the class in JSON; by default `label`.
    #[serde(default, rename = "class_column", alias = "class", skip_serializing_if = "Option::is_none")]
    pub class: Option<table::Column>,
    /// Key of the id in JSON; by default `id`.
    #[serde(default, rename = "id_column", alias = "id", skip_serializing_if = "Option::is_none")]
    pub id: Option<table::Column>,
    /// Keys in JSON that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub ignore: Vec<table::Column>,
    /// Columns of categories: a table of columns with their categories, or with a number of values to hash them into.
    #[serde(default, skip_serializing_if = "table::Categorical::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub categorical: table::Categorical,
    /// What is done with a sample of which a feature is missing.
    #[serde(default, skip_serializing_if = "Missing::is_drop")]
    #[schemars(!skip_serializing_if)]
    pub missing: Missing,
    /// Texts that stand for a missing feature, or for a class that is not known; upper or lower case.
    #[serde(default = "missing::missing_markers", skip_serializing_if = "missing::are_usual_markers")]
    #[schemars(!skip_serializing_if)]
    pub missing_markers: Vec<String>,
    /// Whether to resize images of another size (triangle filter) instead of refusing them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub resize: bool,
    /// Colour behind the transparent parts of images: `white`, `grey`, `black` or `#rrggbb`.
    #[serde(default, skip_serializing_if = "decode::Background::is_white")]
    #[schemars(!skip_serializing_if)]
    pub background: decode::Background,
}

impl Settings {
    fn sample_format(&self) -> SampleFormatOptions {
        let Settings { shape, dtype, scale, classes, .. } = self.clone();
        SampleFormatOptions { shape, dtype, scale, classes }
    }

    fn decoding(&self) -> decode::Options {
        let Settings { features, class, id, ignore, resize, background, .. } = self.clone();
        let Settings { categorical, missing, missing_markers, .. } = self.clone();
        let named = table::Options { features, class, id, ignore, ..table::Options::default() };
        let table = table::Options { categorical, missing, missing_markers, ..named };
        decode::Options { resize, background, table }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        let table = self.decoding().table;
        faults.extend(table.faults());
        faults.extend(self.categorical.not_found());
        faults.extend(filled::fault(self.missing, Some(self.dtype)));
        faults.extend(Keys::faults(&table, &self.sample_format().format()));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["ignore", "resize", "background"]
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, _context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let format = options.sample_format().format();
    let form = Form { is_fed: true, ..Form::of(options.decoding(), &format) };
    let start = |live: &IngestContext, stream: u16| {
        let twice = |_| {
            Error::request(
                "a job can have one http source only: POST /samples does not say which source it feeds",
            )
        };
        live.ingest.http.set(stream).map_err(twice)
    };
    Ok(filled::filled(Box::new(Logged::new(format, Box::new(start)).in_form(form)), options.missing))
}

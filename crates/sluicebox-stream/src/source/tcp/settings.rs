//! Options of the TCP source.

use crate::decode::Missing;
use crate::protocol::{frame_bytes, samples_in};
use crate::source::filled;
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document;
use sluicebox_core::sample::{Dtype, sample_bytes};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address to listen at.
    #[serde(default = "usual_address")]
    pub listen: String,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What is done with a sample of which a value is missing (NaN): `drop` refuses it, and its feeder stops.
    #[serde(default, skip_serializing_if = "Missing::is_drop")]
    #[schemars(!skip_serializing_if)]
    pub missing: Missing,
    /// Maximum number of connections at once.
    #[serde(default = "usual_clients")]
    pub max_clients: usize,
    /// Maximum size of a frame, in bytes.
    #[serde(default = "usual_frame_bytes")]
    pub max_frame_bytes: usize,
}

fn usual_address() -> String {
    "127.0.0.1:7879".into()
}
fn usual_clients() -> usize {
    256
}
fn usual_frame_bytes() -> usize {
    4 << 20
}

/// Upper limit of `max_frame_bytes`, whatever the log takes.
const MOST_FRAME_BYTES: usize = 16 << 20;
impl Settings {
    /// Returns the options that describe the samples.
    pub fn sample_format(&self) -> SampleFormatOptions {
        SampleFormatOptions {
            shape: self.shape.clone(),
            dtype: self.dtype,
            scale: self.scale,
            classes: self.classes.clone(),
        }
    }
}

impl document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        faults.extend(filled::fault(self.missing, Some(self.dtype)));
        if self.max_clients == 0 {
            faults.push(("max_clients", "0 is too few: it must be 1 or more".into()));
        }
        let sample = sample_bytes(&self.sample_format().format());
        if self.max_frame_bytes > MOST_FRAME_BYTES {
            let reason = format!("{} is too many: at most {MOST_FRAME_BYTES}", self.max_frame_bytes);
            faults.push(("max_frame_bytes", reason));
        } else if samples_in(self.max_frame_bytes, sample) == 0 {
            let reason = format!(
                "{} is too few: a frame with one sample has {}",
                self.max_frame_bytes,
                frame_bytes(1, sample)
            );
            faults.push(("max_frame_bytes", reason));
        }
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["listen", "max_clients", "max_frame_bytes"]
    }
}

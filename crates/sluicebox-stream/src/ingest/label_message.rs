//! A label in the form in which clients send it.

use crate::decode::json;
use serde::{Deserialize, Serialize};
use sluicebox_core::sample_id::SampleId;

/// A label as one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMessage {
    /// The sample's id.
    pub id: SampleId,
    /// Name of the class, or its number in digits, which JSON may also give as a number. None, null in JSON,
    /// withdraws the label. Required.
    #[serde(deserialize_with = "json::class")]
    pub class: Option<String>,
}

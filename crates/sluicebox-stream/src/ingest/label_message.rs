//! A label in the form in which clients send it.

use serde::{Deserialize, Serialize};

/// A label as one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMessage {
    /// The sample's id.
    pub id: u64,
    /// Name or number of the class; null withdraws the label. Required.
    pub class: serde_json::Value,
}

//! `[server]`: settings of the HTTP server.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use std::path::PathBuf;

/// `[server]`: HTTP for samples, labels and predictions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address, such as 127.0.0.1:7878. None: no server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Accept labels even if no sample is ingested from outside. Needs a state folder; each step is then
    /// written to the step journal before it trains.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub labels: bool,
    /// File with the token that every request must carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Certificate chain (PEM). With `key`, all endpoints use TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Settings for Server {}

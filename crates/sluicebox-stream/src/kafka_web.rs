//! HTTP client of what belongs to a Kafka cluster: token endpoints and schema registries.

use sluicebox_core::error::{Error, Result};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
pub const LARGEST_ANSWER: u64 = 4 << 20;

/// Creates a client that trusts the certificates (PEM) in the file `authority`, or the usual ones.
pub fn agent(authority: Option<&Path>) -> Result<Agent> {
    let mut config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    if let Some(path) = authority {
        let text = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let items = parse_pem(&text).collect::<std::result::Result<Vec<_>, _>>();
        let items = items.map_err(|error| Error::file(path, error))?;
        let certificates = items.into_iter().filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build());
    }
    Ok(config.build().into())
}

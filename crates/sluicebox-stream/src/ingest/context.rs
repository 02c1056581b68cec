//! What a source needs to take in samples from outside.

use crate::auth::Access;
use crate::ingest::gate::Ingest;
use std::sync::Arc;

/// Connections of a job that listens: its ingest gate, runtime and access rules.
pub struct IngestContext {
    /// Ingest gate to the write-ahead log.
    pub ingest: Arc<Ingest>,
    /// Runtime that runs the listeners.
    pub runtime: tokio::runtime::Handle,
    /// Access rules: token and TLS certificate.
    pub access: Arc<Access>,
}

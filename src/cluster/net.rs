//! What both ends of a connection need of the network.

use sluicebox_core::error::{Error, Result};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Time for a connection or a TLS handshake.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the threads that carry frames.
pub fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().thread_name("cluster").build();
    runtime.map_err(|error| Error::Engine(format!("cannot start the threads of the cluster: {error}")))
}

/// Returns the first address that a name has.
pub async fn resolved(address: &str) -> Result<SocketAddr> {
    match lookup_host(address).await.map(|mut all| all.next()) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Error::Request(format!("{address} has no address"))),
        Err(error) => Err(Error::Request(format!("{address}: {error}"))),
    }
}

/// Bounds a call over a network.
pub async fn within<T>(
    patience: Duration,
    call: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    timeout(patience, call).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

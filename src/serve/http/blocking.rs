//! Work that takes time, such as parsing or rendering, on a thread of its own: one thread serves all connections,
//! and must not be held up.

use crate::serve::http::refusal::Refused;
use axum::http::StatusCode;

/// Runs `work` on a thread for blocking work. It counts as a request until it ends: see `guard`.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let failed = |error| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the request could not be answered: {error}"))
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

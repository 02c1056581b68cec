//! What all routes share: the job's parts that are served, limits, and permits.

use crate::serve::other_run::OtherRun;
use crate::serve::predictor::Predictor;
use sluicebox_core::sample::Format;
use sluicebox_observe::status::JobStatus;
use sluicebox_stream::auth::{Access, Refusals};
use sluicebox_stream::decode::Form;
use sluicebox_stream::ingest::Ingest;
use sluicebox_stream::pace::Patience;
use sluicebox_stream::places::Places;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Limits of the server's memory and waiting times.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Most bytes of all bodies that are being read or processed.
    pub bodies_bytes: usize,
    /// Timeout for a client's headers, and for the TLS handshake.
    pub header_wait: Duration,
    /// Longest silence of a client within its body. A body takes at most this long and one second for each
    /// [`BYTES_PER_S`](sluicebox_stream::pace::BYTES_PER_S) of it.
    pub body_patience: Patience,
    /// Timeout for a client that does not read its answer.
    pub write_wait: Duration,
    /// Time that requests in progress get when the server stops.
    pub stop_wait: Duration,
    /// Most connections at once.
    pub connections: usize,
    /// Most requests at once.
    pub requests: usize,
    /// Most event streams at once.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            bodies_bytes: 256 << 20,
            header_wait: Duration::from_secs(10),
            body_patience: Patience::default(),
            write_wait: Duration::from_secs(30),
            stop_wait: Duration::from_secs(2),
            connections: 256,
            requests: 64,
            streams: 32,
        }
    }
}

/// Most samples or labels per request: each costs memory for its id, beside the body.
pub const MOST_PER_REQUEST: usize = 1 << 20;

/// Everything that the server serves.
pub struct Served {
    /// Job status and controls.
    pub status: Arc<JobStatus>,
    /// Format of the job's samples.
    pub format: Format,
    /// How samples look in requests.
    pub form: Arc<Form>,
    /// Ingest gate for samples and labels; none where there is no place to keep them.
    pub ingest: Option<Arc<Ingest>>,
    /// Answers predictions with the teacher.
    pub predictor: Option<Predictor>,
    /// Other runs, which the page can lay over its charts.
    pub others: Vec<OtherRun>,
    /// Token and TLS of the listener.
    pub access: Arc<Access>,
    /// Counts of refused requests.
    pub refusals: Refusals,
}

/// State shared by all routes.
pub struct Shared {
    /// What is served.
    pub served: Served,
    /// Limits of memory and waiting times.
    pub limits: Limits,
    /// Places of connections.
    pub places: Places,
    /// One permit per request, from its head until all work for it has ended.
    pub requests: Arc<Semaphore>,
    /// One permit per KiB of bodies, until all work for the request has ended.
    pub bodies: Arc<Semaphore>,
    /// One permit for decoding images, which takes up to half a GiB of memory.
    pub images: Arc<Semaphore>,
    /// One permit per event stream.
    pub streams: Arc<Semaphore>,
    /// Closes when the server ends.
    pub open: watch::Receiver<()>,
}

impl Shared {
    /// Returns whether others are turned away for want of a request, a connection or room for bodies.
    pub fn is_full(&self) -> bool {
        self.requests.available_permits() == 0
            || self.bodies.available_permits() < self.limits.body_bytes >> 10
            || self.places.are_taken()
    }
}

impl std::ops::Deref for Shared {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

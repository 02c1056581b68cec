//! HTTP server: takes samples and labels, answers predictions and shows the job. This file starts
//! and stops it; each route or group of routes has a file, and so have `listen` (connections),
//! `guard` (access, and reading of bodies), `headers` (headers for browsers) and `answer`
//! (refusals).

mod body;
mod control;
mod events;
mod gallery;
mod guard;
mod headers;
mod labels;
mod listen;
pub mod metrics;
mod page;
mod port_in_use;
mod predict;
mod refusal;
mod samples;
mod status;

use crate::serve::predictor::Predictor;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use refusal::Refused;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_observe::status::JobStatus;
use sluicebox_stream::auth::{Access, Refusals};
use sluicebox_stream::ingest::Ingest;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

/// Limits of the server's memory and waiting times.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Most bytes of all bodies that are being read or processed.
    pub bodies_bytes: usize,
    /// Timeout for a client's headers, and for the TLS handshake.
    pub header_wait: Duration,
    /// Timeout for a client's body.
    pub body_wait: Duration,
    /// Timeout for a client that does not read its answer.
    pub write_wait: Duration,
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
            body_wait: Duration::from_secs(60),
            write_wait: Duration::from_secs(30),
            connections: 256,
            requests: 64,
            streams: 32,
        }
    }
}

/// Time that requests in progress get when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Everything that the server serves.
pub struct Served {
    /// Job status and controls.
    pub board: Arc<JobStatus>,
    /// Format of the job's samples.
    pub format: Format,
    /// Ingest gate for samples and labels; none where there is no place to keep them.
    pub ingest: Option<Arc<Ingest>>,
    /// Answers predictions with the teacher.
    pub predictor: Option<Predictor>,
    /// Token and TLS of the listener.
    pub access: Arc<Access>,
    /// Counts of refused requests.
    pub refusals: Refusals,
}

/// State shared by all routes.
struct Shared {
    served: Served,
    limits: Limits,
    /// One permit per request.
    requests: Semaphore,
    /// One permit per KiB of bodies.
    bodies: Arc<Semaphore>,
    /// One permit per event stream.
    streams: Arc<Semaphore>,
    /// Closes when the server ends.
    open: watch::Receiver<()>,
}

impl std::ops::Deref for Shared {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

/// A running server. Stops when it is dropped.
pub struct Server {
    /// Address at which it listens.
    pub address: SocketAddr,
    runtime: Handle,
    stop: Option<(oneshot::Sender<()>, watch::Sender<()>)>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes no further request, and waits briefly for those in progress. Must not be called from
    /// within the runtime.
    pub fn stop(mut self) {
        self.stop.take();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task); // the hook has already printed its panic
        }
    }
}

/// Starts a server at `address`, such as `127.0.0.1:7878`.
pub fn start(runtime: &Handle, address: &str, served: Served) -> Result<Server> {
    start_within(Limits::default(), runtime, address, served)
}

/// Starts a server with other limits than the default.
pub fn start_within(limits: Limits, runtime: &Handle, address: &str, served: Served) -> Result<Server> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::Request(format!("server.listen = \"{address}\": cannot listen there: {error}"))
    };
    let found = address.to_socket_addrs().map_err(|error| cannot(&error))?.next();
    let found = found.ok_or_else(|| cannot(&"no such address"))?;
    served.access.may_listen(found)?;
    let acceptor = served.access.acceptor()?;
    let listener = std::net::TcpListener::bind(found).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => cannot(&port_in_use::by(found)),
        _ => cannot(&error),
    })?;
    let bound = listener.local_addr().map_err(|error| cannot(&error))?;
    listener.set_nonblocking(true).map_err(|error| cannot(&error))?;
    let within = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| cannot(&error))?;
    drop(within);
    let (closing, open) = watch::channel(());
    let shared = Arc::new(Shared {
        served,
        requests: Semaphore::new(limits.requests),
        bodies: Arc::new(Semaphore::new(limits.bodies_bytes >> 10)),
        streams: Arc::new(Semaphore::new(limits.streams)),
        limits,
        open,
    });
    let (stop, stopped) = oneshot::channel();
    let routes = routes(shared.clone());
    let task = runtime.spawn(listen::serve(listener, acceptor, routes, shared, stopped));
    let stop = Some((stop, closing));
    Ok(Server { address: bound, runtime: runtime.clone(), stop, task: Some(task) })
}

fn routes(shared: Arc<Shared>) -> Router {
    page::routes()
        .route("/samples", post(samples::take))
        .route("/labels", post(labels::take))
        .route("/predict", post(predict::answer))
        .route("/healthz", get(health))
        .route("/about.json", get(status::about))
        .route("/meters.json", get(status::meters))
        .route("/report.json", get(status::report))
        .route("/history.json", get(status::history))
        .route("/lines.json", get(status::lines))
        .route("/progress.json", get(status::progress))
        .route("/wall.json", get(gallery::wall))
        .route("/metrics", get(metrics::answer))
        .route("/events", get(events::events))
        .route("/control/{what}", post(control::control))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .layer(middleware::map_response(headers::add))
        .layer(DefaultBodyLimit::disable()) // the guard limits bodies
        .with_state(shared)
}

const ROUTES: &str = "GET / (the page), POST /samples, POST /labels, POST /predict, GET /healthz, \
GET /about.json, /meters.json, /report.json, /history.json, /lines.json, /progress.json, /wall.json, \
GET /metrics, /events, POST /control/pause, /control/resume, /control/checkpoint, /control/stop";

async fn nowhere() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("there is nothing here; there is: {ROUTES}"))
}

async fn other_method() -> Refused {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, format!("not by this method; there is: {ROUTES}"))
}

/// `GET /healthz`: identity of the job, and fill of the write-ahead log. `step` is the teacher's
/// step, null before the first.
async fn health(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    let fill = shared.ingest.as_ref().map(|ingest| ingest.log().fill());
    let about = &shared.board.about;
    Json(serde_json::json!({
        "status": "ok",
        "job": about.job,
        "pid": about.pid,
        "state": about.state,
        "step": shared.predictor.as_ref().and_then(Predictor::step),
        "log_bytes": fill.as_ref().map(|fill| fill.bytes),
        "log_max_bytes": fill.as_ref().map(|fill| fill.max_bytes),
        "refused": shared.refusals.read(),
    }))
}

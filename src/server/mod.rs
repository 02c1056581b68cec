//! HTTP: samples and labels in, predictions out. Starts and stops; one file a route, and
//! beside them `listen` (connections), `guard` (who may come in, and what is read of a body)
//! and `answer` (what a refusal looks like).

mod answer;
mod body;
mod guard;
mod labels;
mod listen;
pub mod metrics;
mod predict;
mod samples;

use crate::access::Access;
use crate::error::{Error, Result};
use crate::intake::Intake;
use crate::predictor::Predictor;
use crate::source::Live;
use answer::Refused;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// What bounds the server's memory and patience.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of a body.
    pub body_bytes: usize,
    /// Most bytes of all bodies that are being read or worked on.
    pub bodies_bytes: usize,
    /// How long a client may take to send its headers, or to shake hands.
    pub header_wait: Duration,
    /// How long it may take to send its body.
    pub body_wait: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Requests at once.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            bodies_bytes: 256 << 20,
            header_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(60),
            connections: 256,
            requests: 64,
        }
    }
}

/// How long requests under way may take when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What every route can reach.
struct Shared {
    intake: Arc<Intake>,
    access: Arc<Access>,
    predictor: Option<Predictor>,
    limits: Limits,
    /// One permit a request.
    requests: Semaphore,
    /// One permit a KiB of bodies.
    bodies: Arc<Semaphore>,
}

/// A running server. Stops when it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes no further request, and waits a moment for those under way. Not to be called from
    /// within the runtime.
    pub fn stop(mut self) {
        self.stop.take();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task); // its panic has been told by the hook
        }
    }
}

/// Listens at `address`, such as `127.0.0.1:7878`.
pub fn start(live: &Live, address: &str, predictor: Option<Predictor>) -> Result<Server> {
    start_within(Limits::default(), live, address, predictor)
}

/// The same with other limits.
pub fn start_within(
    limits: Limits,
    live: &Live,
    address: &str,
    predictor: Option<Predictor>,
) -> Result<Server> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::Request(format!("server.listen = \"{address}\": cannot listen there: {error}"))
    };
    let found = address.to_socket_addrs().map_err(|error| cannot(&error))?.next();
    let found = found.ok_or_else(|| cannot(&"no such address"))?;
    live.access.may_listen(found)?;
    let acceptor = live.access.acceptor()?;
    let listener = std::net::TcpListener::bind(found).map_err(|error| cannot(&error))?;
    let bound = listener.local_addr().map_err(|error| cannot(&error))?;
    listener.set_nonblocking(true).map_err(|error| cannot(&error))?;
    let within = live.runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| cannot(&error))?;
    drop(within);
    let shared = Arc::new(Shared {
        intake: live.intake.clone(),
        access: live.access.clone(),
        predictor,
        requests: Semaphore::new(limits.requests),
        bodies: Arc::new(Semaphore::new(limits.bodies_bytes >> 10)),
        limits,
    });
    let (stop, stopped) = oneshot::channel();
    let routes = routes(shared.clone());
    let task = live.runtime.spawn(listen::serve(listener, acceptor, routes, shared, stopped));
    Ok(Server { address: bound, runtime: live.runtime.clone(), stop: Some(stop), task: Some(task) })
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/samples", post(samples::take))
        .route("/labels", post(labels::take))
        .route("/predict", post(predict::answer))
        .route("/healthz", get(health))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .layer(DefaultBodyLimit::disable()) // the guard has its own
        .with_state(shared)
}

const ROUTES: &str = "POST /samples, POST /labels, POST /predict, GET /healthz";

async fn nowhere() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("there is nothing here; there is: {ROUTES}"))
}

async fn other_method() -> Refused {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, format!("not by this method; there is: {ROUTES}"))
}

/// `GET /healthz`: that the server runs, and how full the log is. `step` is the teacher's, none
/// before the first.
async fn health(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    let fill = shared.intake.log().fill();
    Json(serde_json::json!({
        "status": "ok",
        "step": shared.predictor.as_ref().and_then(Predictor::step),
        "log_bytes": fill.bytes,
        "log_max_bytes": fill.max_bytes,
        "refused": shared.intake.refused(),
    }))
}

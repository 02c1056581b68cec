//! The server's routes.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use crate::serve::http::{control, events, gallery, guard, headers, labels, live};
use crate::serve::http::{metrics, page, predict, samples, status};
use crate::serve::predictor::Predictor;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use std::sync::Arc;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

/// Returns the routes, packed for those who take gzip, behind the checks of `guard` and with the headers of `headers`.
pub fn routes(shared: Arc<Shared>) -> Router {
    let routes = match shared.status.about.ended_ms {
        Some(_) => looking().fallback(ended).method_not_allowed_fallback(ended),
        None => looking().merge(asking()).fallback(nowhere).method_not_allowed_fallback(other_method),
    };
    // Fast rather than small: the job computes on the same cores. Streams of events are not packed.
    let packed = CompressionLayer::new().quality(CompressionLevel::Fastest);
    routes
        .layer(packed)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit))
        .layer(middleware::map_response(headers::add))
        .layer(DefaultBodyLimit::disable()) // the guard limits bodies
        .with_state(shared)
}

/// Returns the routes that ask something of the job.
fn asking() -> Router<Arc<Shared>> {
    Router::new()
        .route("/samples", post(samples::take))
        .route("/labels", post(labels::take))
        .route("/predict", post(predict::answer))
        .route("/form.json", get(status::form))
        .route("/control/{what}", post(control::control))
}

/// Returns the routes that show the job.
fn looking() -> Router<Arc<Shared>> {
    page::routes()
        .route("/healthz", get(health))
        .route("/about.json", get(status::about))
        .route("/runs.json", get(status::runs))
        .route("/meters.json", get(status::meters))
        .route("/report.json", get(status::report))
        .route("/history.json", get(status::history))
        .route("/lines.json", get(status::lines))
        .route("/live.json", get(live::live))
        .route("/marks.json", get(status::marks))
        .route("/verdicts.json", get(status::verdicts))
        .route("/progress.json", get(status::progress))
        .route("/wall.json", get(gallery::thumbnails))
        .route("/metrics", get(metrics::answer))
        .route("/events", get(events::events))
}

const ROUTES: &str = "GET / (the page), POST /samples, POST /labels, POST /predict, GET /healthz, \
GET /about.json, /runs.json, /form.json, /meters.json, /report.json, /history.json, /lines.json, /live.json, /marks.json, /verdicts.json, /progress.json, /wall.json, \
GET /metrics, /events, POST /control/pause, /control/resume, /control/checkpoint, /control/stop";

async fn nowhere() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("no such path; the server has: {ROUTES}"))
}

async fn ended() -> Refused {
    let reason =
        "this job does not run: its state folder is only shown here; start it again to feed or control it";
    Refused::new(StatusCode::NOT_FOUND, reason)
}

async fn other_method() -> Refused {
    Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path does not support this method; the server has: {ROUTES}"),
    )
}

/// `GET /healthz`: whether the job works, its identity, and fill of the write-ahead log. `step` is the
/// teacher's step, null before the first. `status` is `ok`; `troubled`, where something holds the job back
/// or cannot be written at present, with the reasons; or `failed`, while the job ends, with code 503.
async fn health(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<serde_json::Value>) {
    let log = shared.ingest.as_ref().map(|ingest| ingest.log());
    let fill = log.map(|log| log.fill());
    let about = &shared.status.about;
    let health = &shared.status.controls.health;
    let failed = health.failure().map(String::from);
    let failed = failed.or_else(|| Some(log?.check().err()?.to_string()));
    let mut troubles = health.troubles();
    if let Some(shortage) = log.and_then(|log| log.shortage()) {
        troubles.insert("disk", shortage.to_string());
    }
    let (code, status) = match (&failed, troubles.is_empty()) {
        (Some(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        (None, false) => (StatusCode::OK, "troubled"),
        (None, true) => (StatusCode::OK, "ok"),
    };
    let answer = Json(serde_json::json!({
        "status": status,
        "reason": failed,
        "troubles": troubles,
        "job": about.job,
        "pid": about.pid,
        "state": about.state,
        "step": shared.predictor.as_ref().and_then(Predictor::step),
        "log_bytes": fill.as_ref().map(|fill| fill.bytes),
        "log_max_bytes": fill.as_ref().map(|fill| fill.max_bytes),
        "refused": shared.refusals.read(),
    }));
    (code, answer)
}

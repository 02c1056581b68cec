//! `GET /live.json`: what comes in between two reports.

use crate::serve::http::shared::Shared;
use crate::serve::predictor::Predictor;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

/// Counts since this process began: samples and labels received, steps trained, bytes of the log, and what was refused,
/// by reason. Null where nothing comes from outside.
pub async fn live(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let ingest = shared.ingest.as_ref();
    let fill = ingest.map(|ingest| ingest.log().fill());
    Json(json!({
        "received": ingest.map(|ingest| ingest.arrived()),
        "labels": ingest.map(|ingest| ingest.labels()),
        "trained_steps": shared.predictor.as_ref().and_then(Predictor::step),
        "log_bytes": fill.as_ref().map(|fill| fill.bytes),
        "log_max_bytes": fill.as_ref().map(|fill| fill.max_bytes),
        "refused": shared.refusals.read(),
    }))
}

//! `POST /control/…`: requests to the job. The source stage checks them when it cuts a step.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sluicebox_core::report::Progress;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Passes the request on and answers with the job's progress.
pub async fn control(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
) -> Result<Json<Progress>, Refused> {
    let status = &shared.status;
    match what.as_str() {
        "pause" => pause(&shared, true).await?,
        "resume" => pause(&shared, false).await?,
        "stop" => status.controls.stop.store(true, Ordering::Relaxed),
        "checkpoint" if status.about.state.is_none() => {
            let reason = "this job writes no checkpoints: it runs without a state folder (--state DIR)";
            return Err(Refused::new(StatusCode::CONFLICT, reason));
        }
        "checkpoint" => status.controls.ask_for_checkpoint(),
        _ => {
            let reason = "unknown command; the commands are pause, resume, checkpoint and stop";
            return Err(Refused::new(StatusCode::NOT_FOUND, reason));
        }
    }
    Ok(Json(status.progress()))
}

/// Pauses the job or lets it go on, on a thread that may wait for the disk.
async fn pause(shared: &Arc<Shared>, wanted: bool) -> Result<(), Refused> {
    let status = shared.status.clone();
    let kept = tokio::task::spawn_blocking(move || status.controls.pause(wanted)).await;
    let failed = |error: &dyn std::fmt::Display| {
        let reason =
            format!("nothing has changed, because it could not be kept in the state folder: {error}");
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
    };
    kept.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

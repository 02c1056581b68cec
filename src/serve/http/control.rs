//! `POST /control/…`: requests to the job. The source stage checks them when it cuts a step.

use crate::serve::http::Shared;
use crate::serve::http::refusal::Refused;
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
    let board = &shared.board;
    match what.as_str() {
        "pause" => board.controls.pause.store(true, Ordering::Relaxed),
        "resume" => board.controls.pause.store(false, Ordering::Relaxed),
        "stop" => board.controls.stop.store(true, Ordering::Relaxed),
        "checkpoint" if board.about.state.is_none() => {
            let reason = "this job writes no checkpoints: it has no folder for them (--state DIR)";
            return Err(Refused::new(StatusCode::CONFLICT, reason));
        }
        "checkpoint" => board.controls.ask_for_checkpoint(),
        _ => {
            let reason = "a job can be asked to pause, resume, checkpoint and stop";
            return Err(Refused::new(StatusCode::NOT_FOUND, reason));
        }
    }
    Ok(Json(board.progress()))
}

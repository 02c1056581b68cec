//! The job's status as JSON: description, meters, reports, history and log.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use crate::serve::other_run::OtherRun;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sluicebox_core::error::Result;
use sluicebox_core::report::{About, JobMeters, Line, Mark, MarkKind, Meters, Progress, Report, SETS};
use sluicebox_core::sample::Shape;
use sluicebox_core::system::now_ms;
use sluicebox_observe::history::{History, Point};
use sluicebox_observe::verdict::{Verdict, of_history};
use std::sync::Arc;

/// Default number of history points.
const POINTS: usize = 500;
/// Most history points per request.
const MOST_POINTS: usize = 2000;
/// Most lines of the log.
const LINES: usize = 256;
/// Most marks of each kind.
const MARKS: usize = 500;

/// `GET /about.json`.
pub async fn about(State(shared): State<Arc<Shared>>) -> Json<About> {
    Json(shared.status.about.clone())
}

/// `GET /form.json`: how a sample looks, with the keys of its features if they have names, and the categories of those
/// that have some, or the number of values that they are hashed into.
pub async fn form(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let (format, keys) = (&shared.format, &shared.form.keys);
    let categories = keys.features.iter().zip(&keys.encodings);
    let categories =
        categories.filter_map(|(name, encoding)| Some((name.clone(), json!(encoding.categories()?))));
    let images = matches!(format.shape, Shape::Image { channels: 1 | 3, .. });
    Json(json!({
        "shape": &format.shape.batch(1)[1..],
        "dtype": format.dtype.name(),
        "scale": format.scale,
        "classes": format.classes,
        "features": keys.features,
        "categorical": categories.collect::<Map<String, Value>>(),
        "may_miss": keys.may_miss,
        "class_key": keys.class,
        "id_key": keys.id,
        "images": images,
        "resize": shared.form.options.resize,
    }))
}

/// `GET /meters.json`: the meters of each section of a report.
pub async fn meters() -> Json<Value> {
    Json(SETS.iter().map(|set| (set.key.to_string(), json!(set.meters))).collect())
}

/// `GET /runs.json`: the runs that can be laid over the charts, in the order of their numbers from 1.
pub async fn runs(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let run = |run: &OtherRun| json!({ "name": run.name, "job": run.about.job, "method": run.about.method });
    Json(shared.others.iter().map(run).collect())
}

/// `GET /progress.json`.
pub async fn progress(State(shared): State<Arc<Shared>>) -> Json<Progress> {
    Json(shared.status.progress())
}

/// Query parameters of `/report.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    epoch: Option<u64>,
}

/// `GET /report.json`: the newest report, or that of `?epoch=N`; null where there is none.
pub async fn report(
    State(shared): State<Arc<Shared>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Option<Report>>, Refused> {
    let Query(Which { epoch }) = which.map_err(|error| Refused::bad(error.body_text()))?;
    let newest = shared.status.reports().borrow().clone();
    match epoch {
        Some(epoch) if newest.as_ref().is_none_or(|newest| newest.epoch != epoch) => {
            asked(&shared, move |history| history.report(epoch)).await.map(Json)
        }
        _ => Ok(Json(newest.map(|newest| (*newest).clone()))),
    }
}

/// `GET /verdicts.json`: the verdicts on the newest epoch, or on `?epoch=N`; none where there is no report of it.
pub async fn verdicts(
    State(shared): State<Arc<Shared>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<Verdict>>, Refused> {
    let Query(Which { epoch }) = which.map_err(|error| Refused::bad(error.body_text()))?;
    let newest = shared.status.reports().borrow().clone();
    // Ages do not grow once the job is over.
    let now = match (&newest, shared.status.progress().over) {
        (Some(newest), true) => newest.ended_ms,
        _ => now_ms(),
    };
    asked(&shared, move |history| {
        let report = match epoch {
            Some(epoch) if newest.as_ref().is_none_or(|newest| newest.epoch != epoch) => {
                history.report(epoch)?
            }
            _ => newest.map(|newest| (*newest).clone()),
        };
        report.map_or_else(|| Ok(Vec::new()), |report| of_history(history, &report, now))
    })
    .await
    .map(Json)
}

/// Query parameters of `/marks.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marked {
    from: Option<u64>,
    to: Option<u64>,
    /// Names of the kinds to return, separated by commas; all where it is missing.
    kinds: Option<String>,
}

/// `GET /marks.json`: what happened to the job from epoch `from` to epoch `to`, the oldest first; the newest 500 of
/// each kind.
pub async fn marks(
    State(shared): State<Arc<Shared>>,
    marked: Result<Query<Marked>, QueryRejection>,
) -> Result<Json<Vec<Mark>>, Refused> {
    let Query(Marked { from, to, kinds }) = marked.map_err(|error| Refused::bad(error.body_text()))?;
    let epochs = from.unwrap_or(0)..=to.unwrap_or(u64::MAX);
    let named = |name: &str| {
        let known = MarkKind::EVERY.map(MarkKind::name).join(", ");
        MarkKind::named(name)
            .ok_or_else(|| Refused::bad(format!("kinds: unknown kind `{name}`; the kinds are {known}")))
    };
    let kinds = kinds.map(|kinds| kinds.split(',').map(named).collect::<Result<Vec<_>, _>>()).transpose()?;
    let mut found = asked(&shared, move |history| history.marks(epochs, MARKS)).await?;
    found.retain(|mark| kinds.as_ref().is_none_or(|kinds| kinds.contains(&mark.kind)));
    Ok(Json(found))
}

/// Query parameters of `/history.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    from: Option<u64>,
    to: Option<u64>,
    points: Option<usize>,
    run: Option<usize>,
    /// Names of the meters to return, separated by commas; all where it is missing.
    meters: Option<String>,
}

/// `GET /history.json`: at most `points` points from epoch `from` to epoch `to`.
pub async fn history(
    State(shared): State<Arc<Shared>>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(part) = part.map_err(|error| Refused::bad(error.body_text()))?;
    let points = part.points.unwrap_or(POINTS);
    if !(1..=MOST_POINTS).contains(&points) {
        return Err(Refused::bad(format!("points={points} is not from 1 to {MOST_POINTS}")));
    }
    if let (Some(from), Some(to)) = (part.from, part.to)
        && from > to
    {
        return Err(Refused::bad(format!("from={from} is after to={to}")));
    }
    let wanted: Option<Vec<String>> = part.meters.map(|names| names.split(',').map(String::from).collect());
    let unknown = |name: &&String| JobMeters::meter(name).is_none();
    if let Some(name) = wanted.iter().flatten().find(unknown) {
        return Err(Refused::bad(format!(
            "meters: unknown meter `{name}`; /meters.json lists the meters under `job`"
        )));
    }
    if let Some(run) = part.run.filter(|run| !(1..=shared.others.len()).contains(run)) {
        return Err(Refused::bad(format!(
            "run={run}: there is no such run; /runs.json lists them from 1 on"
        )));
    }
    asked_of(&shared, part.run, move |history| {
        let found = match history.span()? {
            Some((first, last)) => {
                let (from, to) = (part.from.unwrap_or(first), part.to.unwrap_or(last));
                if from > to { Vec::new() } else { history.series(from..=to, points)? }
            }
            None => Vec::new(),
        };
        let points: Vec<Value> = found.iter().map(|point| point_json(point, wanted.as_deref())).collect();
        Ok(Json(points).into_response()) // much text: not on the thread that serves everybody
    })
    .await
}

/// Returns a point with the requested meters that have a value.
fn point_json(point: &Point, wanted: Option<&[String]>) -> Value {
    let numbers = |meters: &JobMeters| -> Value {
        let named = JobMeters::METERS.iter().zip(meters.values());
        let wanted = |name: &str| wanted.is_none_or(|wanted| wanted.iter().any(|one| one == name));
        let known = named.filter(|(meter, value)| value.is_some() && wanted(meter.name));
        Value::Object(known.map(|(meter, value)| (meter.name.to_string(), value.into())).collect())
    };
    json!({
        "first_epoch": point.first_epoch,
        "last_epoch": point.last_epoch,
        "ended_ms": point.ended_ms,
        "mean": numbers(&point.mean),
        "low": numbers(&point.low),
        "high": numbers(&point.high),
    })
}

/// `GET /lines.json`: the newest lines of the log, oldest first.
pub async fn lines(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<Line>>, Refused> {
    let newest: Vec<Line> =
        shared.status.lines().borrow().iter().rev().map(|line| (**line).clone()).collect();
    // Lines of earlier runs of the job.
    let mut lines = asked(&shared, |history| history.lines(LINES)).await?;
    let began = newest.first().map_or(u64::MAX, |line| line.at_ms);
    lines.retain(|line| line.at_ms < began);
    lines.extend(newest);
    lines.drain(..lines.len().saturating_sub(LINES));
    Ok(Json(lines))
}

/// Queries the history on a blocking thread, so that other requests do not wait.
async fn asked<T: Send + 'static>(
    shared: &Arc<Shared>,
    what: impl FnOnce(&History) -> Result<T> + Send + 'static,
) -> Result<T, Refused> {
    asked_of(shared, None, what).await
}

/// Queries the history of another run, by its number from 1, or the job's own.
async fn asked_of<T: Send + 'static>(
    shared: &Arc<Shared>,
    run: Option<usize>,
    what: impl FnOnce(&History) -> Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let shared = shared.clone();
    let found = tokio::task::spawn_blocking(move || {
        match run.and_then(|run| shared.others.get(run.checked_sub(1)?)) {
            Some(other) => what(&other.history.lock()),
            None => what(&shared.status.history()),
        }
    });
    let found = found.await;
    let failed = |error: &dyn std::fmt::Display| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the history could not be read: {error}"))
    };
    found.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

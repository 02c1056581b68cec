//! `POST /samples`: samples for the job's http source. Answers once they are durable; takes all of
//! a request, or nothing.

use crate::serve::http::blocking::blocking;
use crate::serve::http::body;
use crate::serve::http::body::Body;
use crate::serve::http::images::Said;
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::{MOST_PER_REQUEST, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sluicebox_core::sample_id::SampleId;
use std::sync::Arc;

/// Up to this many samples, ids are returned without being requested.
const IDS_TOLD: usize = 1000;

/// Query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `1`: return the id of every sample, however many.
    #[serde(default)]
    ids: u8,
    /// Label of the one image in the body.
    label: Option<String>,
    /// Its id.
    id: Option<String>,
}

/// The answer.
#[derive(Serialize)]
struct Reply {
    accepted: usize,
    repeated: usize,
    first_id: Option<SampleId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<SampleId>>,
}

/// Takes samples, and the labels that came with them.
pub async fn take(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let Query(wanted) = wanted.map_err(|error| Refused::bad(error.body_text()))?;
    let fed = shared.ingest.as_ref().and_then(|ingest| Some((ingest, *ingest.http.get()?)));
    let Some((ingest, stream)) = fed else {
        let reason =
            "this job takes no samples over HTTP: it has no source of that kind (source.kind = \"http\")";
        return Err(Refused::new(StatusCode::NOT_FOUND, reason));
    };
    let said = Said { label: wanted.label, id: wanted.id };
    let Body { block, count, room: _held } =
        body::read(&shared, &headers, body, said, MOST_PER_REQUEST).await?;
    let mut names = block.names.clone().into_iter().peekable();
    let taken = ingest.take_now(stream, block).await?;
    let mut id = |(at, key): (usize, u64)| SampleId {
        key,
        name: names.next_if(|one| one.at as usize == at).map(|one| one.name),
    };
    let ids: Vec<SampleId> = taken.ids.into_iter().enumerate().map(&mut id).collect();
    let told = count <= IDS_TOLD || wanted.ids != 0;
    let reply = Reply {
        accepted: count - taken.repeated,
        repeated: taken.repeated,
        first_id: ids.first().cloned(),
        ids: told.then_some(ids),
    };
    blocking(move || Json(reply).into_response()).await
}

//! `POST /labels`: labels for samples. All of a request is taken, or nothing.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use sluicebox_core::sample::Label;
use sluicebox_stream::decode;
use sluicebox_stream::ingest::Ingest;
use sluicebox_stream::ingest::LabelMessage;
use std::sync::Arc;

/// Takes labels and answers once they are durable.
pub async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refused> {
    let Some(ingest) = &shared.ingest else {
        let reason = "this job takes no labels: it needs a state folder (--state DIR) and, unless a \
                      source receives its samples from clients, server.labels = true";
        return Err(Refused::new(StatusCode::CONFLICT, reason));
    };
    let labels = read(ingest, &body).inspect_err(|_| shared.refusals.count("bad-label"))?;
    let accepted = ingest.label(&labels).await?;
    Ok(Json(serde_json::json!({ "accepted": accepted })))
}

/// Returns the labels in a body: JSON objects one after the other, or one array of them.
fn read(ingest: &Ingest, body: &[u8]) -> Result<Vec<Label>, Refused> {
    let no_label = |error: serde_json::Error| {
        let wanted = "a label is {\"id\": 7, \"class\": \"cat\"}; the class null withdraws it";
        Refused::bad(format!("{wanted}: {error}")).at_line(error.line())
    };
    let mut labels = Vec::new();
    if body.trim_ascii_start().starts_with(b"[") {
        let array: Vec<LabelMessage> = serde_json::from_slice(body).map_err(no_label)?;
        for (at, said) in array.into_iter().enumerate() {
            let label = label(ingest, said);
            labels.push(label.map_err(|error| Refused::bad(format!("label {}: {error}", at + 1)))?);
        }
    } else {
        let mut rest = serde_json::Deserializer::from_slice(body).into_iter::<LabelMessage>();
        while let Some(said) = rest.next() {
            let label = label(ingest, said.map_err(no_label)?);
            labels.push(label.map_err(|error| Refused::bad(error).at_line(line(body, rest.byte_offset())))?);
        }
    }
    match labels.is_empty() {
        true => Err(Refused::bad("there is no label in the body")),
        false => Ok(labels),
    }
}

fn label(ingest: &Ingest, said: LabelMessage) -> Result<Label, String> {
    let class = |name: &str| decode::class(&ingest.format().classes, name).map(|class| class as u32);
    let class = match &said.class {
        Value::Null => None,
        Value::String(name) => Some(class(name)?),
        Value::Number(number) => Some(class(&number.to_string())?),
        other => return Err(format!("a class is a name, a number or null, not {other}")),
    };
    Ok(Label { id: said.id, class })
}

/// Returns the line of a byte offset, from 1.
fn line(body: &[u8], byte: usize) -> usize {
    1 + body[..byte.min(body.len())].iter().filter(|byte| **byte == b'\n').count()
}

//! `POST /labels`: labels for samples. All of a request is taken, or nothing. The body is parsed as a stream that
//! ends at the first bad label.

use crate::serve::http::blocking::blocking;
use crate::serve::http::packed::{Unpacked, unpacked};
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::{MOST_PER_REQUEST, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::Value;
use sluicebox_core::sample::Label;
use sluicebox_stream::decode;
use sluicebox_stream::decode::lines::without_byte_order_mark;
use sluicebox_stream::ingest::LabelMessage;
use std::sync::Arc;

/// Takes labels and answers once they are durable.
pub async fn take(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let Some(ingest) = &shared.ingest else {
        let reason = "this job takes no labels: it needs a state folder (--state DIR) and, unless a \
                      source receives its samples from clients, server.labels = true";
        return Err(Refused::new(StatusCode::CONFLICT, reason));
    };
    let Unpacked { body, room } = unpacked(&shared, &headers, body).await?;
    let format = shared.format.clone();
    let labels = blocking(move || read(&format.classes, &body)).await?;
    drop(room);
    let labels = labels.inspect_err(|_| shared.refusals.count("bad-label"))?;
    let accepted = ingest.label(&labels).await?;
    Ok(Json(serde_json::json!({ "accepted": accepted })))
}

/// Returns the labels in a body: JSON objects one after the other, or one array of them.
fn read(classes: &[String], body: &[u8]) -> Result<Vec<Label>, Refused> {
    let (mut labels, body) = (Vec::new(), without_byte_order_mark(body));
    if body.trim_ascii_start().starts_with(b"[") {
        let mut json = serde_json::Deserializer::from_slice(body);
        let list = List { classes, labels: &mut labels };
        let read = json.deserialize_seq(list).and_then(|()| json.end());
        read.map_err(|error| match error.is_data() {
            true => Refused::bad(format!("label {}: {error}", labels.len() + 1)).at_line(error.line()),
            false => no_label(&error),
        })?;
    } else {
        let mut rest = serde_json::Deserializer::from_slice(body).into_iter::<LabelMessage>();
        while let Some(said) = rest.next() {
            let added = add(classes, &mut labels, &said.map_err(|error| no_label(&error))?);
            added.map_err(|error| Refused::bad(error).at_line(line(body, rest.byte_offset())))?;
        }
    }
    match labels.len() {
        0 => Err(Refused::bad("there is no label in the body")),
        _ => Ok(labels),
    }
}

fn no_label(error: &serde_json::Error) -> Refused {
    let wanted = "a label is {\"id\": 7, \"class\": \"cat\"}; the class null withdraws it";
    Refused::bad(format!("{wanted}: {error}")).at_line(error.line())
}

/// Adds a label, unless there are too many.
fn add(classes: &[String], labels: &mut Vec<Label>, said: &LabelMessage) -> Result<(), String> {
    if labels.len() == MOST_PER_REQUEST {
        return Err(format!("too many labels for one request: send at most {MOST_PER_REQUEST}"));
    }
    let class = said.class.as_ref().map(|name| decode::class(classes, name)).transpose()?;
    labels.push(Label { id: said.id.key, class: class.map(|class| class as u32) });
    Ok(())
}

/// Visitor of an array of labels.
struct List<'a> {
    classes: &'a [String],
    labels: &'a mut Vec<Label>,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of labels")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        while let Some(said) = parts.next_element::<LabelMessage>()? {
            add(self.classes, self.labels, &said).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Returns the line of a byte offset, from 1.
fn line(body: &[u8], byte: usize) -> usize {
    1 + body[..byte.min(body.len())].iter().filter(|byte| **byte == b'\n').count()
}

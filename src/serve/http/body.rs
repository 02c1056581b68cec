//! Samples in the body of a request: lines of JSON, one JSON document, raw bytes, NPY or images. Each is parsed as a
//! stream that ends at the first bad sample, so that beside the body only values and ids take memory.

use crate::serve::http::blocking::blocking;
use crate::serve::http::images::{self, Images, Said};
use crate::serve::http::packed::{Unpacked, unpacked};
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use sluicebox_core::sample::{Block, Format, SampleClass};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::decode;
use sluicebox_stream::decode::array::{Array, Number};
use sluicebox_stream::decode::lines::without_byte_order_mark;
use sluicebox_stream::decode::{DecodeError, Form, Record, Records, json};
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The samples of a request.
#[derive(Default)]
pub struct Body {
    /// Ids, values, and labels sent along with samples.
    pub block: Block,
    /// Number of samples.
    pub count: usize,
    /// Room of the body, if it had to be unpacked.
    pub room: Option<OwnedSemaphorePermit>,
}

/// Headers that describe a body.
struct About {
    /// The content type with what follows it, and without.
    content: String,
    kind: String,
    said: Said,
    ids: Option<String>,
    shape: Option<String>,
    dtype: Option<String>,
}

/// Reads the samples of a body, at most `most`; refuses all of them where one is wrong. `said` is of an image.
pub async fn read(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Bytes,
    said: Said,
    most: usize,
) -> Result<Body, Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(String::from);
    let Unpacked { body, room } = unpacked(shared, headers, body).await?;
    let content = text(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !said.is_nothing() && (kind == images::FORM || !images::are_in(&kind)) {
        let reason = "`label` and `id` in the address are those of one image: in JSON and in a form they go with each sample";
        return Err(Refused::bad(reason));
    }
    let turn = match images::are_in(&kind) {
        true => shared.images.clone().acquire_owned().await.ok(),
        false => None,
    };
    let (ids, shape, dtype) = (text("x-ids"), text("x-shape"), text("x-dtype"));
    let about = About { content, kind, said, ids, shape, dtype };
    let (format, form) = (shared.format.clone(), shared.form.clone());
    let parsed = blocking(move || {
        let parsed = parse(&format, &form, about, &body, most);
        drop(turn);
        parsed
    });
    let parsed = parsed.await?;
    let body = parsed.inspect_err(|_| shared.refusals.count("bad"))?;
    Ok(Body { room, ..body })
}

fn parse(format: &Format, form: &Form, about: About, body: &Bytes, most: usize) -> Result<Body, Refused> {
    let mut gathered =
        Gathered { format, form, body: Body::default(), without_id: None, most, too_many: false };
    let read = gathered.read(about, body);
    if gathered.too_many {
        let reason = format!("too many samples for one request: send at most {most}");
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    read?;
    match gathered.body.count {
        0 => Err(Refused::bad("there is no sample in the body")),
        _ => Ok(gathered.body),
    }
}

/// Samples collected while parsing.
struct Gathered<'f> {
    format: &'f Format,
    form: &'f Form,
    body: Body,
    /// Line of the first sample without an id.
    without_id: Option<usize>,
    most: usize,
    /// Whether there are more than `most`.
    too_many: bool,
}

impl Gathered<'_> {
    fn read(&mut self, about: About, body: &Bytes) -> Result<(), Refused> {
        let About { content, kind, said, ids, shape, dtype } = about;
        match kind.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => self.lines(body),
            "application/json" => self.document(body),
            kind if kind == "application/octet-stream" || kind.is_empty() && shape.is_some() => {
                self.raw(body, shape.as_deref(), dtype.as_deref())?;
                self.ids(ids.as_deref())
            }
            "application/x-npy" | "application/npy" => {
                self.npy(body.clone())?;
                self.ids(ids.as_deref())
            }
            images::FORM => {
                let mut images = Images::new(self.format, self.form);
                images.form(&content, body.clone(), |record| self.add(record, 0))
            }
            kind if images::are_in(kind) => {
                let record = Images::new(self.format, self.form).one(body, said);
                record.and_then(|record| self.add(record, 0)).map_err(Refused::bad)
            }
            other => {
                let sent = match other {
                    "" => "there is no content type".to_string(),
                    other => format!("the content type `{other}` is not supported"),
                };
                let reason = format!(
                    "{sent}: send application/x-ndjson, application/json, application/octet-stream (with X-Shape \
                     and X-Dtype), application/x-npy, image/png, image/jpeg, image/webp, image/gif, image/bmp, \
                     image/tiff, or several images as multipart/form-data"
                );
                Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
            }
        }
    }

    fn lines(&mut self, body: &[u8]) -> Result<(), Refused> {
        let body = without_byte_order_mark(body);
        for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let added = json::sample(line, self.format, &self.form.keys)
                    .and_then(|record| self.add(record, at + 1));
                added.map_err(|reason| Refused::bad(reason).at_line(at + 1))?;
            }
        }
        Ok(())
    }

    /// Adds one sample, an array of samples, or lines of samples that are called a document.
    fn document(&mut self, body: &[u8]) -> Result<(), Refused> {
        let text = without_byte_order_mark(body).trim_ascii();
        let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if json::sample(first_line.trim_ascii(), self.format, &self.form.keys).is_ok() {
            return self.lines(body);
        }
        let whole = json::sample(text, self.format, &self.form.keys);
        let inner = text.strip_prefix(b"[").unwrap_or_default().trim_ascii_start();
        if whole.is_ok() || !matches!(inner.first(), Some(b'{' | b'[')) {
            return whole.and_then(|record| self.add(record, 1)).map_err(Refused::bad);
        }
        let (format, form, mut number) = (self.format, self.form, 0);
        let add = |record| {
            number += 1;
            self.add(record, number)
        };
        json::samples(text, format, &form.keys, add)
            .map_err(|(number, reason)| Refused::bad(format!("sample {number}: {reason}")))
    }

    fn npy(&mut self, body: Bytes) -> Result<(), Refused> {
        let mut records = decode::npy(Cursor::new(body), self.format).map_err(refused)?;
        while let Some(record) = records.next_record().map_err(refused)? {
            self.add(record, 0).map_err(Refused::bad)?;
        }
        Ok(())
    }

    fn raw(&mut self, body: &[u8], shape: Option<&str>, dtype: Option<&str>) -> Result<(), Refused> {
        let dims: Option<Vec<usize>> =
            shape.and_then(|shape| shape.split(',').map(|size| size.trim().parse().ok()).collect());
        let Some(dims) = dims else {
            return Err(Refused::bad("raw bytes need their shape, count first, such as `X-Shape: 64,1,8,8`"));
        };
        let number = match dtype {
            Some("u8") => Number::Unsigned(1),
            Some("f32") => Number::Float(4),
            _ => return Err(Refused::bad("raw bytes need `X-Dtype: u8` or `X-Dtype: f32` (little-endian)")),
        };
        let sizes = dims.iter().try_fold(number.bytes(), |all, size| all.checked_mul(*size));
        if sizes != Some(body.len()) {
            let shape = shape.unwrap_or_default();
            return Err(Refused::bad(format!("{} bytes do not match the shape {shape}", body.len())));
        }
        let mut array = Array::new(body, number, false, dims).map_err(Refused::bad)?;
        array.check(self.format.shape).map_err(Refused::bad)?;
        let length = self.format.shape.len();
        while let Some(values) = array.read(self.format.dtype, length).map_err(refused)? {
            self.add(Record { id: None, values, class: None }, 0).map_err(Refused::bad)?;
        }
        Ok(())
    }

    /// Adds the ids of the header `X-Ids`, for bodies that hold none.
    fn ids(&mut self, ids: Option<&str>) -> Result<(), Refused> {
        let Some(ids) = ids else { return Ok(()) };
        for id in ids.split(',') {
            let id = SampleId::plain(id.trim()).and_then(decode::chosen);
            self.body.block.push_id(id.map_err(|reason| Refused::bad(format!("X-Ids: {reason}")))?);
        }
        if self.body.block.ids.len() != self.body.count {
            let (ids, count) = (self.body.block.ids.len(), self.body.count);
            return Err(Refused::bad(format!("X-Ids: {ids} ids for {count} samples")));
        }
        Ok(())
    }

    fn add(&mut self, record: Record, line: usize) -> Result<(), String> {
        if self.body.count == self.most {
            self.too_many = true;
            return Err("one sample too many".into());
        }
        match record.id {
            Some(id) => self.body.block.push_id(id),
            None => self.without_id = self.without_id.or(Some(line)),
        }
        if let (Some(_), false) = (self.without_id, self.body.block.ids.is_empty()) {
            return Err("either every sample of a request has an id, or none has".into());
        }
        if let Some(name) = &record.class {
            let class = decode::class(&self.format.classes, name)?;
            let (at, class) = (self.body.count as u32, class as u32);
            self.body.block.classes.push(SampleClass { at, class });
        }
        self.body.block.push(&record.values);
        self.body.count += 1;
        Ok(())
    }
}

fn refused(fault: DecodeError) -> Refused {
    match fault {
        DecodeError::Bad { line, reason, .. } => Refused::bad(format!("sample {line}: {reason}")),
        DecodeError::Broken(reason) => Refused::bad(reason),
    }
}

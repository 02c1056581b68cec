//! Images in the body of a request: one as it is, or several as the parts of a form. In a form the parts `label` and
//! `id` hold for the image that follows them.
//!
//! An image costs more than its bytes: one request at a time is decoded, and the images of a request have at most
//! [`MOST_PIXELS`] pixels.

use crate::serve::http::refusal::Refused;
use axum::body::Bytes;
use axum::http::StatusCode;
use multer::{Field, Multipart};
use sluicebox_core::config::document::unknown;
use sluicebox_core::sample::Format;
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::decode::{self, Form, Record};
use std::convert::Infallible;
use tokio::runtime::Handle;

/// Content types of images.
const KINDS: [&str; 7] =
    ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/x-ms-bmp", "image/tiff"];
/// Content type of a form.
pub const FORM: &str = "multipart/form-data";
/// Names of the parts of a form.
const PARTS: [&str; 3] = ["image", "label", "id"];
/// Most pixels of all images of a request.
const MOST_PIXELS: u64 = 1 << 28;
/// Longest text of a part, in bytes.
const LONGEST_TEXT: usize = 1 << 10;

/// What a request says of an image.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Its label.
    pub label: Option<String>,
    /// Its id.
    pub id: Option<String>,
}

impl Said {
    /// Returns whether nothing is said.
    pub fn is_nothing(&self) -> bool {
        self.label.is_none() && self.id.is_none()
    }
}

/// Returns whether a body of this content type holds images.
pub fn are_in(kind: &str) -> bool {
    kind == FORM || KINDS.contains(&kind)
}

/// Decodes images one after the other.
pub struct Images<'f> {
    format: &'f Format,
    form: &'f Form,
    pixels: u64,
}

impl<'f> Images<'f> {
    /// Creates a decoder of images into samples of `format`.
    pub fn new(format: &'f Format, form: &'f Form) -> Self {
        Self { format, form, pixels: 0 }
    }

    /// Decodes one image.
    pub fn one(&mut self, image: &[u8], said: Said) -> Result<Record, String> {
        self.pixels += decode::pixels_of(image)?;
        if self.pixels > MOST_PIXELS {
            return Err(format!("the images have more than {MOST_PIXELS} pixels: send fewer at once"));
        }
        let values = decode::image(image, self.format, &self.form.options)?;
        let id = said.id.as_deref().map(|id| SampleId::plain(id.trim()).and_then(decode::chosen));
        let class = said.label.map(|name| decode::class(&self.format.classes, &name).map(|_| name));
        Ok(Record { id: id.transpose()?, values, class: class.transpose()? })
    }

    /// Decodes the images of a form with this content type, and hands on one after the other. Must not be called from
    /// within a task.
    pub fn form(
        &mut self,
        content_type: &str,
        body: Bytes,
        mut take: impl FnMut(Record) -> Result<(), String>,
    ) -> Result<(), Refused> {
        let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
        let mut parts = Multipart::new(tokio_stream::once(Ok::<_, Infallible>(body)), boundary);
        let (mut said, mut number) = (Said::default(), 0);
        let runtime = Handle::current();
        while let Some(part) = runtime.block_on(parts.next_field()).map_err(unreadable)? {
            let name = part.name().unwrap_or_default().to_string();
            match name.as_str() {
                "image" => {
                    number += 1;
                    let image = runtime.block_on(part.bytes()).map_err(unreadable)?;
                    let record = self.one(&image, std::mem::take(&mut said));
                    record
                        .and_then(&mut take)
                        .map_err(|reason| Refused::bad(format!("image {number}: {reason}")))?;
                }
                "label" => said.label = Some(runtime.block_on(text(part))?),
                "id" => said.id = Some(runtime.block_on(text(part))?),
                other => return Err(Refused::bad(unknown("part of the form", other, &PARTS))),
            }
        }
        match said.is_nothing() {
            true => Ok(()),
            false => {
                Err(Refused::bad("a part `label` or `id` comes before its image, but no image follows it"))
            }
        }
    }
}

async fn text(mut part: Field<'_>) -> Result<String, Refused> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(unreadable)? {
        text.extend_from_slice(&piece);
        if text.len() > LONGEST_TEXT {
            let reason = format!("a label or an id of more than {LONGEST_TEXT} bytes in the form");
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
    }
    String::from_utf8(text).map_err(|_| Refused::bad("a label or an id in the form is not UTF-8"))
}

fn unreadable(error: multer::Error) -> Refused {
    Refused::bad(format!("the form cannot be read: {error}"))
}

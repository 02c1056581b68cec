//! Bodies of requests that were packed by their sender.

use crate::serve::http::blocking::blocking;
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use sluicebox_stream::decode::packed;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A body as it was before it was packed.
pub struct Unpacked {
    /// The body.
    pub body: Bytes,
    /// Its room among all bodies, beside that of the packed one; none if it was not packed.
    pub room: Option<OwnedSemaphorePermit>,
}

/// Unpacks a body as its header `Content-Encoding` says. Unpacked, it may be as large as any other, and there must be
/// room for it.
pub async fn unpacked(shared: &Arc<Shared>, headers: &HeaderMap, body: Bytes) -> Result<Unpacked, Refused> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings: Vec<String> =
        codings.map(|value| value.to_str().unwrap_or("?").trim().to_lowercase()).collect();
    codings.retain(|coding| coding != "identity");
    if codings.is_empty() {
        return Ok(Unpacked { body, room: None });
    }
    let coding = codings.join(", "); // of several none is read
    if !packed::CODINGS.contains(&coding.as_str()) {
        let reason =
            format!("the content encoding `{coding}` is not supported: send gzip, zstd or the plain body");
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let most = shared.limits.body_bytes;
    let kibibytes = |bytes: usize| bytes.div_ceil(1024) as u32;
    let room = shared.bodies.clone().try_acquire_many_owned(kibibytes(most));
    let mut room = room.map_err(|_| {
        shared.refusals.count("busy");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no room to unpack the body now; try again later")
    })?;
    let plain = blocking(move || packed::body(&coding, body, most)).await?;
    let plain = plain.map_err(|fault| match fault {
        packed::Unpackable::TooLarge => {
            let reason =
                format!("the body has more than {most} bytes once it is unpacked: send less at once");
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
        }
        packed::Unpackable::Damaged(reason) => Refused::bad(reason),
    })?;
    let unused = kibibytes(most).saturating_sub(kibibytes(plain.len()));
    drop(room.split(unused as usize));
    Ok(Unpacked { body: plain.into(), room: Some(room) })
}

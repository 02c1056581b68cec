//! Requests that can be read in two ways are refused: a proxy before this server might read them in the other one.
//!
//! Hyper refuses two different lengths, and a transfer encoding that does not end in `chunked`. Of a length beside a
//! transfer encoding it drops the length, as RFC 9112 (6.3) asks for; such a connection must then be closed.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::response::Response;

/// Headers that a request has once at most.
const ONCE: [HeaderName; 12] = [
    header::HOST,
    header::ORIGIN,
    header::AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::EXPECT,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("x-ids"),
    HeaderName::from_static("x-shape"),
    HeaderName::from_static("x-dtype"),
];

/// Refuses a request that has a header twice, or a host that is missing or cannot be read.
pub fn refuse(shared: &Shared, parts: &Parts) -> Result<(), Refused> {
    let refuse = |reason: String| {
        shared.refusals.count("header");
        Err(Refused::bad(reason))
    };
    if let Some(name) = ONCE.iter().find(|name| parts.headers.get_all(*name).iter().count() > 1) {
        return refuse(format!("the header `{name}` is there twice: send it once"));
    }
    match parts.headers.get(header::HOST) {
        None if parts.version >= Version::HTTP_11 => refuse("there is no header `host`".into()),
        Some(host) if host.to_str().is_err() => refuse("the header `host` is not text".into()),
        _ => Ok(()),
    }
}

/// Ends the connection after the response to a request with a transfer encoding, which may have had a length as well.
pub fn close_after(parts: &Parts) -> impl FnOnce(Response) -> Response + use<> {
    let close = parts.headers.contains_key(header::TRANSFER_ENCODING);
    move |mut response| {
        if close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

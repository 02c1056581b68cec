//! Checks that every request passes first: number of requests, origin, token, and a body read
//! within limits. Routes get the whole body or nothing.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use crate::serve::http::{ambiguous, page};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Frame};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Time spent reading the rest of a refused body, so that the client receives the reason.
const DISCARD_WAIT: Duration = Duration::from_secs(2);

/// Passes a request on with its whole body, or answers with the reason for refusing it.
pub async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, mut body) = request.into_parts();
    let close_after = ambiguous::close_after(&parts);
    let passes = ambiguous::refuse(&shared, &parts)
        .and_then(|()| may_pass(&shared, &parts.method, &parts.uri, &parts.headers));
    let refused = match passes {
        Err(refused) => refused,
        Ok(()) => match shared.requests.try_acquire() {
            Err(_) => {
                shared.refusals.count("busy");
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again later")
            }
            Ok(_present) => match tokio::time::timeout(shared.limits.body_wait, read(&shared, &mut body))
                .await
            {
                Ok(Ok((bytes, _held))) => {
                    return close_after(next.run(Request::from_parts(parts, Body::from(bytes))).await);
                }
                Ok(Err(refused)) => refused,
                Err(_) => {
                    shared.refusals.count("slow");
                    let reason = format!("the body did not arrive within {:?}", shared.limits.body_wait);
                    let mut late = Refused::new(StatusCode::REQUEST_TIMEOUT, reason).into_response();
                    late.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
                    return late;
                }
            },
        },
    };
    // With `Expect: 100-continue` the client has not sent its body, so there is nothing to discard.
    if !parts.headers.contains_key(header::EXPECT) {
        let rest = async { while matches!(frame(&mut body).await, Some(Ok(_))) {} };
        let _ = tokio::time::timeout(DISCARD_WAIT, rest).await; // the answer is sent in any case
    }
    close_after(refused.into_response())
}

/// Checks a request's host, origin and token.
fn may_pass(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = uri
        .authority()
        .map(|authority| authority.as_str())
        .or(text(header::HOST.as_str()))
        .unwrap_or_default();
    // Without a token, a web page open on this machine must not reach the job: neither cross-origin
    // nor through a host name of its own that resolves to this machine (DNS rebinding).
    if !shared.access.needs_token() && !host.is_empty() && !is_own(host) {
        shared.refusals.count("host");
        let reason =
            format!("the host `{host}` is not this machine: use 127.0.0.1 or localhost, or set a token");
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let own = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host));
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !own && !reads {
        shared.refusals.count("origin");
        let reason = format!("pages of {} may not send this request", origin.unwrap_or_default());
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    // Cross-site GETs are refused too, although the page could not read the answers; following a
    // link is allowed. A form of another site is a navigation as well, but reads nothing.
    let (site, mode) = (text("sec-fetch-site"), text("sec-fetch-mode"));
    let elsewhere = match reads {
        true => site == Some("cross-site") && mode != Some("navigate"),
        false => site.is_some_and(|site| !matches!(site, "same-origin" | "none")),
    };
    if elsewhere {
        shared.refusals.count("origin");
        return Err(Refused::new(StatusCode::FORBIDDEN, "pages of another site may not send requests"));
    }
    // The page's files hold no job data; the page asks the user for the token.
    if page::is_file(uri.path()) {
        return Ok(());
    }
    let token = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if !shared.access.admits(token) {
        shared.refusals.count("token");
        let reason = match token {
            None => "a token is needed: `Authorization: Bearer TOKEN`",
            Some(_) => "the token is wrong",
        };
        return Err(Refused::new(StatusCode::UNAUTHORIZED, reason));
    }
    Ok(())
}

/// Returns whether `host` (with or without a port) is `localhost` or an IP address, which no other
/// site can use as its name.
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || [host, name].iter().any(|name| name.parse::<IpAddr>().is_ok())
}

async fn frame(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// Returns the whole body, and its permit for the memory of all bodies.
async fn read(shared: &Shared, body: &mut Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Refused> {
    let most = shared.limits.body_bytes;
    let too_large = || {
        shared.refusals.count("too-large");
        let reason = format!("the body is larger than {most} bytes: send fewer samples at once");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = frame(body).await {
        let frame = frame.map_err(|error| Refused::bad(format!("the body ends too early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large());
        }
        let more = (bytes.len() + data.len()).div_ceil(1 << 10) - bytes.len().div_ceil(1 << 10);
        let Ok(permit) = shared.bodies.clone().try_acquire_many_owned(more as u32) else {
            shared.refusals.count("busy");
            let reason = "too many large bodies at once; try again later";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        };
        match &mut held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn names_of_others_are_not_this_machine() {
        for own in ["localhost", "localhost:7878", "127.0.0.1:1", "[::1]:7878", "::1", "10.0.0.7:80"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["evil.example", "evil.example:7878", "localhost.evil.example", "", "[evil]:1"] {
            assert!(!is_own(other), "{other}");
        }
    }
}

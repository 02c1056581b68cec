//! Checks that every request passes first: number of requests, origin, token, and a body read
//! within limits. Routes get the whole body or nothing. What is done for a request counts as one until it has
//! ended, whether or not the client is still there.

use crate::serve::http::page;
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Frame};
use sluicebox_stream::pace::{BYTES_PER_S, Pace, Patience, TooSlow};
use sluicebox_stream::places::Place;
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
    let admitted = may_pass(&shared, &parts.method, &parts.uri, &parts.headers);
    let refused = match admitted.and_then(|()| begin(&shared, &parts)) {
        Err(refused) => refused,
        Ok(present) => match read(&shared, &mut body).await {
            Ok((bytes, held)) => {
                let request = Request::from_parts(parts, Body::from(bytes));
                return answered(next, request, (present, held)).await;
            }
            Err(refused) if refused.is_timeout() => {
                let mut late = refused.into_response();
                late.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
                return late;
            }
            Err(refused) => refused,
        },
    };
    // With `Expect: 100-continue` the client has not sent its body, so there is nothing to discard.
    if !parts.headers.contains_key(header::EXPECT) {
        let rest = async { while matches!(frame(&mut body).await, Some(Ok(_))) {} };
        let _ = tokio::time::timeout(DISCARD_WAIT, rest).await; // the answer is sent in any case
    }
    refused.into_response()
}

/// Takes a place for a request that may pass. Its connection keeps its own from now on.
fn begin(shared: &Shared, parts: &Parts) -> Result<OwnedSemaphorePermit, Refused> {
    if let (Some(place), false) = (parts.extensions.get::<Arc<Place>>(), page::is_file(parts.uri.path())) {
        place.admit();
    }
    shared.requests.clone().try_acquire_owned().map_err(|_| {
        shared.refusals.count("busy");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again later")
    })
}

/// Runs the route in a task of its own, which ends by itself and holds `permits` until then: if the client leaves,
/// this future is dropped, but parsing that has begun goes on.
async fn answered(next: Next, request: Request, permits: impl Send + 'static) -> Response {
    let route = tokio::spawn(async move {
        let answer = next.run(request).await;
        drop(permits);
        answer
    });
    route.await.unwrap_or_else(|error| {
        let reason = format!("the request could not be answered: {error}");
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, reason).into_response()
    })
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
    if !own && !matches!(*method, Method::GET | Method::HEAD) {
        shared.refusals.count("origin");
        let reason = format!("pages of {} may not send this request", origin.unwrap_or_default());
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    // Cross-site GETs are refused too, although the page could not read the answers; following a
    // link is allowed.
    let (site, mode) = (text("sec-fetch-site"), text("sec-fetch-mode"));
    if site == Some("cross-site") && mode != Some("navigate") {
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
    let mut bytes = Vec::with_capacity(body.size_hint().lower() as usize); // only what arrives takes memory
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut pace = Pace::new(shared.limits.body_patience);
    loop {
        let arrived = pace.wait_for(|| shared.is_full(), frame(body)).await;
        let Some(frame) = arrived.map_err(|TooSlow| too_slow(shared))? else { break };
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
        pace.receive(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

fn too_slow(shared: &Shared) -> Refused {
    shared.refusals.count("slow");
    let Patience { usual, wanted } = shared.limits.body_patience;
    let reason = format!(
        "the body arrives too slowly: nothing for {usual:?} ({wanted:?} while the server is full), or less than {} \
         KiB/s",
        BYTES_PER_S >> 10
    );
    Refused::new(StatusCode::REQUEST_TIMEOUT, reason)
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

//! Connections: their places, TLS, time-outs, and an orderly end.

use crate::serve::http::shared::Shared;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use sluicebox_stream::accepting::Accepting;
use sluicebox_stream::places::Place;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-type: application/json\r\ncontent-length: 34\r\n\r\n{\"error\":\"too many connections\"}\r\n";

/// Serves until `stopped`, then waits a limited time for requests in progress.
pub async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    routes: Router,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let health = shared.status.controls.health.clone();
    let accepting = Accepting { health, refusals: shared.refusals.clone() };
    loop {
        let stream = tokio::select! {
            stream = accepting.next(&listener) => stream,
            _ = &mut stopped => break,
        };
        let Some((place, lost)) = shared.places.take() else {
            shared.refusals.count("busy");
            let _ = stream.try_write(BUSY); // best effort: the connection is closed in any case
            continue;
        };
        let (acceptor, routes, shared) = (acceptor.clone(), routes.clone(), shared.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            tokio::select! {
                () = serve_one(stream, acceptor, routes, &shared, Arc::new(place), watcher) => {}
                _ = lost => shared.refusals.count("crowded-out"),
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(shared.limits.stop_wait, graceful.shutdown()).await; // then the rest is cut off
}

async fn serve_one(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    routes: Router,
    shared: &Shared,
    place: Arc<Place>,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true); // only lowers latency, so a failure is ignored
    let Some(acceptor) = acceptor else { return converse(stream, routes, shared, place, watcher).await };
    match tokio::time::timeout(shared.limits.header_wait, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, routes, shared, place, watcher).await,
        _ => shared.refusals.count("tls"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    shared: &Shared,
    place: Arc<Place>,
    watcher: Watcher,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(shared.limits.header_wait);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(shared.limits.write_wait));
    let stream = TokioIo::new(Box::pin(stream));
    let routes = TowerToHyperService::new(routes);
    // The guard finds the connection's place in the request.
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        routes.call(request)
    });
    let connection = builder.serve_connection(stream, service);
    let _ = watcher.watch(connection).await; // an error means that the client went away
}

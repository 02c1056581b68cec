//! Connections: their number, TLS, time-outs, and an orderly end.

use crate::serve::http::shared::{STOP_WAIT, Shared};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use sluicebox_stream::accepting::Accepting;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
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
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    let graceful = GracefulShutdown::new();
    let health = shared.status.controls.health.clone();
    let accepting = Accepting { health, refusals: shared.refusals.clone() };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                accepting.failed(&error).await;
                continue;
            }
        };
        accepting.works();
        let Ok(place) = places.clone().try_acquire_owned() else {
            shared.refusals.count("busy");
            let _ = stream.try_write(BUSY); // best effort: the connection is closed in any case
            continue;
        };
        let (acceptor, routes, shared) = (acceptor.clone(), routes.clone(), shared.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            serve_one(stream, acceptor, routes, &shared, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_WAIT, graceful.shutdown()).await; // then the rest is cut off
}

async fn serve_one(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    routes: Router,
    shared: &Shared,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true); // only lowers latency, so a failure is ignored
    let Some(acceptor) = acceptor else { return converse(stream, routes, shared, watcher).await };
    match tokio::time::timeout(shared.limits.header_wait, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, routes, shared, watcher).await,
        _ => shared.refusals.count("tls"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    shared: &Shared,
    watcher: Watcher,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(shared.limits.header_wait);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(shared.limits.write_wait));
    let stream = TokioIo::new(Box::pin(stream));
    let connection = builder.serve_connection(stream, TowerToHyperService::new(routes));
    let _ = watcher.watch(connection).await; // an error means that the client went away
}

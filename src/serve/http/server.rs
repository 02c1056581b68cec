//! Starts and stops the server.

use crate::serve::http::shared::{Limits, Served, Shared};
use crate::serve::http::{listen, port_in_use, routes};
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::accepting::supervise;
use sluicebox_stream::places::Places;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

/// A running server. Stops when it is dropped.
pub struct Server {
    /// Address at which it listens.
    pub address: SocketAddr,
    runtime: Handle,
    stop: Option<(oneshot::Sender<()>, watch::Sender<()>)>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes no further request, and waits briefly for those in progress. Must not be called from
    /// within the runtime.
    pub fn stop(mut self) {
        self.stop.take();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task); // the hook has already printed its panic
        }
    }
}

/// Starts a server at `address`, such as `127.0.0.1:7878`.
pub fn start(runtime: &Handle, address: &str, served: Served) -> Result<Server> {
    start_within(Limits::default(), runtime, address, served)
}

/// Starts a server with other limits than the default.
pub fn start_within(limits: Limits, runtime: &Handle, address: &str, served: Served) -> Result<Server> {
    let cannot =
        |error: &dyn std::fmt::Display| Error::Request(format!("cannot listen at \"{address}\": {error}"));
    let found = address.to_socket_addrs().map_err(|error| cannot(&error))?.next();
    let found = found.ok_or_else(|| cannot(&"no such address"))?;
    served.access.may_listen(found)?;
    let acceptor = served.access.acceptor()?;
    let listener = std::net::TcpListener::bind(found).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => cannot(&port_in_use::by(found)),
        _ => cannot(&error),
    })?;
    let bound = listener.local_addr().map_err(|error| cannot(&error))?;
    listener.set_nonblocking(true).map_err(|error| cannot(&error))?;
    let within = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| cannot(&error))?;
    drop(within);
    let (closing, open) = watch::channel(());
    let shared = Arc::new(Shared {
        served,
        places: Places::new(limits.connections),
        requests: Arc::new(Semaphore::new(limits.requests)),
        bodies: Arc::new(Semaphore::new(limits.bodies_bytes >> 10)),
        images: Arc::new(Semaphore::new(1)),
        streams: Arc::new(Semaphore::new(limits.streams)),
        limits,
        open,
    });
    let (stop, stopped) = oneshot::channel();
    let routes = routes::routes(shared.clone());
    let health = shared.status.controls.health.clone();
    let serving = listen::serve(listener, acceptor, routes, shared, stopped);
    let task = supervise(runtime, health, format!("the server at {bound}"), serving);
    let stop = Some((stop, closing));
    Ok(Server { address: bound, runtime: runtime.clone(), stop, task: Some(task) })
}

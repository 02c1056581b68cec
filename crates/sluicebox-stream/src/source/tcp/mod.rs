//! Source of samples from many feeders over TCP, by the protocol of [`crate::protocol`]: options and
//! listener. The exchange on one connection is in `connection`.

mod clients;
mod connection;
mod room;
mod settings;
mod shared;

pub use settings::Settings;

use crate::accepting::{Accepting, supervise};
use crate::ingest::IngestContext;
use crate::places::{Place, Places};
use crate::protocol::Rejection;
use crate::source::api::{Context, Source};
use crate::source::filled::filled;
use crate::source::logged::Logged;
use clients::Clients;
use room::Room;
use shared::Shared;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Maximum number of connections beyond `max_clients` that are being refused with a reason at once.
const TURNED_AWAY: usize = 32;
/// Idle time after which TCP keepalive probes a connection.
const KEEPALIVE: Duration = Duration::from_secs(60);

pub(super) fn build(spec: &Spec, _context: &Context) -> Result<Box<dyn Source>> {
    let settings: Settings = settings(spec)?;
    let (format, missing) = (settings.sample_format().format(), settings.missing);
    let mut listener = None;
    let start = move |live: &IngestContext, stream: u16| {
        let listener = listener.insert(Listener::start(live, stream, &settings)?);
        tracing::info!("listening for samples at {}", listener.address());
        Ok(())
    };
    Ok(filled(Box::new(Logged::new(format, Box::new(start))), missing))
}

/// A listener; dropping it also ends its connections.
pub struct Listener {
    address: SocketAddr,
    _listening: watch::Sender<()>,
}

impl Listener {
    /// Binds the address and starts to accept feeders, whose samples go to `stream` of the log.
    pub fn start(live: &IngestContext, stream: u16, settings: &Settings) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::request(format!("cannot listen for samples at {}: {error}", settings.listen))
        };
        let addresses: Vec<SocketAddr> = settings.listen.to_socket_addrs().map_err(cannot)?.collect();
        addresses.iter().try_for_each(|address| live.access.may_listen(*address))?;
        let acceptor = live.access.acceptor()?;
        let socket = std::net::TcpListener::bind(&addresses[..]).map_err(cannot)?;
        socket.set_nonblocking(true).map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?;
        let _runtime = live.runtime.enter();
        let socket = TcpListener::from_std(socket).map_err(cannot)?;
        let (sender, listening) = watch::channel(());
        let shared = Shared {
            ingest: live.ingest.clone(),
            access: live.access.clone(),
            stream,
            max_frame_bytes: settings.max_frame_bytes,
            clients: Clients::default(),
            room: Room::new(),
            listening,
        };
        let accepting = accept(socket, Arc::new(shared), acceptor, settings.max_clients);
        let name = format!("the listener for samples at {address}");
        supervise(&live.runtime, live.ingest.health.clone(), name, accepting);
        Ok(Self { address, _listening: sender })
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Accepts connections, each in a task of its own.
async fn accept(socket: TcpListener, shared: Arc<Shared>, acceptor: Option<TlsAcceptor>, max_clients: usize) {
    let places = Places::new(max_clients);
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let mut listening = shared.listening.clone();
    let accepting =
        Accepting { health: shared.ingest.health.clone(), refusals: shared.ingest.refusals.clone() };
    loop {
        let stream = tokio::select! {
            _ = listening.changed() => return,
            stream = accepting.next(&socket) => stream,
        };
        let (shared, acceptor) = (shared.clone(), acceptor.clone());
        if let Some((place, lost)) = places.take() {
            tokio::spawn(async move {
                tokio::select! {
                    () = serve(stream, &shared, acceptor, Ok(&place)) => {}
                    _ = lost => shared.ingest.count("crowded-out"),
                }
            });
            continue;
        }
        shared.ingest.count("too-many-clients");
        let text = format!("there are {max_clients} feeders already (max_clients)");
        let full = Rejection { reason: "too-many-clients".into(), text, passing: true };
        let Ok(turned_away) = turned_away.clone().try_acquire_owned() else { continue };
        tokio::spawn(async move {
            serve(stream, &shared, acceptor, Err(full)).await;
            drop(turned_away);
        });
    }
}

/// Serves one connection, with or without TLS. Without a place, only sends the rejection.
async fn serve(
    stream: TcpStream,
    shared: &Shared,
    acceptor: Option<TlsAcceptor>,
    place: Result<&Place, Rejection>,
) {
    let _ = stream.set_nodelay(true); // it would only be slower otherwise
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let Some(acceptor) = acceptor else {
        return connection::serve(stream, shared, place).await;
    };
    match tokio::time::timeout(connection::PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection::serve(stream, shared, place).await,
        _ => shared.ingest.count("no-tls"),
    }
}

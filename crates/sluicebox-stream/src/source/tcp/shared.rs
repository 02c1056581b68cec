//! What the connections of one listener share.

use crate::auth::Access;
use crate::ingest::{Ingest, Mark, Refusal};
use crate::protocol;
use crate::protocol::ClientProgress;
use crate::source::tcp::clients::Clients;
use crate::source::tcp::room::Room;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes of a mark: the number of samples and three checksums.
const MARK_BYTES: usize = 20;

/// State shared by the connections of a listener.
pub struct Shared {
    pub ingest: Arc<Ingest>,
    pub access: Arc<Access>,
    /// Log stream that the feeders fill.
    pub stream: u16,
    pub max_frame_bytes: usize,
    pub clients: Clients,
    /// Room for frames.
    pub room: Room,
    /// Closed once the listener is gone.
    pub listening: watch::Receiver<()>,
}

impl Shared {
    fn key(&self, client: &str) -> Vec<u8> {
        format!("client/{}/{client}", self.stream).into_bytes()
    }

    /// Returns the progress of a client.
    pub fn progress(&self, client: &str) -> Result<ClientProgress, Refusal> {
        match self.ingest.log().mark(&self.key(client))? {
            Some(mut mark) => {
                // Before samples had labels there was no checksum of them.
                mark.resize(mark.len().max(MARK_BYTES), 0);
                protocol::decode(&mark).map_err(|error| Refusal::Bad(error.to_string()))
            }
            None => Ok(ClientProgress::default()),
        }
    }

    /// Returns the mark that stores the progress of a client.
    pub fn mark(&self, client: &str, progress: ClientProgress) -> Mark {
        let ClientProgress { samples, values, ids, labels } = progress;
        let checksums = [values, ids, labels].map(u32::to_le_bytes);
        (self.key(client), [&samples.to_le_bytes()[..], checksums.as_flattened()].concat())
    }
}

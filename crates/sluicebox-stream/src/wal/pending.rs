//! The result of a write that goes on in the writer's thread.

use crate::wal::shared::Inner;
use sluicebox_core::error::Result;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Entries that are being written.
pub struct Pending {
    log: Arc<Inner>,
    done: oneshot::Receiver<Result<u64, String>>,
}

impl Pending {
    pub(super) fn new(log: Arc<Inner>, done: oneshot::Receiver<Result<u64, String>>) -> Self {
        Self { log, done }
    }

    /// Returns the sequence number of the first entry once all are durable; None until then.
    pub fn poll(&mut self) -> Result<Option<u64>> {
        match self.done.try_recv() {
            Ok(written) => written.map(Some).map_err(|reason| self.log.fault(&reason)),
            Err(oneshot::error::TryRecvError::Empty) => Ok(None),
            Err(oneshot::error::TryRecvError::Closed) => Err(self.log.closed()),
        }
    }

    /// Waits until the entries are durable.
    pub async fn durable(self) -> Result<u64> {
        let written = self.done.await.map_err(|_| self.log.closed())?;
        written.map_err(|reason| self.log.fault(&reason))
    }
}

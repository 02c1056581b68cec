//! Connected feeders: one connection per client id. A newer connection takes over, but only after
//! the log has settled all samples of the older one.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, watch};

/// Connected clients by id. Holds at most as many as there are connections.
#[derive(Default)]
pub struct Clients(Arc<Mutex<HashMap<String, Arc<Client>>>>);

#[derive(Default)]
struct Client {
    /// Held by the connection that may write to the log.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Number of the newest connection.
    newest: watch::Sender<u64>,
}

/// Right of one connection to feed under a client id.
pub struct Turn {
    clients: Arc<Mutex<HashMap<String, Arc<Client>>>>,
    id: String,
    client: Arc<Client>,
    number: u64,
    newest: watch::Receiver<u64>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Clients {
    /// Takes over from the connection that fed under `id` before, after waiting until it has
    /// finished. Returns None if a newer connection has taken over meanwhile.
    pub async fn enter(&self, id: &str) -> Option<Turn> {
        let mut turn = self.arrive(id);
        let wanted = turn.client.turn.clone();
        let held = tokio::select! {
            () = turn.replaced() => None,
            held = wanted.lock_owned() => Some(held),
        };
        turn.held = Some(held?);
        Some(turn)
    }

    fn arrive(&self, id: &str) -> Turn {
        let mut clients = self.0.lock();
        let client = clients.entry(id.to_string()).or_default().clone();
        client.newest.send_modify(|newest| *newest += 1);
        let newest = client.newest.subscribe();
        let number = *newest.borrow();
        Turn { clients: self.0.clone(), id: id.to_string(), client, number, newest, held: None }
    }
}

impl Turn {
    /// Waits until a newer connection has arrived.
    pub async fn replaced(&mut self) {
        let number = self.number;
        // The sender lives in `self.client`.
        let _ = self.newest.wait_for(|newest| *newest != number).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held.take();
        let mut clients = self.clients.lock();
        // Only the map and this turn hold it: handles are created under the map's lock.
        if Arc::strong_count(&self.client) == 2 {
            clients.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_comes_in_once_the_older_has_finished() {
        let clients = Arc::new(Clients::default());
        let mut first = clients.enter("a").await.unwrap();
        let other = clients.enter("b").await.unwrap();
        let wait = |clients: Arc<Clients>| tokio::spawn(async move { clients.enter("a").await });
        let second = wait(clients.clone());
        first.replaced().await;
        let third = wait(clients.clone());
        assert!(second.await.unwrap().is_none(), "a newer one came");
        assert!(!third.is_finished());
        drop(first);
        let third = third.await.unwrap().unwrap();
        assert_eq!(clients.0.lock().len(), 2);
        drop((third, other));
        assert!(clients.0.lock().is_empty());
    }
}

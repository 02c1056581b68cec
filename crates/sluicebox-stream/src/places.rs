//! Places of a listener's connections. While all are taken, a newcomer gets the place of the oldest connection
//! that has not shown that it may be there, so that nobody without the token can keep out those who have it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places of a listener; clones share them.
#[derive(Clone)]
pub struct Places(Arc<Mutex<Taken>>);

/// Connections by their number, each with what ends it when it is dropped.
struct Taken {
    most: usize,
    next: u64,
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    admitted: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Place of one connection.
pub struct Place {
    places: Places,
    number: u64,
}

/// Ends once the connection has lost its place.
pub type Lost = oneshot::Receiver<()>;

impl Places {
    /// Creates `most` places.
    pub fn new(most: usize) -> Self {
        let (strangers, admitted) = Default::default();
        Self(Arc::new(Mutex::new(Taken { most, next: 0, strangers, admitted })))
    }

    /// Takes a place for a connection that has just begun; None if all are taken by admitted ones.
    pub fn take(&self) -> Option<(Place, Lost)> {
        let mut taken = self.0.lock();
        if taken.strangers.len() + taken.admitted.len() >= taken.most {
            taken.strangers.pop_first()?; // dropping its sender ends it
        }
        let (number, (sender, lost)) = (taken.next, oneshot::channel());
        taken.next += 1;
        taken.strangers.insert(number, sender);
        Some((Place { places: self.clone(), number }, lost))
    }

    /// Returns whether all places are taken by admitted connections, so that newcomers get none.
    pub fn are_taken(&self) -> bool {
        let taken = self.0.lock();
        taken.admitted.len() >= taken.most
    }
}

impl Place {
    /// Marks the connection as admitted: it keeps its place.
    pub fn admit(&self) {
        let mut taken = self.places.0.lock();
        if let Some(sender) = taken.strangers.remove(&self.number) {
            taken.admitted.insert(self.number, sender);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        let (number, taken) = (self.number, &mut *taken);
        let _ended = taken.strangers.remove(&number).or_else(|| taken.admitted.remove(&number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_makes_room_and_nobody_else() {
        let places = Places::new(3);
        let mut come: Vec<_> = (0..3).map(|_| places.take().unwrap()).collect();
        come[0].0.admit();
        assert!(!places.are_taken());
        let mut fourth = places.take().unwrap();
        let ended: Vec<bool> = come.iter_mut().map(|(_, lost)| lost.try_recv() != EMPTY).collect();
        assert_eq!(ended, [false, true, false]);
        come[1].0.admit(); // too late: its place is gone
        come[2].0.admit();
        fourth.0.admit();
        assert!(places.are_taken() && places.take().is_none());
        assert_eq!(fourth.1.try_recv(), EMPTY);
        drop(come.remove(1));
        assert!(places.are_taken(), "it had no place any more");
        drop(come);
        assert!(!places.are_taken() && places.take().is_some());
    }

    const EMPTY: Result<(), oneshot::error::TryRecvError> = Err(oneshot::error::TryRecvError::Empty);
}

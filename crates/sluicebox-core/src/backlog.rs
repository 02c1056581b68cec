//! Records that wait where sources read them, such as in the partitions of a topic.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of what a source reads: the topic, and the number of the partition.
pub type Part = (String, i32);

/// Number of records that wait in each part of what sources read, as far as it is known. Clones share it.
///
/// ```
/// use sluicebox_core::backlog::Backlog;
///
/// let backlog = Backlog::default();
/// assert_eq!(backlog.sum(), None);
/// backlog.set("clicks", [(0, 5), (1, 7)]);
/// backlog.set("clicks", [(0, 4)]);
/// assert_eq!(backlog.sum(), Some(11));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<Mutex<BTreeMap<Part, u64>>>);

impl Backlog {
    /// Records how many records wait in partitions of a topic.
    pub fn set(&self, topic: &str, waiting: impl IntoIterator<Item = (i32, u64)>) {
        let mut parts = self.0.lock();
        parts.extend(waiting.into_iter().map(|(partition, count)| ((topic.to_string(), partition), count)));
    }

    /// Returns all parts.
    pub fn parts(&self) -> Vec<(Part, u64)> {
        self.0.lock().iter().map(|(part, count)| (part.clone(), *count)).collect()
    }

    /// Returns how many wait in all; none if no source knows.
    pub fn sum(&self) -> Option<u64> {
        let parts = self.0.lock();
        (!parts.is_empty()).then(|| parts.values().sum())
    }
}

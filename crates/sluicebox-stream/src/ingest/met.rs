//! Whether an id that is met has been met before.

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// It is new, and known from now on.
    New,
    /// A sample with this id and the same values is known.
    Again,
    /// A sample with this id and other values is known.
    WithOtherValues,
}

impl Met {
    /// Returns what follows from the hash of the values that are known of the id, and that of the present ones.
    pub fn of(known: Option<u64>, hash: u64) -> Self {
        match known {
            None => Met::New,
            Some(known) if known == hash => Met::Again,
            Some(_) => Met::WithOtherValues,
        }
    }
}

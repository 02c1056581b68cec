//! Records on their way into the log.

/// Bytes that each record counts in addition to its payload.
pub const RECORD: u64 = 64;

/// One record to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Stream that the record belongs to.
    pub stream: u16,
    /// Content of the record.
    pub payload: Vec<u8>,
    /// Key and value that become durable together with the record.
    pub mark: Option<(Vec<u8>, Vec<u8>)>,
}

/// Returns the bytes that entries count towards the log's maximum size.
pub fn cost(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.payload.len() as u64 + RECORD).sum()
}

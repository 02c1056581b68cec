//! Records of the write-ahead log: their streams, their codec, and the ids of the samples in them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::GIVEN_IDS;

/// Log stream of late labels. Sources use the streams from 0 on, in the job's order.
pub const LABELS: u16 = u16::MAX;

/// Log stream of the step journal.
pub const STEP_JOURNAL: u16 = u16::MAX - 1;

/// Maximum samples per log record. An assigned id is made of the record's sequence number and the
/// sample's index in the record.
pub const RECORD_SAMPLES: usize = 4096;

/// A record larger than this is treated as damaged.
const MOST_BYTES: u64 = 1 << 30;

/// Version of the codec: the first byte of a record.
const VERSION: u8 = 1;

/// Encodes a [`Block`](sluicebox_core::sample::Block) of these as the payload of a log record.
pub fn encode_block(ids: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 8 * ids.len() + 17);
    payload.push(VERSION);
    payload.extend((ids.len() as u64).to_le_bytes());
    ids.iter().for_each(|id| payload.extend(id.to_le_bytes()));
    payload.extend((bytes.len() as u64).to_le_bytes());
    payload.extend_from_slice(bytes);
    payload
}

/// Encodes `content` as the payload of a log record.
pub fn record(content: &impl Serialize) -> Result<Vec<u8>> {
    let mut payload = vec![VERSION];
    bincode::serialize_into(&mut payload, content).map_err(|error| Error::Engine(error.to_string()))?;
    Ok(payload)
}

/// Decodes the payload of a log record.
pub fn content<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    use bincode::Options;
    let damaged = |reason: &str| {
        Error::Engine(format!(
            "a record of the log is damaged: {reason}; go on from the newest checkpoint without the log, with \
             --forget-log"
        ))
    };
    match payload.split_first() {
        Some((&VERSION, rest)) => {
            let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MOST_BYTES);
            options.deserialize(rest).map_err(|error| damaged(&error.to_string()))
        }
        _ => Err(damaged("it is of another version")),
    }
}

/// Returns the assigned id of sample `at` of record `sequence`, for feeders that choose no ids.
pub fn given_id(sequence: u64, at: usize) -> u64 {
    GIVEN_IDS + sequence * RECORD_SAMPLES as u64 + at as u64
}

//! Records of the write-ahead log: their streams, their codec, and the ids of the samples in them.

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Block, GIVEN_IDS, SampleClass};

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

/// Version of a record of samples. Those of version 1 hold no labels.
const SAMPLES_VERSION: u8 = 2;

/// Samples as records of version 1 hold them.
#[derive(Deserialize)]
struct Unlabelled {
    ids: Vec<u64>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Encodes a [`Block`] of these as the payload of a log record.
pub fn encode_block(ids: &[u64], classes: &[SampleClass], bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 8 * (ids.len() + classes.len()) + 25);
    payload.push(SAMPLES_VERSION);
    payload.extend((ids.len() as u64).to_le_bytes());
    ids.iter().for_each(|id| payload.extend(id.to_le_bytes()));
    payload.extend((classes.len() as u64).to_le_bytes());
    classes
        .iter()
        .for_each(|one| payload.extend([one.at.to_le_bytes(), one.class.to_le_bytes()].as_flattened()));
    payload.extend((bytes.len() as u64).to_le_bytes());
    payload.extend_from_slice(bytes);
    payload
}

/// Decodes the payload of a record of samples.
pub fn block(payload: &[u8]) -> Result<Block> {
    match payload.split_first() {
        Some((&SAMPLES_VERSION, rest)) => decoded(rest),
        _ => content::<Unlabelled>(payload).map(|Unlabelled { ids, bytes }| Block {
            ids,
            bytes,
            ..Block::default()
        }),
    }
}

/// Encodes `content` as the payload of a log record.
pub fn record(content: &impl Serialize) -> Result<Vec<u8>> {
    let mut payload = vec![VERSION];
    bincode::serialize_into(&mut payload, content).map_err(|error| Error::Engine(error.to_string()))?;
    Ok(payload)
}

/// Decodes the payload of a log record.
pub fn content<T: DeserializeOwned>(payload: &[u8]) -> Result<T> {
    match payload.split_first() {
        Some((&VERSION, rest)) => decoded(rest),
        _ => Err(damaged("it is of another version")),
    }
}

fn decoded<T: DeserializeOwned>(rest: &[u8]) -> Result<T> {
    let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MOST_BYTES);
    options.deserialize(rest).map_err(|error| damaged(&error.to_string()))
}

fn damaged(reason: &str) -> Error {
    Error::Engine(format!(
        "a record of the log is damaged: {reason}; go on from the newest checkpoint without the log, with \
         --forget-log"
    ))
}

/// Returns the assigned id of sample `at` of record `sequence`, for feeders that choose no ids.
pub fn given_id(sequence: u64, at: usize) -> u64 {
    GIVEN_IDS + sequence * RECORD_SAMPLES as u64 + at as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_this_version_and_of_the_one_before_are_read() {
        let classes = vec![SampleClass { at: 0, class: 3 }, SampleClass { at: 1, class: 1 }];
        let whole = Block { ids: vec![7, 8], classes, bytes: vec![1, 2, 3, 4] };
        let payload = encode_block(&whole.ids, &whole.classes, &whole.bytes);
        assert_eq!(payload[1..], bincode::serialize(&whole).unwrap());
        assert_eq!(block(&payload).unwrap(), whole);
        let before = record(&(vec![7u64, 8], serde_bytes::Bytes::new(&[1, 2, 3, 4]))).unwrap();
        assert_eq!(before[0], 1);
        assert_eq!(block(&before).unwrap(), Block { classes: Vec::new(), ..whole });
        let unknown = block(&[9, 0, 0]).unwrap_err().to_string();
        assert!(unknown.contains("another version") && unknown.contains("--forget-log"), "{unknown}");
        assert!(block(&payload[..20]).unwrap_err().to_string().contains("damaged"));
    }
}

//! Records of the write-ahead log: their streams, their codec, and the ids of the samples in them.

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Block, SampleClass};
use sluicebox_core::sample_id::{AFTER_GIVEN_IDS, GIVEN_IDS, SampleName};

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

/// Version of a record of samples. Those of version 1 hold neither labels nor names.
const SAMPLES_VERSION: u8 = 2;

/// Samples as records of version 1 hold them.
#[derive(Deserialize)]
struct Numbered {
    ids: Vec<u64>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

/// Encodes a [`Block`] of these as the payload of a log record.
pub fn encode_block(
    ids: &[u64],
    names: &[SampleName],
    classes: &[SampleClass],
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(bytes.len() + 8 * (ids.len() + classes.len()) + 33);
    payload.push(SAMPLES_VERSION);
    let block = (ids, names, classes, serde_bytes::Bytes::new(bytes));
    bincode::serialize_into(&mut payload, &block).map_err(|error| Error::Engine(error.to_string()))?;
    Ok(payload)
}

/// Decodes the payload of a record of samples.
pub fn block(payload: &[u8]) -> Result<Block> {
    match payload.split_first() {
        Some((&SAMPLES_VERSION, rest)) => decoded(rest),
        _ => content::<Numbered>(payload).map(|Numbered { ids, bytes }| Block {
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

/// Returns whether samples in records from `sequence` on can be given ids: there are enough for 2^34 records.
pub fn can_give_ids(sequence: u64) -> bool {
    // Some requests may be on their way.
    sequence + (1 << 20) < (AFTER_GIVEN_IDS - GIVEN_IDS) / RECORD_SAMPLES as u64
}

/// Returns the assigned id of sample `at` of record `sequence`, for feeders that choose no ids.
pub fn given_id(sequence: u64, at: usize) -> u64 {
    GIVEN_IDS + sequence * RECORD_SAMPLES as u64 + at as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample_id::SampleId;

    #[test]
    fn ids_are_given_for_as_many_records_as_there_are_ids() {
        assert!(can_give_ids((1 << 34) - (2 << 20)) && !can_give_ids((1 << 34) - (1 << 20)));
        assert!(given_id((1 << 34) - 1, RECORD_SAMPLES - 1) < AFTER_GIVEN_IDS);
    }

    #[test]
    fn samples_of_this_version_and_of_the_one_before_are_read() {
        let classes = vec![SampleClass { at: 0, class: 3 }, SampleClass { at: 1, class: 1 }];
        let mut whole = Block { classes, bytes: vec![1, 2, 3, 4], ..Block::default() };
        whole.push_id(SampleId::number(7));
        whole.push_id(SampleId::plain("a-b").unwrap());
        let payload = encode_block(&whole.ids, &whole.names, &whole.classes, &whole.bytes).unwrap();
        assert_eq!(payload[1..], bincode::serialize(&whole).unwrap());
        assert_eq!(block(&payload).unwrap(), whole);
        let before = record(&(vec![7u64, 8], serde_bytes::Bytes::new(&[1, 2, 3, 4]))).unwrap();
        assert_eq!(before[0], 1);
        let expected = Block { ids: vec![7, 8], bytes: vec![1, 2, 3, 4], ..Block::default() };
        assert_eq!(block(&before).unwrap(), expected);
        let unknown = block(&[9, 0, 0]).unwrap_err().to_string();
        assert!(unknown.contains("another version") && unknown.contains("--forget-log"), "{unknown}");
        assert!(block(&payload[..20]).unwrap_err().to_string().contains("damaged"));
    }
}

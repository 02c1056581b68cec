//! A `.safetensors` file with a description of its network.
//!
//! The file is the length of its head in 8 bytes, the head as JSON, and the values. The description is in the head,
//! under `__metadata__`. The crate writes it from a hash map, so that no two files would be alike: only the head is
//! written anew here, in the order of the names.

use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;

/// Bytes of the length before the head.
const LENGTH: usize = 8;

/// Returns the file `bytes` with `entries` as its only metadata, besides `format`, by which other programs know whose
/// names the tensors have.
pub fn described(bytes: &[u8], entries: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let damaged = || Error::request("it is not a safetensors file");
    let length =
        bytes.first_chunk::<LENGTH>().map(|length| u64::from_le_bytes(*length)).ok_or_else(damaged)?;
    let rest = &bytes[LENGTH..];
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or_else(damaged)?;
    let (head, values) = rest.split_at(length);
    let mut head: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(head).map_err(|_| damaged())?;
    let format = [("format".to_string(), "pt".to_string())];
    let entries = entries.iter().map(|(name, text)| (name.clone(), text.clone()));
    let metadata: BTreeMap<String, String> = entries.chain(format).collect();
    head.insert("__metadata__".into(), serde_json::to_value(metadata).map_err(Error::request)?);
    let mut head = serde_json::to_vec(&head).map_err(Error::request)?;
    // Values begin at a multiple of 8 bytes.
    head.resize(head.len().next_multiple_of(LENGTH), b' ');
    Ok([&(head.len() as u64).to_le_bytes(), &head[..], values].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors;
    use ::safetensors::SafeTensors;
    use tch::Tensor;

    #[test]
    fn the_library_reads_it() {
        let named = [
            ("b.weight".to_string(), Tensor::from_slice(&[1f32, 2.0])),
            ("a".to_string(), Tensor::from(3i64)),
        ];
        let entries = BTreeMap::from([("classes".to_string(), r#"["é","b"]"#.to_string())]);
        let file = described(&safetensors(&named).unwrap(), &entries).unwrap();
        let read = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(
            read.tensor("b.weight").unwrap().data(),
            [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat()
        );
        assert_eq!(read.tensor("a").unwrap().data(), 3i64.to_le_bytes());
        let (_, head) = SafeTensors::read_metadata(&file).unwrap();
        let metadata = head.metadata().clone().unwrap();
        assert_eq!((metadata["classes"].as_str(), metadata["format"].as_str()), (r#"["é","b"]"#, "pt"));
        assert_eq!(file, described(&file, &entries).unwrap(), "a file is repeatable");
        for damaged in [&b"short"[..], &u64::MAX.to_le_bytes(), b"\x02\0\0\0\0\0\0\0[]"] {
            assert!(described(damaged, &entries).is_err());
        }
    }
}

//! `state.bin` of a checkpoint: the sections, with a header that reveals damage.

use sha2::{Digest, Sha256};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{MOST_BYTES, Sections};
use std::collections::BTreeMap;

/// Version of the checkpoint format.
pub const VERSION: u32 = 6;
const MAGIC: &[u8; 8] = b"SLUICEBX";

/// Serialises sections: magic · version · length · SHA-256 · bincode of the sections.
pub fn pack(sections: &Sections) -> Result<Vec<u8>> {
    let sections: BTreeMap<&String, &serde_bytes::Bytes> =
        sections.by_name().iter().map(|(name, bytes)| (name, serde_bytes::Bytes::new(bytes))).collect();
    let payload = bincode::serialize(&sections).map_err(|error| Error::Engine(error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(&payload));
    bytes.extend(payload);
    Ok(bytes)
}

/// Returns the sections of a `state.bin`, or the reason why it is invalid.
pub fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    use bincode::Options;
    let head = MAGIC.len() + 4 + 8 + 32;
    if bytes.len() < head || !bytes.starts_with(MAGIC) {
        return Err("is no state of Sluicebox".into());
    }
    let (version, rest) = bytes[MAGIC.len()..].split_at(4);
    if version != VERSION.to_le_bytes() {
        return Err(format!("has another format version than {VERSION}"));
    }
    let (length, rest) = rest.split_at(8);
    let (sum, payload) = rest.split_at(32);
    if length != (payload.len() as u64).to_le_bytes() || Sha256::digest(payload)[..] != *sum {
        return Err("is damaged".into());
    }
    let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MOST_BYTES);
    let sections: BTreeMap<String, serde_bytes::ByteBuf> =
        options.deserialize(payload).map_err(|error| error.to_string())?;
    Ok(sections.into_iter().map(|(name, bytes)| (name, bytes.into_vec())).collect())
}

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

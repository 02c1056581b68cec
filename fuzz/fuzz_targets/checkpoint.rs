//! The reader of a checkpoint's `state.bin`. The first byte says whether the rest is the whole
//! file, or what lies behind a sound head.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use sluicebox::engine::checkpoint::unpack;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    if how % 2 == 0 {
        let _ = unpack(data);
        return;
    }
    let mut bytes = b"SLUICEBX".to_vec();
    bytes.extend(sluicebox::engine::checkpoint::VERSION.to_le_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(data));
    bytes.extend(data);
    if let Ok(sections) = unpack(&bytes) {
        let inside: usize = sections.iter().map(|(name, bytes)| name.len() + bytes.len()).sum();
        assert!(inside <= data.len());
    }
});

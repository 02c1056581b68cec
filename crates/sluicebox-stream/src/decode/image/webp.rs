//! The outermost part of a WebP file, whose length says whether the file is whole.

/// Refuses a WebP file that is shorter than it says: its decoder would first make room for what is missing.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let Some([a, b, c, d]) = bytes.get(4..8) else { return Err("the image is truncated".into()) };
    let claimed = u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8;
    match claimed <= bytes.len() as u64 {
        true => Ok(()),
        false => Err("the image is truncated".into()),
    }
}

//! The parts of a JPEG, as far as they say whether it is whole and what it costs. What follows its end, such as the
//! film of a motion photo, is not looked at.

/// Maximum number of scans; usual ones have up to ten. Each costs time for the whole image, however few bytes it
/// has.
const MOST_SCANS: usize = 64;

const SCAN: u8 = 0xda;
const END: u8 = 0xd9;

/// Refuses a JPEG with too many scans, or whose end is missing: the decoder fills missing parts with grey.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let (mut at, mut scans) = (2, 0); // after the mark of the start
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            END => return Ok(()),
            SCAN => scans += 1,
            _ => {}
        }
        if scans > MOST_SCANS {
            return Err(format!("a JPEG of more than {MOST_SCANS} scans"));
        }
        if has_length(marker) {
            let Some(length) = bytes.get(at..at + 2) else { break };
            at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        }
    }
    Err("the image is truncated".into())
}

/// Moves behind the next marker and returns it. Within the data of a scan FF is followed by 0 or by the mark of a
/// restart.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += memchr::memchr(0xff, bytes.get(*at..)?)? + 1;
        let marker = *bytes.get(*at)?;
        if marker != 0xff {
            *at += 1;
        }
        if !matches!(marker, 0 | 0xff | 0xd0..=0xd7) {
            return Some(marker);
        }
    }
}

/// Returns whether a marker is followed by the length of its part.
fn has_length(marker: u8) -> bool {
    !matches!(marker, 0x01 | 0xd8 | END)
}

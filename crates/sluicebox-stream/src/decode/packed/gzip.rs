//! Gzip of one member or several, one behind the other. Zeros behind the last one, as tapes and disks pad files, are passed
//! over; anything else there is a fault.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// Reader of the content of all members.
pub struct Members<R> {
    /// The member that is read.
    member: Option<GzDecoder<R>>,
    /// Whether the last member has ended, and nothing followed.
    over: bool,
}

impl<R: BufRead> Members<R> {
    /// Reads from the first byte of the first member.
    pub fn new(packed: R) -> Self {
        Self { member: Some(GzDecoder::new(packed)), over: false }
    }

    /// Goes to the next member, if there is one.
    fn advance(&mut self, mut rest: R) -> io::Result<()> {
        let mut padded = false;
        loop {
            let bytes = rest.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            padded |= zeros > 0;
            match bytes.get(zeros) {
                None if bytes.is_empty() => {
                    self.over = true;
                    return Ok(());
                }
                None => rest.consume(zeros),
                // Its second byte may be in the next piece: the decoder looks at it.
                Some(0x1f) if !padded => {
                    self.member = Some(GzDecoder::new(rest));
                    return Ok(());
                }
                Some(_) => return Err(surplus("gzip")),
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, content: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else {
                return if self.over { Ok(0) } else { Err(surplus("gzip")) };
            };
            let got = member.read(content)?;
            if got > 0 || content.is_empty() {
                return Ok(got);
            }
            if let Some(member) = self.member.take() {
                self.advance(member.into_inner())?;
            }
        }
    }
}

/// Says that something else lies behind packed content.
pub fn surplus(packing: &str) -> io::Error {
    let reason =
        format!("behind the {packing} content lies something else; cut it off, or pack the file again");
    io::Error::other(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn members_and_padding_are_read_and_nothing_else() {
        let read = |bytes: &[u8], piece: usize| {
            let mut plain = Vec::new();
            let mut members = Members::new(BufReader::with_capacity(piece, bytes));
            let read = members.read_to_end(&mut plain).map_err(|error| error.to_string());
            (String::from_utf8(plain).unwrap(), read.err())
        };
        let (one, two) = (packed(b"one "), packed(b"two"));
        for piece in [1, 2, 7, 1 << 16] {
            assert_eq!(read(&[&one[..], &two].concat(), piece), ("one two".into(), None));
            assert_eq!(read(&[&one[..], &[0; 1000]].concat(), piece), ("one ".into(), None));
            for other in [&b"garbage"[..], b"\0\0\0x", &[&[0][..], &two].concat()] {
                let (plain, reason) = read(&[&one[..], other].concat(), piece);
                assert!(plain == "one " && reason.unwrap().contains("lies something else"), "{other:?}");
            }
            let (plain, reason) = read(&[&one[..], &two[..two.len() - 1]].concat(), piece);
            assert!(plain.starts_with("one ") && reason.is_some());
        }
    }
}

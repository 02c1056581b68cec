//! Encodings of text files.

use encoding_rs_io::{DecodeReaderBytes, DecodeReaderBytesBuilder};
use serde::{Deserialize, Serialize};
use std::io::{BufReader, Read};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// Encoding of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextEncoding {
    /// UTF-8, or UTF-16 if a mark at the start says so.
    #[default]
    Auto,
    /// UTF-16; little-endian unless a mark says otherwise.
    #[serde(rename = "utf-16")]
    Utf16,
    /// One byte for each character, as Windows has it in the west (windows-1252).
    #[serde(rename = "latin-1")]
    Latin1,
}

/// A text as UTF-8.
pub type Utf8<R> = BufReader<DecodeReaderBytes<R, Vec<u8>>>;

impl TextEncoding {
    /// Returns whether it is the default.
    pub fn is_auto(&self) -> bool {
        *self == TextEncoding::Auto
    }

    /// Returns a text as UTF-8. A character that is none becomes U+FFFD, with which no row is taken. Nothing is read
    /// yet.
    pub fn utf8<R: Read>(self, text: R) -> Utf8<R> {
        let mut builder = DecodeReaderBytesBuilder::new();
        match self {
            TextEncoding::Auto => builder.utf8_passthru(true).bom_sniffing(true),
            TextEncoding::Utf16 => builder.encoding(Some(encoding_rs::UTF_16LE)).bom_override(true),
            TextEncoding::Latin1 => builder.encoding(Some(encoding_rs::WINDOWS_1252)).bom_sniffing(false),
        };
        BufReader::with_capacity(PIECE, builder.build(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: TextEncoding, text: &[u8]) -> String {
        let mut read = String::new();
        encoding.utf8(text).read_to_string(&mut read).unwrap();
        read
    }

    #[test]
    fn texts_become_utf8() {
        let wide = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
        let little: Vec<u8> = wide("\u{feff}é,1").into_iter().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = wide("\u{feff}é,1").into_iter().flat_map(u16::to_be_bytes).collect();
        for (encoding, text) in [
            (TextEncoding::Auto, "é,1".as_bytes()),
            (TextEncoding::Auto, &little),
            (TextEncoding::Auto, &big),
            (TextEncoding::Utf16, &little),
            (TextEncoding::Utf16, &little[2..]),
            (TextEncoding::Utf16, &big),
            (TextEncoding::Latin1, b"\xe9,1"),
        ] {
            assert_eq!(read(encoding, text).trim_start_matches('\u{feff}'), "é,1", "{encoding:?} {text:?}");
        }
        assert!(read(TextEncoding::Utf16, &[0, 0xd8, 0x31, 0]).contains('\u{fffd}'));
    }
}

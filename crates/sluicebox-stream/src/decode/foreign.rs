//! What a file is that is read as text but is none: its first bytes say so.

/// First bytes of files that are no text, what such a file is, and what to do.
const FOREIGN: [(&[u8], &str); 12] = [
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8, with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8, with iconv -f UTF-16 -t UTF-8"),
    (b"\x1f\x8b", "a gzip file; unpack it first, with zcat"),
    (b"PK\x03\x04", "a zip file (or a spreadsheet); unpack it first, or save it as CSV"),
    (b"\xfd7zXZ\0", "an xz file; unpack it first, with xzcat"),
    (b"BZh", "a bzip2 file; unpack it first, with bzcat"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first, with zstdcat"),
    (b"PAR1", "a Parquet file; its name must end in .parquet"),
    (b"ARROW1", "an Arrow file; its name must end in .arrow"),
    (b"\x89HDF", "an HDF5 file; save it as CSV or NPY"),
    (b"\x93NUMPY", "a NumPy array; its name must end in .npy"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet; save it as CSV"),
];

/// Returns why the content that begins with these bytes is not text that can be read, if it is none.
pub fn reason(first: &[u8]) -> Option<String> {
    let (_, what) = FOREIGN.iter().find(|(bytes, _)| first.starts_with(bytes))?;
    Some(format!("this is {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        assert!(reason(b"\xff\xfef\0").is_some_and(|reason| reason.contains("UTF-16")));
        assert!(reason(b"PK\x03\x04...").is_some_and(|reason| reason.contains("zip")));
        for text in [&b"1,2"[..], b"", b"@relate,1", b"P", b"{\"values\": [1]}"] {
            assert!(reason(text).is_none());
        }
    }
}

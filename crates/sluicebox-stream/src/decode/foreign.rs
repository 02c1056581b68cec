//! What a file is that is read as text but is none: its first bytes say so.

/// First bytes of files that are no text, what such a file is, and what to do.
const FOREIGN: [(&[u8], &str); 24] = [
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
    (b"\x5d\0\0", "an LZMA file; unpack it first, with xzcat"),
    (b"7z\xbc\xaf", "a 7z file; unpack it first"),
    (b"\x04\x22\x4d\x18", "an lz4 file; unpack it first, with lz4cat"),
    (b"\x89PNG", "a PNG image; its name must end in .png"),
    (b"\xff\xd8\xff", "a JPEG image; its name must end in .jpg"),
    (b"II\x2b\0", "a BigTIFF image; save it as TIFF or PNG"),
    (b"MM\0\x2b", "a BigTIFF image; save it as TIFF or PNG"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database; save its table as CSV"),
    (b"\x80\x04\x95", "a Python pickle; save it as CSV, NPY or Parquet"),
    (b"<!DOCTYPE", "a web page: what was fetched is no data"),
    (b"<html", "a web page: what was fetched is no data"),
];

/// Returns why the content that begins with these bytes is not what is read here, if it is another known kind.
pub fn reason(first: &[u8]) -> Option<String> {
    let (_, what) = FOREIGN.iter().find(|(bytes, _)| first.starts_with(bytes))?;
    Some(format!("this is {what}"))
}

/// Returns the same of a first line of text, which has no zero bytes: UTF-16 and UTF-32 without a mark have many.
pub fn reason_of_line(line: &[u8]) -> Option<String> {
    let zeros = line.iter().filter(|byte| **byte == 0).count();
    let wide = || "this is no text: every second byte or more is zero; save it as UTF-8 (iconv -f UTF-16LE -t UTF-8), or set source.encoding = \"utf-16\" if it is that";
    reason(line).or_else(|| (zeros > 1 && 3 * zeros >= line.len()).then(|| wide().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        assert!(reason(b"\xff\xfef\0").is_some_and(|reason| reason.contains("UTF-16")));
        assert!(reason(b"PK\x03\x04...").is_some_and(|reason| reason.contains("zip")));
        assert!(reason_of_line(b"a\0,\0b\0").is_some_and(|reason| reason.contains("UTF-16")));
        assert!(reason_of_line(b"a,b\0,c").is_none(), "a damaged line");
        for text in [&b"1,2"[..], b"", b"@relate,1", b"P", b"{\"values\": [1]}"] {
            assert!(reason(text).is_none());
        }
    }
}

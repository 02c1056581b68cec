//! Content of files, unpacked piece by piece as it is read, so that only the decoder's bounds matter. The first bytes
//! say how a file is packed, whatever its name: gzip, zstd, xz or zip. Unpacking takes at most 128 MiB (zstd) or 256 MiB
//! (xz) besides, whatever a file claims.

mod gzip;
mod zip;

pub use zip::names;

use crate::remote::{self, Ranges};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// Logarithm of the longest distance that zstd may look back.
const LONGEST_ZSTD_WINDOW: u32 = 27;
/// Memory that xz may take.
const MOST_XZ_MEMORY: u64 = 256 << 20;

/// Unpacked content.
pub type Content = Box<dyn BufRead + Send>;

/// How content is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, of one part or several.
    Gzip,
    /// Zstandard, of one frame or several.
    Zstd,
    /// xz, of one stream or several.
    Xz,
}

impl Packing {
    /// Returns how content with these first bytes is packed, if it is.
    fn of(first: &[u8]) -> Option<Packing> {
        let begins = |magic: &[u8]| first.starts_with(magic);
        match first {
            _ if begins(b"\x1f\x8b") => Some(Packing::Gzip),
            _ if begins(b"\x28\xb5\x2f\xfd") => Some(Packing::Zstd),
            _ if begins(b"\xfd7zXZ\0") => Some(Packing::Xz),
            _ => None,
        }
    }

    fn unpack(self, packed: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Packing::Gzip => Box::new(gzip::Members::new(packed)),
            Packing::Zstd => {
                let mut unpacked = zstd::stream::read::Decoder::with_buffer(packed)?;
                unpacked.window_log_max(LONGEST_ZSTD_WINDOW)?;
                Box::new(Told(unpacked))
            }
            Packing::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    MOST_XZ_MEMORY,
                    liblzma::stream::CONCATENATED,
                )?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
        })
    }
}

/// Zstd whose messages say what to do.
struct Told<R>(R);

impl<R: Read> Read for Told<R> {
    fn read(&mut self, content: &mut [u8]) -> io::Result<usize> {
        self.0.read(content).map_err(|error| match error.to_string() {
            text if text.contains("too much memory") => io::Error::other(format!(
                "unpacking it takes more than {} MiB; pack it without --long or --ultra",
                (1 << LONGEST_ZSTD_WINDOW) >> 20
            )),
            text if text.contains("Unknown frame descriptor") => gzip::surplus("zstd"),
            _ => error,
        })
    }
}

/// Refuses what is not a regular file. It is not opened: opening a pipe waits until somebody writes to it.
fn regular(path: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(path)?.file_type();
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(io::Error::other("this is a folder, but a file is needed")),
        _ => Err(io::Error::other(
            "this is a pipe, a device or a socket, but a file is needed; a job reads a pipe as its standard input, \
             with source.kind = \"lines\"",
        )),
    }
}

/// A file that is read here and there.
pub enum Whole {
    /// A file of this machine.
    Here(File),
    /// A file elsewhere.
    Elsewhere(Box<Ranges>),
}

/// Opens a file, here or elsewhere, that is read here and there, and so must not be packed.
pub fn open_plain(path: &Path) -> io::Result<Whole> {
    let mut first = Vec::new();
    let whole = match remote::is_url(path) {
        true => {
            let mut ranges = Ranges::open(path)?;
            ranges.by_ref().take(8).read_to_end(&mut first)?;
            Whole::Elsewhere(Box::new(ranges))
        }
        false => {
            regular(path)?;
            let mut file = File::open(path)?;
            file.by_ref().take(8).read_to_end(&mut first)?;
            Whole::Here(file)
        }
    };
    match Packing::of(&first).is_some() || zip::is_one(&first) {
        true => {
            Err(io::Error::other("it is packed, but such a file is read here and there; unpack it first"))
        }
        false => Ok(whole),
    }
}

/// Returns whether a path names a file in a zip of this machine.
pub fn is_in_zip(path: &Path) -> bool {
    !remote::is_url(path) && zip::member_of(path).is_some()
}

/// Opens the unpacked content of a file, here or elsewhere, from byte `offset` of it on. The path may name a file in a
/// zip: `arrays.npz/x.npy`, or `arrays.npz/x`.
pub fn open(path: &Path, offset: u64) -> io::Result<Content> {
    if remote::is_url(path) {
        return open_url(path, offset);
    }
    if let Some((archive, name)) = zip::member_of(path) {
        return skipped(zip::open(&zip::Place::Here(archive), Some(name))?, offset);
    }
    regular(path)?;
    let mut file = File::open(path)?;
    let mut first = Vec::new();
    file.by_ref().take(8).read_to_end(&mut first)?;
    if zip::is_one(&first) {
        return skipped(zip::open(&zip::Place::Here(path), None)?, offset);
    }
    match Packing::of(&first) {
        None => {
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(BufReader::with_capacity(PIECE, file)))
        }
        Some(packing) => {
            file.seek(SeekFrom::Start(0))?;
            skipped(packing.unpack(BufReader::with_capacity(PIECE, file))?, offset)
        }
    }
}

fn open_url(path: &Path, offset: u64) -> io::Result<Content> {
    if let Some((archive, name)) = zip::member_of_url(path) {
        return skipped(zip::open(&zip::Place::Elsewhere(archive), Some(name))?, offset);
    }
    let mut input = remote::stream(path, 0)?;
    let mut first = Vec::new();
    input.by_ref().take(8).read_to_end(&mut first)?;
    if zip::is_one(&first) {
        return skipped(zip::open(&zip::Place::Elsewhere(path), None)?, offset);
    }
    let packing = Packing::of(&first);
    let whole = BufReader::with_capacity(PIECE, io::Cursor::new(first).chain(input));
    match packing {
        None if offset == 0 => Ok(Box::new(whole)),
        None => Ok(Box::new(BufReader::with_capacity(PIECE, remote::stream(path, offset)?))),
        Some(packing) => skipped(packing.unpack(whole)?, offset),
    }
}

fn skipped(unpacked: Box<dyn Read + Send>, offset: u64) -> io::Result<Content> {
    let mut content = BufReader::with_capacity(PIECE, unpacked);
    io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
    Ok(Box::new(content))
}

/// How a request's body may be packed, by the names of its content encoding.
pub const CODINGS: [&str; 3] = ["gzip", "x-gzip", "zstd"];

/// Reason why a body cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpackable {
    /// It has too many bytes.
    TooLarge,
    /// It is not packed as it says.
    Damaged(String),
}

/// Unpacks the body of a request, packed as one of [`CODINGS`], to at most `most` bytes.
pub fn body(
    coding: &str,
    body: impl AsRef<[u8]> + Send + 'static,
    most: usize,
) -> Result<Vec<u8>, Unpackable> {
    let packing = if coding == "zstd" { Packing::Zstd } else { Packing::Gzip };
    if Packing::of(body.as_ref()) != Some(packing) {
        let reason = format!("the body is not packed as its content encoding says (`{coding}`)");
        return Err(Unpackable::Damaged(reason));
    }
    let fault =
        |error: io::Error| Unpackable::Damaged(format!("the {coding} body cannot be unpacked: {error}"));
    let unpacked = packing.unpack(io::Cursor::new(body)).map_err(fault)?;
    let mut plain = Vec::new();
    unpacked.take(most as u64 + 1).read_to_end(&mut plain).map_err(fault)?;
    match plain.len() <= most {
        true => Ok(plain),
        false => Err(Unpackable::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn a_body_is_unpacked_up_to_a_bound() {
        let plain = b"[1, 2]\n".repeat(1000);
        for (coding, packed) in [("gzip", gzip(&plain)), ("zstd", zstd::encode_all(&plain[..], 19).unwrap())]
        {
            assert_eq!(body(coding, packed.clone(), plain.len()).unwrap(), plain, "{coding}");
            assert_eq!(body(coding, packed.clone(), plain.len() - 1), Err(Unpackable::TooLarge), "{coding}");
            assert!(
                body(coding, packed[..packed.len() - 1].to_vec(), plain.len()).is_err(),
                "{coding} is truncated"
            );
            let other = body(coding, plain.clone(), plain.len()).unwrap_err();
            assert!(matches!(other, Unpackable::Damaged(reason) if reason.contains("not packed as")));
        }
        let bomb = gzip(&vec![0; 256 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(body("gzip", bomb, 1 << 20), Err(Unpackable::TooLarge));
    }
}

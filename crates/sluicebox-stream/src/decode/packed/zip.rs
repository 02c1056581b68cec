//! Files in a zip: NumPy's npz, or one file that was packed as zip.

use crate::decode::unread::is_hidden;
use crate::remote;
use flate2::bufread::DeflateDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;
/// Most files in a zip.
const MOST_FILES: usize = 100_000;
/// A file that is in every spreadsheet of Excel.
const SPREADSHEET: &str = "[Content_Types].xml";
/// Names that a message lists.
const TOLD: usize = 12;

/// Returns whether a file with these first bytes is a zip.
pub fn is_one(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04")
}

/// Returns the zip in which a path lies, and the name of the file there, if it lies in one.
pub fn member_of(path: &Path) -> Option<(&Path, &str)> {
    let archive = path.ancestors().skip(1).find(|above| above.is_file())?;
    let mut first = Vec::new();
    File::open(archive).ok()?.take(8).read_to_end(&mut first).ok()?;
    let name = path.strip_prefix(archive).ok()?.to_str()?;
    is_one(&first).then_some((archive, name))
}

/// Returns the same of a URL, by the ending of the zip's name: nothing is asked for.
pub fn member_of_url(path: &Path) -> Option<(&Path, &str)> {
    let is_zip = |above: &&Path| {
        let name = above.file_name().and_then(|name| name.to_str()).map(str::to_lowercase);
        remote::is_url(above) && name.is_some_and(|name| name.ends_with(".zip") || name.ends_with(".npz"))
    };
    let archive = path.ancestors().skip(1).find(is_zip)?;
    Some((archive, path.strip_prefix(archive).ok()?.to_str()?))
}

/// Where a zip is.
pub enum Place<'p> {
    /// A file.
    Here(&'p Path),
    /// A URL. It is read by ranges, which the server must give.
    Elsewhere(&'p Path),
}

/// Opens a file in a zip, by its name with or without `.npy`; without a name the only one.
pub fn open(place: &Place, name: Option<&str>) -> io::Result<Box<dyn Read + Send>> {
    match place {
        Place::Here(path) => {
            let (start, member) = find(File::open(path)?, name)?;
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            member.content(file)
        }
        Place::Elsewhere(url) => {
            let (start, member) = find(remote::Ranges::open(url)?, name)?;
            member.content(remote::stream(url, start)?)
        }
    }
}

/// Returns the names of the files in a zip.
pub fn names(path: &Path) -> io::Result<Vec<String>> {
    let archive = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(io::Error::other)?;
    let names = archive.file_names().filter(|name| is_file(name));
    Ok(names.take(MOST_FILES).map(String::from).collect())
}

/// Returns whether a name in a zip is that of a file with content: no folder, and not what macOS adds.
fn is_file(name: &str) -> bool {
    !name.ends_with('/') && !name.split('/').any(is_hidden)
}

/// A file in a zip.
struct Member {
    packed: u64,
    method: CompressionMethod,
    size: u64,
    checksum: u32,
}

/// Finds a file in a zip; returns its first byte as well.
fn find(input: impl Read + Seek, name: Option<&str>) -> io::Result<(u64, Member)> {
    let mut archive = ZipArchive::new(BufReader::new(input)).map_err(io::Error::other)?;
    if archive.len() > MOST_FILES {
        return Err(io::Error::other(format!("the zip holds more than {MOST_FILES} files")));
    }
    let name = found(&archive, name).map_err(io::Error::other)?;
    let entry = archive.by_name(&name).map_err(io::Error::other)?;
    let (packed, method) = (entry.compressed_size(), entry.compression());
    let member = Member { packed, method, size: entry.size(), checksum: entry.crc32() };
    Ok((entry.data_start(), member))
}

impl Member {
    /// Unpacks the file from an input that is at its first byte.
    fn content(self, input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        let Member { packed, method, size, checksum } = self;
        let packed = BufReader::with_capacity(PIECE, input.take(packed));
        let unpacked: Box<dyn Read + Send> = match method {
            CompressionMethod::Stored => Box::new(packed),
            CompressionMethod::Deflated => Box::new(DeflateDecoder::new(packed)),
            other => {
                return Err(io::Error::other(format!("packed as {other} in the zip; store or deflate it")));
            }
        };
        Ok(Box::new(Checked { unpacked, left: size, found: crc32fast::Hasher::new(), checksum }))
    }
}

/// Returns the name of a file in a zip, or why it is not there.
fn found<R: Read + Seek>(archive: &ZipArchive<BufReader<R>>, name: Option<&str>) -> Result<String, String> {
    let names: Vec<&str> = archive.file_names().filter(|name| is_file(name)).collect();
    if name.is_none() && names.contains(&SPREADSHEET) {
        return Err("this is a spreadsheet; save it as CSV".into());
    }
    let mut told: Vec<&str> = names.clone();
    told.sort_unstable();
    let more = if told.len() > TOLD { ", …" } else { "" };
    told.truncate(TOLD);
    let told = format!("{}{more}", told.join(", "));
    match (name, &names[..]) {
        (None, [only]) => Ok(only.to_string()),
        (None, []) => Err("the zip is empty".into()),
        (None, several) => {
            let count = several.len();
            Err(format!("the zip holds {count} files ({told}); name one, as in FILE.zip/NAME"))
        }
        (Some(name), names) => {
            let found = [name.to_string(), format!("{name}.npy")];
            let found = found.into_iter().find(|name| names.contains(&name.as_str()));
            found.ok_or_else(|| format!("the zip holds no `{name}` (it holds {told})"))
        }
    }
}

/// Content that must be as long as the zip says, and have its checksum.
struct Checked {
    unpacked: Box<dyn Read + Send>,
    left: u64,
    found: crc32fast::Hasher,
    checksum: u32,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.unpacked.read(buffer)?;
        self.found.update(&buffer[..got]);
        let fault = |what: &str| Err(io::Error::other(format!("the zip is damaged: {what}")));
        let Some(left) = self.left.checked_sub(got as u64) else {
            return fault("a file is longer than it says");
        };
        self.left = left;
        // The last bytes are given only if all are right: who reads an array does not look for its end.
        if left == 0 && self.found.clone().finalize() != self.checksum {
            return fault("a checksum is wrong");
        }
        match got == 0 && left > 0 && !buffer.is_empty() {
            true => fault("a file is truncated"),
            false => Ok(got),
        }
    }
}

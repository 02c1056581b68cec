//! The members of a tar archive, one after the other: POSIX (ustar and pax), GNU and old ones. A name has at most 4 KiB,
//! and the records of a pax header 1 MiB; what is longer makes its member unusable and is skipped.

use crate::decode::api::{DecodeError, told};
use crate::decode::foreign;
use std::io::{self, Read};
use tar::{EntryType, GnuExtSparseHeader, Header, PaxExtensions};

/// Unit of an archive, in bytes.
const BLOCK: usize = 512;
/// Maximum length of a name, in bytes.
const LONGEST_NAME: u64 = 1 << 12;
/// Maximum length of the records of a pax header, in bytes.
const LONGEST_PAX: u64 = 1 << 20;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, as text; what is no UTF-8 is replaced.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// What it is.
    pub what: What,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A file, whose content follows.
    File,
    /// A folder.
    Folder,
    /// Something without content that could be read: what it is, and what to do.
    Unusable(String),
}

/// Reader of the members of an archive.
pub struct Members<R> {
    input: R,
    /// Bytes of the content of the last member that are still to be read, and of its padding.
    left: u64,
    padding: u64,
    /// Whether the archive has begun.
    begun: bool,
    /// Empty blocks at the place that was reached: one may end an archive, two do.
    empty: u64,
}

/// What headers before that of a member say of it.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    unusable: Option<String>,
}

impl<R: Read> Members<R> {
    /// Reads the archive from its start.
    pub fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, begun: false, empty: 0 }
    }

    /// Returns whether the end of an archive was reached, so that no member before it goes on.
    pub fn is_at_end(&self) -> bool {
        self.empty >= 2
    }

    /// Returns the next member, behind the content of the last one; None at the end.
    pub fn advance(&mut self) -> Result<Option<Member>, DecodeError> {
        let mut said = Said::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = match (header.entry_type(), said.size) {
                (kind, _) if is_without_content(kind) => 0,
                (kind, Some(size)) if !is_extension(kind) => size,
                _ => header.entry_size().map_err(|error| broken(&error))?,
            };
            (self.left, self.padding) = (size, (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64);
            match header.entry_type() {
                EntryType::GNULongName => match self.content(LONGEST_NAME)? {
                    Some(mut name) => {
                        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                        said.name = Some(name);
                    }
                    None => said.unusable = Some(too_long()),
                },
                EntryType::XHeader => match self.content(LONGEST_PAX)? {
                    Some(records) => said.take(&records),
                    None => {
                        said.unusable = Some(format!("has a pax header of more than {LONGEST_PAX} bytes"))
                    }
                },
                EntryType::GNULongLink | EntryType::XGlobalHeader => {} // nothing of it is used
                kind => {
                    if kind.is_gnu_sparse() {
                        self.skip_sparse_map(&header)?;
                    }
                    return Ok(Some(said.member(&header, kind, size)));
                }
            }
        }
    }

    /// Reads the content of the member; None if it has more than `most` bytes.
    pub fn content(&mut self, most: u64) -> Result<Option<Vec<u8>>, DecodeError> {
        if self.left > most {
            return Ok(None);
        }
        // Room is made as the content comes: a header may claim any size.
        let mut content = Vec::new();
        let got = self.input.by_ref().take(self.left).read_to_end(&mut content)? as u64;
        if got < self.left {
            return Err(truncated());
        }
        self.left = 0;
        Ok(Some(content))
    }

    fn skip_content(&mut self) -> Result<(), DecodeError> {
        let rest = self.left.saturating_add(self.padding); // a header may claim any size
        let got = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        // Some writers leave out the padding of the last member.
        if got < self.left {
            return Err(truncated());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads the next header; None at the end. Empty blocks end an archive, and another one may follow.
    fn header(&mut self) -> Result<Option<Header>, DecodeError> {
        let mut header = Header::new_old();
        loop {
            let bytes = header.as_mut_bytes();
            match filled(&mut self.input, bytes)? {
                0 if self.empty > 0 => return Ok(None),
                0 if self.begun => {
                    return Err(DecodeError::Broken(
                        "the file is truncated: the end of the archive is missing".into(),
                    ));
                }
                0 => return Err(DecodeError::Broken("the file is empty".into())),
                BLOCK => {}
                got if self.is_at_end() => {
                    let is_padding = bytes[..got].iter().all(|byte| *byte == 0);
                    return if is_padding { Ok(None) } else { Err(surplus()) };
                }
                got if self.begun || is_plausible(&bytes[..got]) => return Err(truncated()),
                got => return Err(no_archive(&bytes[..got])),
            }
            if bytes.iter().any(|byte| *byte != 0) {
                break;
            }
            self.empty += 1;
            self.begun = true;
        }
        let sum: u32 = header.as_bytes().iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = header.as_old().cksum.iter().map(|byte| u32::from(*byte)).sum();
        let spaces = 8 * u32::from(b' ');
        if header.cksum().ok() != Some(sum - own + spaces) {
            return Err(match self.begun {
                true if self.is_at_end() => surplus(),
                true => {
                    DecodeError::Broken("the archive is damaged: the checksum of a header is wrong".into())
                }
                false => no_archive(header.as_bytes()),
            });
        }
        (self.begun, self.empty) = (true, 0);
        Ok(Some(header))
    }

    /// Skips the blocks behind the header of a sparse file that say where its content belongs.
    fn skip_sparse_map(&mut self, header: &Header) -> Result<(), DecodeError> {
        let mut more = header.as_gnu().is_some_and(|header| header.is_extended());
        while more {
            let mut map = GnuExtSparseHeader::new();
            if filled(&mut self.input, map.as_mut_bytes())? < BLOCK {
                return Err(truncated());
            }
            more = map.is_extended();
        }
        Ok(())
    }
}

impl Said {
    /// Takes the records of a pax header.
    fn take(&mut self, records: &[u8]) {
        for record in PaxExtensions::new(records) {
            let Ok(record) = record else {
                self.unusable = Some("has a damaged pax header".into());
                return;
            };
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" if value.len() as u64 > LONGEST_NAME => self.unusable = Some(too_long()),
                b"path" => self.name = Some(value.to_vec()),
                b"size" => match std::str::from_utf8(value).ok().and_then(|size| size.parse().ok()) {
                    Some(size) => self.size = Some(size),
                    None => self.unusable = Some("has a damaged pax header".into()),
                },
                key if key.starts_with(b"GNU.sparse.") => self.unusable = Some(sparse()),
                _ => {}
            }
        }
    }

    fn member(self, header: &Header, kind: EntryType, size: u64) -> Member {
        let name = self.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let what = match (self.unusable, kind) {
            (Some(reason), _) => What::Unusable(reason),
            (None, EntryType::Regular | EntryType::Continuous) if name.ends_with(b"/") => What::Folder,
            (None, EntryType::Regular | EntryType::Continuous) => What::File,
            (None, EntryType::Directory) => What::Folder,
            (None, EntryType::GNUSparse) => What::Unusable(sparse()),
            (None, EntryType::Symlink | EntryType::Link) => What::Unusable(
                "is a link; store the file itself (tar --dereference --hard-dereference)".into(),
            ),
            (None, _) => What::Unusable("is no file".into()),
        };
        Member { name: String::from_utf8_lossy(&name).into_owned(), size, what }
    }
}

fn sparse() -> String {
    "is stored as a sparse file; leave out tar's option --sparse".into()
}

fn too_long() -> String {
    format!("has a name of more than {LONGEST_NAME} bytes")
}

/// Returns whether a header says something of the next one.
fn is_extension(kind: EntryType) -> bool {
    use EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
    matches!(kind, GNULongLink | GNULongName | XGlobalHeader | XHeader)
}

/// Returns whether a member has no content, whatever its header says.
fn is_without_content(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(kind, Block | Char | Directory | Fifo | Link | Symlink)
}

/// Fills `bytes` as far as the input goes.
fn filled(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns whether the first bytes of a file, less than a header, may be those of an archive: a name.
fn is_plausible(first: &[u8]) -> bool {
    foreign::reason(first).is_none() && first.len() > 100 && first[..100].contains(&0)
}

fn no_archive(first: &[u8]) -> DecodeError {
    let other = foreign::reason(first).unwrap_or_else(|| "this is no tar archive".into());
    DecodeError::Broken(other)
}

fn surplus() -> DecodeError {
    DecodeError::Broken(
        "behind the end of the archive lies something else, which is not read; cut it off".into(),
    )
}

fn broken(error: &io::Error) -> DecodeError {
    DecodeError::Broken(format!("the archive is damaged: {}", told(error)))
}

fn truncated() -> DecodeError {
    DecodeError::Broken("the file is truncated".into())
}

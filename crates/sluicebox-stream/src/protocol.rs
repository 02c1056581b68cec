//! Protocol between a feeder and the source `tcp`, version 2. Each side first sends the magic and
//! its version; then follow records: length, checksum, body in bincode. The source `tcp`
//! and the client's `feed` act on them.
//!
//! A frame holds samples and the labels that came with them, which become durable together, and the ids of samples:
//! keys, and names where an id is not its key. Version 1 had neither labels nor names; a feeder or a job of that version is told so, and counted, before it sends or takes anything.
//!
//! Samples of a client are numbered from 0. A frame contains the number of its first sample; the
//! answer to the hello and every acknowledgement contain the number of durable samples. So a feeder
//! that resends after a broken connection loses and duplicates nothing, however it cuts frames.
//!
//! The job sends magic and version as soon as it has admitted the hello. Everything after that may take as long as the
//! log has no room, such as while the job is paused; there are no keep-alives but those of TCP. So a feeder limits its
//! wait for the magic only.

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluicebox_core::sample::{Block, Dtype, Format, SampleClass, Shape};
use sluicebox_core::sample_id::{IdName, SampleName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// First bytes that both sides send.
pub const MAGIC: [u8; 8] = *b"sluicebx";
/// Version of the protocol of this program, sent after the magic.
pub const VERSION: u16 = 2;
/// Maximum size of a hello, in bytes.
pub const HELLO_BYTES: usize = 16 << 10;
/// Maximum size of a reply, in bytes: the format may name many classes.
pub const REPLY_BYTES: usize = 4 << 20;
/// Maximum length of a client id, in characters.
pub const CLIENT_ID_CHARACTERS: usize = 128;

/// Bytes of a record before its body.
const HEAD_BYTES: usize = 8;
/// Bytes of a frame besides its samples: number of the first sample, and four lengths.
const FRAME_HEAD: usize = 40;
/// Bytes of a sample's key and label.
const SAMPLE_HEAD: usize = 16;
/// Bytes of a name besides its text: index, kind and length.
const NAME_HEAD: usize = 13;

/// First record of a feeder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The job's token, if it requires one.
    pub token: Option<String>,
    /// Permanent name of the feeder: its samples are numbered under this name.
    pub client: String,
    /// Shape of its samples; None: the feeder will adopt the shape in the answer.
    pub shape: Option<Shape>,
    /// Type of their values; None: the feeder will adopt the type in the answer.
    pub dtype: Option<Dtype>,
}

/// A record of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Number of the first sample.
    pub first: u64,
    /// The samples.
    pub block: Block,
}

/// Record of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Refusal, which ends the connection. Encoded alike in every version of the protocol.
    Rejected(Rejection),
    /// Acceptance of the hello.
    Accepted(Accepted),
    /// Acknowledgement of durable samples.
    Ack(Ack),
}

/// Reason why the job ends a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// Name under which it is counted.
    pub reason: String,
    /// Description of the problem and its remedy.
    pub text: String,
    /// Whether the same request may succeed later.
    pub passing: bool,
}

/// Answer to a hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Format of the job's samples.
    pub format: Format,
    /// Durable progress of this client.
    pub taken: ClientProgress,
    /// Maximum size of a frame's body, in bytes.
    pub max_frame_bytes: u32,
}

/// Acknowledgement: all samples up to this number are durable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Number of durable samples of this client; also the number of the next.
    pub samples: u64,
    /// Samples of this connection that were skipped because their ids were known.
    pub repeated: u64,
}

/// Progress of a client's stream, with checksums over all of it: a feeder that reads its files
/// again can check that they still begin with the samples already taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientProgress {
    /// Number of samples.
    pub samples: u64,
    /// CRC-32 of the values.
    pub values: u32,
    /// CRC-32 of the feeder-chosen ids.
    pub ids: u32,
    /// CRC-32 of the labels, each with the number of its sample; 0 if there are none.
    pub labels: u32,
}

impl ClientProgress {
    /// Adds the samples of a block; `count` is their number.
    pub fn add(&mut self, block: &Block, count: u64) {
        let mut labels = crc32fast::Hasher::new_with_initial(self.labels);
        for SampleClass { at, class } in &block.classes {
            labels.update(&(self.samples + u64::from(*at)).to_le_bytes());
            labels.update(&class.to_le_bytes());
        }
        self.labels = labels.finalize();
        self.samples += count;
        let mut values = crc32fast::Hasher::new_with_initial(self.values);
        values.update(&block.bytes);
        self.values = values.finalize();
        let mut ids = crc32fast::Hasher::new_with_initial(self.ids);
        block.ids.iter().for_each(|id| ids.update(&id.to_le_bytes()));
        self.ids = ids.finalize();
    }
}

/// Errors in data from the other side.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The other side uses another protocol.
    #[error("this is not the protocol of sluicebox")]
    Garbage,
    /// The other side uses another version.
    #[error(
        "the other side uses version {0} of the protocol, this program version {VERSION}; update the older one"
    )]
    Version(u16),
    /// The connection ended within a record.
    #[error("the connection was lost within a record ({0}); that record is discarded")]
    Truncated(std::io::Error),
    /// A record is longer than allowed.
    #[error("a record of {bytes} bytes is too long: at most {most} are taken")]
    TooLong {
        /// Bytes of its body.
        bytes: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// A record was damaged in transit.
    #[error("the checksum of a record is wrong: the record was damaged in transit")]
    Checksum,
    /// A record does not have the expected content.
    #[error("a record cannot be decoded: {0}")]
    Malformed(bincode::Error),
}

impl ProtocolError {
    /// Returns the name under which the error is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            ProtocolError::Garbage => "garbage",
            ProtocolError::Version(_) => "version",
            ProtocolError::Truncated(_) => "truncated",
            ProtocolError::TooLong { .. } => "too-long",
            ProtocolError::Checksum => "checksum",
            ProtocolError::Malformed(_) => "malformed",
        }
    }

    /// Returns whether the connection was at fault, rather than the data sent.
    pub fn is_passing(&self) -> bool {
        matches!(self, ProtocolError::Truncated(_) | ProtocolError::Checksum)
    }
}

fn options(most: usize) -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(most as u64)
}

/// Returns magic and version.
pub fn preamble() -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// Reads the other side's magic and version; stops at the first byte that differs.
pub async fn read_preamble(reader: &mut (impl AsyncRead + Unpin)) -> Result<(), ProtocolError> {
    let (mut bytes, mut got) = ([0; 10], 0);
    while got < bytes.len() {
        let more = reader.read(&mut bytes[got..]).await.map_err(ProtocolError::Truncated)?;
        if more == 0 {
            return Err(ProtocolError::Truncated(std::io::ErrorKind::UnexpectedEof.into()));
        }
        got += more;
        let magic = got.min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(ProtocolError::Garbage);
        }
    }
    match u16::from_le_bytes([bytes[8], bytes[9]]) {
        VERSION => Ok(()),
        other => Err(ProtocolError::Version(other)),
    }
}

fn head(length: usize, checksum: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    head[4..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Encodes a whole record.
pub fn record(content: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    // Plain data written to memory cannot fail.
    let _ = options(u32::MAX as usize).serialize_into(&mut bytes, content);
    let body = &bytes[HEAD_BYTES..];
    let head = head(body.len(), crc32fast::hash(body));
    bytes[..HEAD_BYTES].copy_from_slice(&head);
    bytes
}

/// Sends a frame as a record, without copying its values.
pub async fn write_frame(
    writer: &mut (impl AsyncWrite + Unpin),
    first: u64,
    block: &Block,
) -> std::io::Result<()> {
    writer.write_all(&frame_head(first, block)).await?;
    writer.write_all(&block.bytes).await
}

/// Encodes everything of a frame's record before the values.
fn frame_head(first: u64, block: &Block) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + FRAME_HEAD + 8 * (block.ids.len() + block.classes.len()));
    bytes.extend([0; HEAD_BYTES]);
    bytes.extend(first.to_le_bytes());
    bytes.extend((block.ids.len() as u64).to_le_bytes());
    block.ids.iter().for_each(|id| bytes.extend(id.to_le_bytes()));
    // Plain data written to memory cannot fail.
    let _ = options(u32::MAX as usize).serialize_into(&mut bytes, &(&block.names, &block.classes));
    bytes.extend((block.bytes.len() as u64).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[HEAD_BYTES..]);
    checksum.update(&block.bytes);
    let length = bytes.len() - HEAD_BYTES + block.bytes.len();
    bytes[..HEAD_BYTES].copy_from_slice(&head(length, checksum.finalize()));
    bytes
}

/// Returns the size of a frame's body in bytes, if each sample has an id without a name and a label.
pub fn frame_bytes(samples: usize, sample_bytes: usize) -> usize {
    FRAME_HEAD + samples * (sample_bytes + SAMPLE_HEAD)
}

/// Returns the size that a name adds to a frame, in bytes.
pub fn name_bytes(name: &IdName) -> usize {
    NAME_HEAD + name.text.len()
}

/// Returns the number of samples that fit into a frame of `most` bytes, if none has a name.
pub fn samples_in(most: usize, sample_bytes: usize) -> usize {
    most.saturating_sub(FRAME_HEAD) / (sample_bytes + SAMPLE_HEAD)
}

/// Length and checksum of a record.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// Bytes of its body.
    pub bytes: usize,
    checksum: u32,
}

/// Reads the head of the next record, whose body has at most `most` bytes; None if the other side closed properly.
pub async fn read_head(
    reader: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<Option<Head>, ProtocolError> {
    let mut head = [0; HEAD_BYTES];
    let got = reader.read(&mut head).await.map_err(ProtocolError::Truncated)?;
    if got == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[got..]).await.map_err(ProtocolError::Truncated)?;
    let bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    match bytes > most {
        true => Err(ProtocolError::TooLong { bytes, most }),
        false => Ok(Some(Head { bytes, checksum: u32::from_le_bytes([head[4], head[5], head[6], head[7]]) })),
    }
}

/// Reads some of the rest of a record's body into `body`; returns the number of bytes, 0 once it is complete.
pub async fn read_part(
    reader: &mut (impl AsyncRead + Unpin),
    head: Head,
    body: &mut Vec<u8>,
) -> Result<usize, ProtocolError> {
    let missing = head.bytes - body.len();
    if missing == 0 {
        return match head.checksum == crc32fast::hash(body) {
            true => Ok(0),
            false => Err(ProtocolError::Checksum),
        };
    }
    body.reserve_exact(missing);
    match reader.take(missing as u64).read_buf(body).await.map_err(ProtocolError::Truncated)? {
        0 => Err(ProtocolError::Truncated(std::io::ErrorKind::UnexpectedEof.into())),
        read => Ok(read),
    }
}

/// Reads the next record's body into `body`; returns false if the other side closed properly.
pub async fn read_record(
    reader: &mut (impl AsyncRead + Unpin),
    most: usize,
    body: &mut Vec<u8>,
) -> Result<bool, ProtocolError> {
    let Some(head) = read_head(reader, most).await? else { return Ok(false) };
    body.clear();
    while read_part(reader, head, body).await? > 0 {}
    Ok(true)
}

/// Decodes a frame. Its values stay in the memory of `body`.
pub fn frame(mut body: Vec<u8>) -> Result<Frame, ProtocolError> {
    let mut rest = &body[..];
    type Head = (u64, Vec<u64>, Vec<SampleName>, Vec<SampleClass>, u64);
    let read = options(body.len()).deserialize_from::<_, Head>(&mut rest);
    let (first, ids, names, classes, bytes) = read.map_err(ProtocolError::Malformed)?;
    if bytes != rest.len() as u64 {
        let reason = format!("{bytes} bytes of values where {} are", rest.len());
        return Err(ProtocolError::Malformed(bincode::ErrorKind::Custom(reason).into()));
    }
    let before = body.len() - rest.len();
    body.drain(..before);
    Ok(Frame { first, block: Block { ids, names, classes, bytes: body } })
}

/// Decodes a record's body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProtocolError> {
    options(body.len()).deserialize(body).map_err(ProtocolError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample_id::SampleId;

    fn block() -> Block {
        let classes = vec![SampleClass { at: 0, class: 1 }, SampleClass { at: 1, class: 9 }];
        let mut block = Block { classes, bytes: (0..64).collect(), ..Block::default() };
        block.push_id(SampleId::number(1 << 50));
        block.push_id(SampleId::plain("a-7").unwrap());
        block
    }

    fn read(bytes: &[u8], most: usize) -> Result<Option<Vec<u8>>, ProtocolError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut body = Vec::new();
        let read = runtime.block_on(read_record(&mut &bytes[..], most, &mut body))?;
        Ok(read.then_some(body))
    }

    #[test]
    fn a_frame_is_sent_as_what_it_is() {
        let frame = Frame { first: 7, block: block() };
        let sent = [frame_head(7, &block()), block().bytes].concat();
        assert_eq!(sent, record(&frame));
        let body = read(&sent, 1000).unwrap().unwrap();
        assert_eq!(decode::<Frame>(&body).unwrap(), frame);
        assert_eq!(super::frame(body.clone()).unwrap(), frame);
        let named = name_bytes(&block().names[0].name);
        assert_eq!(body.len(), frame_bytes(2, 32) + named);
        assert_eq!(samples_in(body.len() - named, 32), 2);
        assert_eq!(samples_in(body.len() - named - 1, 32), 1);
        assert!(read(&[], 1000).unwrap().is_none());
    }

    #[test]
    fn what_is_damaged_is_named() {
        let whole = record(&Frame { first: 7, block: block() });
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut], 1000).unwrap_err().reason(), "truncated", "{cut}");
        }
        let mut flipped = whole.clone();
        flipped[50] ^= 1;
        assert_eq!(read(&flipped, 1000).unwrap_err().reason(), "checksum");
        assert_eq!(read(&whole, 100).unwrap_err().to_string(), {
            "a record of 152 bytes is too long: at most 100 are taken"
        });
        assert_eq!(decode::<Frame>(&whole[8..20]).unwrap_err().reason(), "malformed");
        // A false length causes no allocation.
        for lie in [
            [0, u64::MAX, 0, 0, 0],
            [0, 0, u64::MAX, 0, 0],
            [0, 0, 0, u64::MAX, 0],
            [0, 0, 0, 0, u64::MAX],
            [0, 1 << 40, 0, 0, 0],
            [0, 0, 0, 0, 1],
        ] {
            let lie: Vec<u8> = lie.iter().flat_map(|number: &u64| number.to_le_bytes()).collect();
            assert_eq!(decode::<Frame>(&lie).unwrap_err().reason(), "malformed");
            assert_eq!(frame(lie).unwrap_err().reason(), "malformed");
        }
        assert_eq!(frame(whole[8..20].to_vec()).unwrap_err().reason(), "malformed");
    }

    #[test]
    fn progress_does_not_depend_on_how_frames_are_cut() {
        let mut whole = ClientProgress::default();
        whole.add(&block(), 2);
        let mut parts = ClientProgress::default();
        for at in 0..2 {
            let bytes = block().bytes[32 * at..32 * at + 32].to_vec();
            let (names, classes) = (block().names_in(at..at + 1), block().classes_in(at..at + 1));
            let part = Block { ids: vec![block().ids[at]], names, classes, bytes };
            parts.add(&part, 1);
        }
        assert_eq!(whole, parts);
        assert!(whole.values != 0 && whole.labels != 0);
        let mut unlabelled = ClientProgress::default();
        unlabelled.add(&Block { classes: Vec::new(), ..block() }, 2);
        assert_eq!(unlabelled, ClientProgress { labels: 0, ..whole });
    }
}

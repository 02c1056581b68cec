//! Frames: what processes send each other once they have met. A head of 16 bytes in little endian: length of the body (8),
//! number (4), worker (2), kind (1), nothing (1); then the body. A frame longer than agreed ends the connection, and a body takes
//! memory only as it arrives.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes of a frame's head.
pub const HEAD: usize = 16;
/// Memory that is taken for a body before any of it is there.
const FIRST: usize = 1 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A sign of life.
    Beat,
    /// Head to another: the job. The processes are complete.
    Begin,
    /// To the head: the worker is built.
    Ready,
    /// Head to a worker: its part of a step, to be scored.
    Score,
    /// Head to a worker: what it trains on.
    Learn,
    /// To the head: a worker's scores.
    Scored,
    /// To the head: hash of a worker's weights.
    Weights,
    /// A piece of a sum over the workers before, to the next process.
    Sum,
    /// A piece of a sum over all workers.
    Total,
    /// To the head: the process was asked to stop.
    Stop,
    /// The job has failed; the body is the exit code (1 byte) and the reason.
    Failed,
    /// Head to another: the job has ended.
    End,
}

const KINDS: [Kind; 12] = [
    Kind::Beat,
    Kind::Begin,
    Kind::Ready,
    Kind::Score,
    Kind::Learn,
    Kind::Scored,
    Kind::Weights,
    Kind::Sum,
    Kind::Total,
    Kind::Stop,
    Kind::Failed,
    Kind::End,
];

/// One message. Clones share the body.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The worker that it is for, or from.
    pub worker: u16,
    /// Number of a piece.
    pub number: u32,
    /// The content.
    pub body: bytes::Bytes,
}

impl Frame {
    /// Creates a frame without number.
    pub fn new(kind: Kind, worker: usize, body: impl Into<bytes::Bytes>) -> Self {
        Self { kind, worker: worker as u16, number: 0, body: body.into() }
    }

    /// Creates a frame without content.
    pub fn empty(kind: Kind) -> Self {
        Self::new(kind, 0, Vec::new())
    }

    /// Returns its bytes on the wire.
    pub fn bytes(&self) -> u64 {
        (HEAD + self.body.len()) as u64
    }
}

/// Writes a frame.
pub async fn write(writer: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Result<()> {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&(frame.body.len() as u64).to_le_bytes());
    head[8..12].copy_from_slice(&frame.number.to_le_bytes());
    head[12..14].copy_from_slice(&frame.worker.to_le_bytes());
    head[14] = frame.kind as u8;
    writer.write_all(&head).await?;
    writer.write_all(&frame.body).await
}

/// Reads a frame of at most `most` bytes; None at the end of the connection. Nothing for longer than `patience` is an error.
pub async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    most: u64,
    patience: Duration,
) -> Result<Option<Frame>> {
    let mut head = Vec::with_capacity(HEAD);
    if !fill(reader, &mut head, HEAD, patience).await? {
        return Ok(None);
    }
    let number = |range: std::ops::Range<usize>| {
        head[range].iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte))
    };
    let length = number(0..8);
    let kind = KINDS.get(head[14] as usize).filter(|_| length <= most);
    let kind = *kind.ok_or_else(|| Error::new(ErrorKind::InvalidData, "it sends what no process sends"))?;
    let mut body = Vec::with_capacity((length as usize).min(FIRST));
    if length > 0 && !fill(reader, &mut body, length as usize, patience).await? {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Frame { kind, worker: number(12..14) as u16, number: number(8..12) as u32, body: body.into() }))
}

/// Reads until `bytes` has `length`. Returns false if the connection ends before the first byte.
async fn fill(
    reader: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    length: usize,
    patience: Duration,
) -> Result<bool> {
    while bytes.len() < length {
        let mut rest = (&mut *reader).take((length - bytes.len()) as u64);
        let read = timeout(patience, rest.read_buf(bytes)).await;
        let silent =
            |_| Error::new(ErrorKind::TimedOut, format!("no sign of life for {} s", patience.as_secs()));
        match read.map_err(silent)?? {
            0 if bytes.is_empty() => return Ok(false),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn written(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, frame).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_frame_comes_as_it_was_sent_or_not_at_all() {
        let frame = Frame { number: 70_000, ..Frame::new(Kind::Sum, 300, vec![7; 10]) };
        let bytes = written(&frame).await;
        assert_eq!(bytes.len() as u64, frame.bytes());
        let got = read(&mut &bytes[..], 10, PATIENCE).await.unwrap().unwrap();
        assert_eq!(
            (got.kind, got.worker, got.number, got.body),
            (Kind::Sum, 300, 70_000, frame.body.clone())
        );
        assert!(read(&mut &[][..], 10, PATIENCE).await.unwrap().is_none());
        assert!(read(&mut &bytes[..], 9, PATIENCE).await.is_err(), "longer than agreed");
        for end in 1..bytes.len() {
            assert!(read(&mut &bytes[..end], 10, PATIENCE).await.is_err(), "cut at {end}");
        }
        for kind in KINDS {
            let frame = Frame::empty(kind);
            let got = read(&mut &written(&frame).await[..], 0, PATIENCE).await.unwrap().unwrap();
            assert_eq!(got.kind, kind);
        }
    }

    #[tokio::test]
    async fn silence_is_an_error() {
        let (mut one, _other) = tokio::io::duplex(64);
        let error = read(&mut one, 10, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.to_string().contains("no sign of life for 1 s"), "{error}");
    }
}

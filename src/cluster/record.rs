//! What two processes say before they trust each other: a line that names the protocol, then short records of JSON. Whoever
//! speaks something else is a stranger, and nothing that it sends takes more than 4 KiB or a few seconds.

use crate::cluster::net::within;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The first bytes of both sides.
pub const PREAMBLE: &[u8; 20] = b"sluicebox cluster 1\n";
/// Longest record.
const MOST: usize = 4096;
/// Time that the other side has for each of its records.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the first bytes. What was sent instead is the error.
pub async fn preamble(reader: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    let mut first = [0; PREAMBLE.len()];
    within(PATIENCE, reader.read_exact(&mut first)).await?;
    match first == *PREAMBLE {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidData, format!("{:?}", String::from_utf8_lossy(&first)))),
    }
}

/// Reads a record.
pub async fn read<T: DeserializeOwned>(reader: &mut (impl AsyncRead + Unpin)) -> Result<T> {
    let length = within(PATIENCE, reader.read_u32_le()).await? as usize;
    if length > MOST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    within(PATIENCE, reader.read_exact(&mut body)).await?;
    serde_json::from_slice(&body).map_err(Error::from)
}

/// Writes a record.
pub async fn write(writer: &mut (impl AsyncWrite + Unpin), record: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(record)?;
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(body);
    within(PATIENCE, writer.write_all(&bytes)).await?;
    within(PATIENCE, writer.flush()).await
}

/// Lets the other side read what was said last: a connection that is closed while input waits loses it.
pub async fn part(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _ = within(PATIENCE, stream.shutdown()).await; // the other side may be gone
    let _ = within(Duration::from_secs(1), tokio::io::copy(stream, &mut tokio::io::sink())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_record_takes_no_memory() {
        let claims = [&u32::MAX.to_le_bytes()[..], b"\"x\""].concat();
        assert!(read::<String>(&mut &claims[..]).await.is_err());
        let mut written = Vec::new();
        write(&mut written, &"x".repeat(MOST - 2)).await.unwrap();
        assert_eq!(read::<String>(&mut &written[..]).await.unwrap().len(), MOST - 2);
        written.clear();
        write(&mut written, &"x".repeat(MOST - 1)).await.unwrap();
        assert!(read::<String>(&mut &written[..]).await.is_err());
    }
}

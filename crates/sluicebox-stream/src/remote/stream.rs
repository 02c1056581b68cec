//! A file elsewhere as a stream of bytes, read at most 4 MiB ahead. A stream that breaks goes on where it broke; the file
//! must still be the same.

use crate::remote::fault::{self, Fault};
use crate::remote::location::Location;
use crate::remote::thread;
use bytes::Bytes;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use tokio_stream::StreamExt;

/// Largest piece that is passed on, in bytes.
const PIECE: usize = 1 << 18;
/// Pieces that wait to be read.
const AHEAD: usize = 16;
/// Longest time without a byte.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest pause before a stream that broke goes on.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

enum Piece {
    /// The file was found.
    Begin,
    Bytes(Bytes),
    End,
    Fault(Fault),
}

struct Streamed {
    location: Location,
    pieces: Receiver<Piece>,
    /// What of the last piece is still to be read.
    rest: Bytes,
    ended: bool,
}

/// Opens a file from byte `offset` on. Fails if the file cannot be found or reached.
pub fn stream(path: &Path, offset: u64) -> io::Result<impl Read + Send + 'static> {
    let location = Location::of(path)?;
    fault::keep(&location, None);
    let (send, pieces) = channel(AHEAD);
    thread::set_up()?.spawn(fetch(location.clone(), offset, send));
    let mut streamed = Streamed { location, pieces, rest: Bytes::new(), ended: false };
    streamed.advance()?;
    Ok(streamed)
}

impl Streamed {
    fn advance(&mut self) -> io::Result<()> {
        match self.pieces.blocking_recv() {
            Some(Piece::Begin) => {}
            Some(Piece::Bytes(bytes)) => self.rest = bytes,
            Some(Piece::End) => self.ended = true,
            Some(Piece::Fault(fault)) => {
                fault::keep(&self.location, Some(&fault));
                return Err(fault.into());
            }
            None => return Err(io::Error::other("the thread that reads it has ended")),
        }
        Ok(())
    }
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended && !buffer.is_empty() {
            self.advance()?;
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Passes on the bytes of a file until its end, or until nobody reads them.
async fn fetch(location: Location, offset: u64, send: Sender<Piece>) {
    let mut fetching = Fetching { location, at: offset, first: None };
    let piece = match fetching.run(&send).await {
        Ok(()) => Piece::End,
        Err(fault) => Piece::Fault(fault),
    };
    let _ = send.send(piece).await; // nobody reads it any more
}

struct Fetching {
    location: Location,
    /// Next byte.
    at: u64,
    /// What the file was when it was opened.
    first: Option<ObjectMeta>,
}

impl Fetching {
    async fn run(&mut self, send: &Sender<Piece>) -> Result<(), Fault> {
        let (mut progress, mut pause) = (Instant::now(), Duration::from_millis(500));
        loop {
            let before = self.at;
            let fault = match self.pass_on(send).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            if self.at > before {
                (progress, pause) = (Instant::now(), Duration::from_millis(500));
            }
            // What cannot be opened at all is told soon: the request was repeated already.
            if !fault.passing || self.first.is_none() || progress.elapsed() > PATIENCE {
                return Err(fault);
            }
            tracing::warn!(
                "{}: at byte {}: {}; reading goes on from there",
                self.location.url,
                self.at,
                fault.text
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Passes on bytes until the end, a fault, or until nobody reads them.
    async fn pass_on(&mut self, send: &Sender<Piece>) -> Result<(), Fault> {
        let result = self.get().await?;
        let mut skipped = self.at - result.range.start.min(self.at);
        let size = result.meta.size;
        match &self.first {
            None => {
                self.first = Some(result.meta.clone());
                if send.send(Piece::Begin).await.is_err() {
                    return Ok(());
                }
            }
            Some(first)
                if (&first.e_tag, first.size, first.last_modified)
                    != (&result.meta.e_tag, size, result.meta.last_modified) =>
            {
                return Err(Fault::lasting("the file was changed while it was read"));
            }
            Some(_) => {}
        }
        let mut body = result.into_stream();
        while self.at < size {
            let Some(next) = body.next().await else {
                let text = format!("the answer ends at byte {} of {size}", self.at);
                return Err(Fault { passing: true, ..Fault::lasting(&text) });
            };
            let mut bytes = next.map_err(|error| Fault::of(&self.location, &error))?;
            let left_out = skipped.min(bytes.len() as u64);
            skipped -= left_out;
            bytes = bytes.split_off(left_out as usize);
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                self.at += piece.len() as u64;
                if send.send(Piece::Bytes(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Asks for the file from the next byte on, or for the whole of it where the server gives no parts.
    async fn get(&self) -> Result<GetResult, Fault> {
        let Location { store, key, .. } = &self.location;
        let fault = |error| Fault::of(&self.location, &error);
        if self.at == 0 {
            return store.get_opts(key, GetOptions::default()).await.map_err(fault);
        }
        let head = GetOptions { head: true, ..GetOptions::default() };
        let range = match &self.first {
            Some(first) => self.at..first.size,
            None => self.at..store.get_opts(key, head.clone()).await.map_err(fault)?.meta.size,
        };
        if range.is_empty() {
            return store.get_opts(key, head).await.map_err(fault); // nothing is left
        }
        let part = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match store.get_opts(key, part).await {
            Err(object_store::Error::NotSupported { .. }) => {
                store.get_opts(key, GetOptions::default()).await.map_err(fault)
            }
            other => other.map_err(fault),
        }
    }
}

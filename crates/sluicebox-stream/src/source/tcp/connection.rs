//! One connection of a feeder: hello, frames, acknowledgements, and the rejection that ends it.
//!
//! Two loops share it. One reads and checks frames while earlier ones are being written to disk;
//! the other hands them to the log in order, as many at once as have arrived, and acknowledges them
//! when they are durable.
//!
//! A hello has at most 16 KiB and 10 s. A frame takes room that all connections share before it is read, and must
//! keep the pace of [`pace`](crate::pace) from its first byte on.

use crate::ingest::Refusal;
use crate::pace::{Pace, Patience, TooSlow};
use crate::places::Place;
use crate::protocol;
use crate::protocol::{Accepted, Ack, ClientProgress, Frame, Hello, ProtocolError, Rejection, Reply};
use crate::source::tcp::clients::Turn;
use crate::source::tcp::shared::Shared;
use sluicebox_core::sample::{Block, sample_bytes};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// Time limit for a feeder's hello, and for accepting a reply.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Time for which input is still drained after the reply that ends a connection.
const PARTING: Duration = Duration::from_secs(2);
/// Frames of one connection that may wait for the log.
const QUEUE: usize = 64;
/// Bytes handed to the log at once, unless one frame alone has more.
const GROUP: usize = 4 << 20;
/// A group, without its last frame, holds at most this fraction (1/4) of what the log takes at once. A
/// frame is at most half of that, which leaves room for the heads of records.
const SHARE: u64 = 4;
/// Bytes that a frame counts towards a group besides its samples: at least those of a record's head.
const FRAME: usize = 128;

/// Message from the reading loop to the loop that writes to the log.
enum Item {
    /// New samples, the client's progress after them, and their room.
    Samples { block: Block, progress: ClientProgress, room: OwnedSemaphorePermit },
    /// Repeated samples: they are acknowledged again.
    Known,
    /// A rejection that ends the connection.
    Rejected(Rejection),
}

/// Serves a connection to its end. Without a place, only sends the rejection.
pub async fn serve<S: AsyncRead + AsyncWrite>(stream: S, shared: &Shared, place: Result<&Place, Rejection>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let mut greeted = false;
    if let Err(rejection) = feed(&mut reader, &mut writer, shared, place, &mut greeted).await {
        let mut reply = if greeted { Vec::new() } else { protocol::preamble().to_vec() };
        reply.extend(protocol::record(&Reply::Rejected(rejection)));
        send(&mut writer, &reply).await;
    }
    let _ = timeout(PATIENCE, writer.shutdown()).await; // the feeder may be gone
    // Further input is drained: otherwise the reply could be lost when the connection closes.
    let _ = timeout(PARTING, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
}

/// Admits a feeder and takes its samples, or returns why it is refused. Sets `greeted` once the preamble is sent.
async fn feed<S: AsyncRead + AsyncWrite>(
    reader: &mut (impl AsyncBufRead + Unpin),
    writer: &mut WriteHalf<S>,
    shared: &Shared,
    place: Result<&Place, Rejection>,
    greeted: &mut bool,
) -> Result<(), Rejection> {
    let hello = timeout(PATIENCE, hello(reader, shared)).await;
    let place = place?;
    let Hello { client, .. } = hello.unwrap_or_else(|_| {
        Err(reject(shared, "slow-hello", "the feeder sent no hello within 10 s", true))
    })?;
    place.admit();
    // The rest may wait until the log has room. The preamble tells the feeder that a job is here.
    *greeted = true;
    if send(writer, &protocol::preamble()).await.is_none() {
        return Ok(());
    }
    let mut turn = shared.clients.enter(&client).await.ok_or_else(|| replaced(shared))?;
    let progress = shared.progress(&client).map_err(|refusal| refused(&refusal, ""))?;
    tracing::debug!("feeder `{client}` connected; it continues at sample {}", progress.samples);
    let accepted = Accepted {
        format: shared.ingest.format().clone(),
        taken: progress,
        max_frame_bytes: shared.max_frame_bytes as u32,
    };
    if send(writer, &protocol::record(&Reply::Accepted(accepted))).await.is_some() {
        let (queue, inbox) = mpsc::channel(QUEUE);
        tokio::join!(
            read(reader, shared, &mut turn, progress, queue),
            take(writer, shared, &client, progress, inbox),
        );
        tracing::debug!("feeder `{client}` disconnected");
    }
    Ok(()) // both loops have ended, so the connection that takes over sees their progress
}

/// Reads and checks the hello.
async fn hello(reader: &mut (impl AsyncRead + Unpin), shared: &Shared) -> Result<Hello, Rejection> {
    let wrong = |error: ProtocolError| protocol_rejection(shared, &error);
    let mut body = Vec::new();
    protocol::read_preamble(reader).await.map_err(wrong)?;
    protocol::read_record(reader, protocol::HELLO_BYTES, &mut body).await.map_err(wrong)?;
    let hello: Hello = protocol::decode(&body).map_err(wrong)?;
    if !shared.access.admits(hello.token.as_deref()) {
        let text = match hello.token {
            Some(_) => "the token is wrong",
            None => "this job requires a token (--token-file or SLUICEBOX_TOKEN)",
        };
        return Err(reject(shared, "bad-token", text, false));
    }
    let characters = hello.client.chars().count();
    let most = protocol::CLIENT_ID_CHARACTERS;
    if !(1..=most).contains(&characters) || hello.client.chars().any(char::is_control) {
        let text = format!("a client id has 1 to {most} characters that can be printed, not {characters}");
        return Err(reject(shared, "bad-client-id", &text, false));
    }
    let format = shared.ingest.format();
    if let Some(shape) = hello.shape.filter(|shape| *shape != format.shape) {
        let text = format!("samples of {shape} were announced, but this job takes {}", format.shape);
        return Err(reject(shared, "bad-shape", &text, false));
    }
    if let Some(dtype) = hello.dtype.filter(|dtype| *dtype != format.dtype) {
        let (given, wanted) = (dtype.name(), format.dtype.name());
        let text = format!("values of type {given} were announced, but this job takes {wanted}");
        return Err(reject(shared, "bad-dtype", &text, false));
    }
    Ok(hello)
}

/// Reads frames until the feeder, the job or a fault ends the connection.
async fn read(
    reader: &mut (impl AsyncBufRead + Unpin),
    shared: &Shared,
    turn: &mut Turn,
    mut progress: ClientProgress,
    queue: mpsc::Sender<Item>,
) {
    let mut listening = shared.listening.clone();
    loop {
        let next = tokio::select! {
            next = next_frame(reader, shared) => next,
            () = turn.replaced() => break end(queue, replaced(shared)).await,
            _ = listening.changed() => break end(queue, ended()).await,
            () = queue.closed() => break,
        };
        let (Frame { first, block }, room) = match next {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(rejection) => break end(queue, rejection).await,
        };
        let count = (block.bytes.len() / sample_bytes(shared.ingest.format())) as u64;
        if first.saturating_add(count) <= progress.samples {
            if queue.send(Item::Known).await.is_err() {
                break;
            }
            continue;
        }
        if first != progress.samples {
            let text = format!("a frame begins with sample {first}, but {} is next", progress.samples);
            break end(queue, reject(shared, "gap", &text, false)).await;
        }
        progress.add(&block, count);
        if queue.send(Item::Samples { block, progress, room }).await.is_err() {
            break;
        }
    }
}

/// Reads the next frame, after taking room for it; None if the feeder closed properly. The feeder may take any time
/// between frames, but not within one.
async fn next_frame(
    reader: &mut (impl AsyncBufRead + Unpin),
    shared: &Shared,
) -> Result<Option<(Frame, OwnedSemaphorePermit)>, Rejection> {
    let wrong = |error: ProtocolError| protocol_rejection(shared, &error);
    let slow = |TooSlow| reject(shared, "slow-frame", "a frame arrived too slowly; it is discarded", true);
    let began = reader.fill_buf().await.map_err(|error| wrong(ProtocolError::Truncated(error)))?;
    if began.is_empty() {
        return Ok(None);
    }
    let mut pace = Pace::new(Patience::default());
    let is_wanted = || shared.room.is_wanted();
    let head = pace.wait_for(is_wanted, protocol::read_head(reader, shared.max_frame_bytes)).await;
    let Some(head) = head.map_err(slow)?.map_err(wrong)? else { return Ok(None) };
    let room = shared.room.take(head.bytes).await.map_err(|_| ended())?;
    let mut body = Vec::new();
    loop {
        let part = pace.wait_for(is_wanted, protocol::read_part(reader, head, &mut body)).await;
        match part.map_err(slow)?.map_err(wrong)? {
            0 => break,
            bytes => pace.receive(bytes),
        }
    }
    let frame = protocol::frame(body).map_err(wrong)?;
    Ok(Some((frame, room)))
}

async fn end(queue: mpsc::Sender<Item>, rejection: Rejection) {
    let _ = queue.send(Item::Rejected(rejection)).await; // the other loop may have ended by itself
}

/// Hands samples to the log and acknowledges them, until there are no more or a frame is refused.
async fn take<W: AsyncWrite>(
    writer: &mut WriteHalf<W>,
    shared: &Shared,
    client: &str,
    mut durable: ClientProgress,
    mut inbox: mpsc::Receiver<Item>,
) {
    let mut repeated = 0;
    let log = shared.ingest.log();
    let group = GROUP.min((log.most_at_once() / SHARE) as usize);
    while let Some(first) = inbox.recv().await {
        let (mut blocks, mut ends, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut last, mut item) = (0, None, Some(first));
        while let Some(present) = item.take() {
            match present {
                Item::Samples { block, progress, room } => {
                    let names: usize = block.names.iter().map(|one| protocol::name_bytes(&one.name)).sum();
                    bytes += block.bytes.len() + 8 * (block.ids.len() + block.classes.len()) + names + FRAME;
                    blocks.push((block, Some(shared.mark(client, progress))));
                    ends.push(progress);
                    rooms.push(room);
                }
                Item::Known => {}
                Item::Rejected(rejection) => last = Some(rejection),
            }
            // While the log is full, each connection proceeds one frame at a time, so that all
            // progress evenly.
            if bytes < group && last.is_none() && log.has_room(2 * group) {
                item = inbox.try_recv().ok();
            }
        }
        if !blocks.is_empty() {
            let (taken, ended) = shared.ingest.take_all(shared.stream, blocks).await;
            repeated += taken.iter().map(|taken| taken.repeated as u64).sum::<u64>();
            if let Some(at) = taken.len().checked_sub(1) {
                durable = ends[at];
            }
            if let Err(refusal) = ended {
                let samples = format!("a frame that begins with sample {}: ", durable.samples);
                last = Some(refused(&refusal, &samples));
            }
        }
        drop(rooms);
        let ack = Reply::Ack(Ack { samples: durable.samples, repeated });
        let mut reply = protocol::record(&ack);
        let is_last = last.is_some();
        last.into_iter().for_each(|rejection| reply.extend(protocol::record(&Reply::Rejected(rejection))));
        if send(writer, &reply).await.is_none() || is_last {
            break;
        }
    }
}

/// Sends to a feeder; returns None if it is gone or does not read.
async fn send<W: AsyncWrite>(writer: &mut WriteHalf<W>, bytes: &[u8]) -> Option<()> {
    let sent = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    timeout(PATIENCE, sent).await.ok()?.ok()
}

fn reject(shared: &Shared, reason: &'static str, text: &str, passing: bool) -> Rejection {
    shared.ingest.count(reason);
    tracing::debug!("feeder refused: {reason}: {text}");
    Rejection { reason: reason.into(), text: text.into(), passing }
}

fn protocol_rejection(shared: &Shared, error: &ProtocolError) -> Rejection {
    reject(shared, error.reason(), &error.to_string(), error.is_passing())
}

fn replaced(shared: &Shared) -> Rejection {
    let text =
        "another feeder with the same client id has taken over; each feeder needs its own (--client-id)";
    reject(shared, "replaced", text, false)
}

fn ended() -> Rejection {
    Rejection { reason: "ended".into(), text: "the job has ended".into(), passing: true }
}

/// Returns the fault for a refusal that the ingest gate has already counted.
fn refused(refusal: &Refusal, samples: &str) -> Rejection {
    let passing = matches!(refusal, Refusal::Full | Refusal::Disk(_) | Refusal::Failed(_));
    Rejection { reason: refusal.reason().into(), text: format!("{samples}{refusal}"), passing }
}

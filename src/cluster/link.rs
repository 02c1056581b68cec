//! A connection to another process: frames out in their order, frames in as they come, and a sign of life each second in both
//! directions. A process from which nothing comes for 10 s is gone: it was stopped, its machine is, or the network. Frames that
//! wait to be sent are those of the steps under way and of one sum. A failure is the last frame of its direction: the other side,
//! which then sees the end of the connection, closes it, so nobody waits for the other.

use crate::cluster::frame::{self, Frame, Kind};
use parking_lot::{Condvar, Mutex};
use sluicebox_core::error::{Error, Result};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

/// Interval of signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// Longest time without a byte.
const SILENCE: Duration = Duration::from_secs(10);
/// Buffer of each direction; longer bodies go past it.
const BUFFER: usize = 64 << 10;

/// Whoever takes the frames of a link.
pub trait Inlet: Send + Sync + 'static {
    /// Takes a frame. Must not block.
    ///
    /// # Errors
    /// What is wrong with it: it ends the connection.
    fn take(&self, frame: Frame) -> Result<(), String>;

    /// The connection has ended, for this reason. Called once, after all frames.
    fn lost(&self, reason: &str);
}

/// A connection to another process; clones share it.
#[derive(Clone)]
pub struct Link {
    name: Arc<str>,
    outbox: UnboundedSender<Frame>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Longest body that is taken.
    most: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Debug for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Link {
    /// Starts a link over a stream. `name` names the other side; `inlet` takes its frames, of which each has at most `most` bytes.
    pub fn start(
        runtime: &Handle,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        name: &str,
        most: u64,
        inlet: impl Inlet,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (outbox, frames) = unbounded_channel();
        let shared = Arc::new(Shared { most: most.into(), ..Shared::default() });
        let [reading, writing, ending] = std::array::from_fn(|_| shared.clone());
        let sender = runtime.spawn(async move {
            if let Err(error) = send(BufWriter::with_capacity(BUFFER, writer), frames, &writing).await {
                tracing::debug!("a link to another process does not take frames: {error}");
            }
        });
        let inlet = Arc::new(inlet);
        let takes = inlet.clone();
        let receiver = runtime
            .spawn(async move { receive(BufReader::with_capacity(BUFFER, reader), &reading, &*takes).await });
        runtime.spawn(async move {
            let ended = receiver.await; // a panic must not look like a connection that lives
            let reason = ended.unwrap_or_else(|error| format!("its frames cannot be taken: {error}"));
            sender.abort();
            inlet.lost(&reason);
            *ending.is_over.lock() = true;
            ending.over.notify_all();
        });
        Self { name: name.into(), outbox, shared }
    }

    /// Returns the other side's name, such as "process 1 at 10.0.0.2:41000".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a frame, after those before it. Does not wait.
    ///
    /// # Errors
    /// [`Error::Engine`] if the connection has ended.
    pub fn send(&self, frame: Frame) -> Result<()> {
        let gone = |_| Error::Engine(format!("{} is gone", self.name));
        self.outbox.send(frame).map_err(gone)
    }

    /// Sets the longest body that is taken from now on.
    pub fn take_at_most(&self, bytes: u64) {
        self.shared.most.store(bytes, Ordering::Relaxed);
    }

    /// Returns the number of bytes sent and received so far, without signs of life.
    pub fn bytes(&self) -> (u64, u64) {
        (self.shared.sent.load(Ordering::Relaxed), self.shared.received.load(Ordering::Relaxed))
    }

    /// Waits until the other side has closed the connection, at most for `patience`.
    pub fn await_end(&self, patience: Duration) {
        let mut is_over = self.shared.is_over.lock();
        self.shared.over.wait_while_for(&mut is_over, |is_over| !*is_over, patience);
    }
}

async fn send(
    mut writer: BufWriter<impl AsyncWrite + Unpin>,
    mut frames: UnboundedReceiver<Frame>,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            biased;
            frame = frames.recv() => frame,
            _ = beats.tick() => Some(Frame::empty(Kind::Beat)),
        };
        let Some(frame) = frame else { return writer.shutdown().await };
        frame::write(&mut writer, &frame).await?;
        if frame.kind != Kind::Beat {
            shared.sent.fetch_add(frame.bytes(), Ordering::Relaxed);
        }
        if frame.kind == Kind::Failed {
            return writer.shutdown().await;
        }
        if frames.is_empty() {
            writer.flush().await?;
        }
    }
}

/// Takes frames until the connection ends; returns why it has.
async fn receive(
    mut reader: BufReader<impl AsyncRead + Unpin>,
    shared: &Shared,
    inlet: &impl Inlet,
) -> String {
    loop {
        let most = shared.most.load(Ordering::Relaxed);
        match frame::read(&mut reader, most, SILENCE).await {
            Ok(Some(Frame { kind: Kind::Beat, .. })) => {}
            Ok(Some(frame)) => {
                shared.received.fetch_add(frame.bytes(), Ordering::Relaxed);
                if let Err(reason) = inlet.take(frame) {
                    return reason;
                }
            }
            Ok(None) => return "it has closed the connection".into(),
            Err(error) => return error.to_string(),
        }
    }
}

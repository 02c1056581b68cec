//! One connection: sends the unacknowledged frames, then new ones, and receives acknowledgements.

use crate::feed::connection::{Connection, Failure, Reader, Stream};
use crate::feed::queue::SampleQueue;
use crate::feed::rate::RateLimit;
use crate::feed::unacknowledged::Unacknowledged;
use sluicebox_stream::protocol::{Reply, write_frame};
use std::cell::RefCell;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// Time to wait for the fault that says why a connection broke.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Feeds until every sample read is acknowledged.
pub async fn run(
    connection: Connection,
    queue: &SampleQueue,
    unacknowledged: &RefCell<Unacknowledged>,
    rate_limit: &RefCell<RateLimit>,
) -> Result<(), Failure> {
    let Connection { mut reader, mut writer, accepted } = connection;
    let acknowledged = Notify::new();
    let hearing = hear(&mut reader, unacknowledged, &acknowledged);
    tokio::pin!(hearing);
    let sending = async {
        send(&mut writer, accepted.taken.samples, queue, unacknowledged, rate_limit, &acknowledged).await?;
        while unacknowledged.borrow().waiting() > 0 {
            acknowledged.notified().await;
        }
        writer.shutdown().await
    };
    tokio::select! {
        failure = &mut hearing => Err(failure),
        sent = sending => match sent {
            Ok(()) => Ok(()),
            // The job may have sent the reason.
            Err(error) => match timeout(LAST_WORDS, hearing).await {
                Ok(failure @ Failure::Lasting(_)) => Err(failure),
                _ => Err(Failure::Passing(format!("the connection broke: {error}"))),
            },
        },
    }
}

async fn send(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    mut next: u64,
    queue: &SampleQueue,
    unacknowledged: &RefCell<Unacknowledged>,
    rate_limit: &RefCell<RateLimit>,
    acknowledged: &Notify,
) -> std::io::Result<()> {
    loop {
        let again = unacknowledged.borrow().at(next);
        let frame = match again {
            Some(frame) => frame,
            None => {
                while unacknowledged.borrow().is_full() {
                    acknowledged.notified().await;
                }
                let Some((block, count)) = queue.take().await else { return Ok(()) };
                let at = rate_limit.borrow_mut().admit(count, Instant::now());
                let frame = unacknowledged.borrow_mut().push(block, count);
                sleep_until(at).await;
                frame
            }
        };
        write_frame(writer, frame.first, &frame.block).await?;
        writer.flush().await?;
        next = frame.first + frame.count;
    }
}

/// Receives acknowledgements until the connection fails.
async fn hear(
    reader: &mut Reader,
    unacknowledged: &RefCell<Unacknowledged>,
    acknowledged: &Notify,
) -> Failure {
    loop {
        match reader.reply().await {
            Ok(Reply::Ack(ack)) => unacknowledged.borrow_mut().acknowledge(ack.samples, ack.repeated),
            Ok(_) => return Failure::Lasting("protocol error: the job accepted the hello twice".into()),
            Err(failure) => return failure,
        }
        acknowledged.notify_one();
    }
}

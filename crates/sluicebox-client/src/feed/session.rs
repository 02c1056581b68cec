//! One connection: sends the unacknowledged frames, then new ones, and receives acknowledgements.

use crate::feed::connection::{Connection, Failure, Reader, Stream};
use crate::feed::queue::SampleQueue;
use crate::feed::rate::Pace;
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
    hopper: &SampleQueue,
    outbox: &RefCell<Unacknowledged>,
    pace: &RefCell<Pace>,
) -> Result<(), Failure> {
    let Connection { mut reader, mut writer, accepted } = connection;
    let acknowledged = Notify::new();
    let hearing = hear(&mut reader, outbox, &acknowledged);
    tokio::pin!(hearing);
    let sending = async {
        send(&mut writer, accepted.taken.samples, hopper, outbox, pace, &acknowledged).await?;
        while outbox.borrow().waiting() > 0 {
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
    hopper: &SampleQueue,
    outbox: &RefCell<Unacknowledged>,
    pace: &RefCell<Pace>,
    acknowledged: &Notify,
) -> std::io::Result<()> {
    loop {
        let again = outbox.borrow().at(next);
        let frame = match again {
            Some(frame) => frame,
            None => {
                while outbox.borrow().is_full() {
                    acknowledged.notified().await;
                }
                let Some((block, count)) = hopper.take().await else { return Ok(()) };
                let at = pace.borrow_mut().admit(count, Instant::now());
                let frame = outbox.borrow_mut().push(block, count);
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
async fn hear(reader: &mut Reader, outbox: &RefCell<Unacknowledged>, acknowledged: &Notify) -> Failure {
    loop {
        match reader.reply().await {
            Ok(Reply::Ack(ack)) => outbox.borrow_mut().acknowledge(ack.samples, ack.repeated),
            Ok(_) => return Failure::Lasting("the job greets in the middle of a connection".into()),
            Err(failure) => return failure,
        }
        acknowledged.notify_one();
    }
}

//! Batches that a thread of its own reads and turns into samples while those of the batch before are taken: it is one
//! batch ahead and no more, and behind a batch of more than [`LARGE`] bytes it waits until that one is done.

use crate::decode::columns::batches::Batches;
use crate::decode::columns::guard::guarded;
use crate::decode::columns::rows::{Batch, Recipe};
use sluicebox_core::sample::Values;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Bytes of a batch beside which no other one is held.
const LARGE: usize = 64 << 20;

/// What became of a batch; None at the end.
type Read = Result<Option<Batch>, String>;

/// The batches of a file, in order.
pub struct Ahead {
    read: Receiver<Read>,
    /// Says that the batch before is done, and gives back the room of its values.
    done: Sender<Option<Values>>,
}

impl Ahead {
    /// Starts to read. The thread ends with the file, or as soon as nobody wants a batch.
    pub fn start(batches: impl Batches + 'static, recipe: Recipe) -> Result<Self, String> {
        let (sender, read) = sync_channel(0);
        let (done, given) = channel();
        let thread = std::thread::Builder::new().name("columns".into());
        let started = thread.spawn(move || fill(batches, &recipe, &sender, &given));
        started.map_err(|error| format!("cannot start the thread that reads the columns: {error}"))?;
        Ok(Self { read, done })
    }

    /// Returns the next batch once the one before is done, whose values left `empty` room; None at the end. After an error
    /// there are no more.
    pub fn next(&mut self, empty: Option<Values>) -> Read {
        let _ = self.done.send(empty); // the thread may have ended
        let read = self.read.recv();
        read.unwrap_or_else(|_| Err("the thread that reads the columns has failed".into()))
    }
}

fn fill(
    mut batches: impl Batches,
    recipe: &Recipe,
    sender: &SyncSender<Read>,
    done: &Receiver<Option<Values>>,
) {
    let (mut asked, mut is_large, mut empty) = (0u64, false, None);
    for number in 1.. {
        while let Ok(room) = done.try_recv() {
            (asked, empty) = (asked + 1, room.or(empty));
        }
        while is_large && asked < number {
            let Ok(room) = done.recv() else { return };
            (asked, empty) = (asked + 1, room.or(empty));
        }
        let read = guarded(|| {
            let Some(batch) = batches.next()? else { return Ok(None) };
            is_large = batch.get_array_memory_size() > LARGE;
            recipe.batch(&batch, empty.take()).map(Some)
        });
        let over = !matches!(read, Ok(Some(_)));
        if sender.send(read).is_err() || over {
            return;
        }
    }
}

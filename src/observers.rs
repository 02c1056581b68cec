//! Those who look on. Each has a thread and a bounded queue of its own: the job hands over a
//! pointer and goes on. Who is too slow misses events, which are counted; who fails is left out,
//! with a warning. Neither costs the job anything.

use crate::error::{Error, Result};
use crate::report::{Line, Report};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What there is to see.
#[derive(Debug, Clone)]
pub enum Event {
    /// An epoch is done.
    Epoch(Arc<Report>),
    /// The job's log has a line more.
    Line(Arc<Line>),
}

/// Someone who looks on.
pub trait Observer: Send + 'static {
    /// Who it is, for warnings.
    fn name(&self) -> String;

    /// What happened since the last time, in order.
    fn tell(&mut self, events: &[Event]) -> Result<()>;

    /// Some tenths of a second have passed.
    fn tick(&mut self) {}
}

/// Events that may wait for an observer.
const QUEUE: usize = 1024;
/// From one tick to the next.
const TICK: Duration = Duration::from_millis(100);
/// How long an observer may take with what it still has when the job is over.
const PATIENCE: Duration = Duration::from_secs(10);

struct Post {
    events: Sender<Event>,
    thread: JoinHandle<()>,
    name: String,
}

/// All of a job's. Shared by those who have something to tell.
#[derive(Clone, Default)]
pub struct Observers {
    posts: Arc<Mutex<Vec<Post>>>,
    dropped: Arc<AtomicU64>,
}

impl Observers {
    /// Gives an observer a thread.
    pub fn add(&self, mut observer: Box<dyn Observer>) -> Result<()> {
        let (events, waiting) = bounded(QUEUE);
        let name = observer.name();
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
        let thread = thread.spawn(move || look_on(&mut *observer, &waiting));
        let thread = thread.map_err(|error| Error::Engine(format!("cannot start a thread: {error}")))?;
        self.posts().push(Post { events, thread, name });
        Ok(())
    }

    /// Tells everyone, and waits for no one.
    pub fn tell(&self, event: &Event) {
        self.posts().retain(|post| match post.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false, // it has failed, and said so
        });
    }

    /// Events that somebody missed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Nothing more will happen: lets each finish what it has, but not for ever.
    pub fn end(&self) {
        let posts: Vec<Post> = self.posts().drain(..).collect();
        let deadline = Instant::now() + PATIENCE;
        for Post { events, thread, name } in posts {
            drop(events);
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            match thread.is_finished() {
                true => drop(thread.join()), // its panic has been told by the hook
                false => tracing::warn!("{name} is too slow: what it has not taken is left out"),
            }
        }
    }

    fn posts(&self) -> std::sync::MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands events over until no more can come or the observer fails.
fn look_on(observer: &mut dyn Observer, waiting: &Receiver<Event>) {
    let mut events = Vec::new();
    loop {
        match waiting.recv_timeout(TICK) {
            Ok(event) => events.push(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        events.extend(waiting.try_iter().take(QUEUE));
        observer.tick();
        if events.is_empty() {
            continue;
        }
        if let Err(error) = observer.tell(&events) {
            let name = observer.name();
            tracing::warn!("{name} failed and is told nothing more: {error}");
            return;
        }
        events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it is told, each time once `gate` lets it.
    struct Counting {
        gate: Receiver<()>,
        told: Arc<AtomicU64>,
        fails: bool,
    }

    impl Observer for Counting {
        fn name(&self) -> String {
            "counting".into()
        }

        fn tell(&mut self, events: &[Event]) -> Result<()> {
            let _ = self.gate.recv(); // or nobody holds it any more
            if self.fails {
                return Err(Error::request("no room"));
            }
            self.told.fetch_add(events.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }

    fn observed(fails: bool) -> (Observers, Sender<()>, Arc<AtomicU64>) {
        let ((open, gate), told) = (bounded(8), Arc::new(AtomicU64::new(0)));
        let observers = Observers::default();
        observers.add(Box::new(Counting { gate, told: told.clone(), fails })).unwrap();
        (observers, open, told)
    }

    #[test]
    fn a_slow_observer_costs_events_and_no_time() {
        let (observers, open, told) = observed(false);
        let event = Event::Line(Arc::default());
        let most = QUEUE as u64;
        (0..10 * most).for_each(|_| observers.tell(&event)); // would never end if it waited
        let dropped = observers.dropped();
        // It holds what it has taken and what fits into its queue.
        assert!((8 * most - 1..=9 * most).contains(&dropped), "{dropped}");
        drop(open);
        observers.end();
        assert_eq!(told.load(Ordering::Relaxed) + dropped, 10 * most);
    }

    #[test]
    fn a_failing_observer_is_left_out() {
        let (observers, open, told) = observed(true);
        let event = Event::Line(Arc::default());
        observers.tell(&event);
        drop(open);
        while !observers.posts().is_empty() {
            observers.tell(&event);
            std::thread::yield_now();
        }
        (0..10 * QUEUE).for_each(|_| observers.tell(&event));
        assert_eq!(told.load(Ordering::Relaxed), 0);
        observers.end();
    }
}

//! Observers of a job. Each has its own thread and bounded queue: the job enqueues a pointer and goes on. A
//! slow observer drops events, and one that fails loses them, until it works again (both counted, and the
//! failure is said). Neither slows the job.

use crate::error::{Error, Result};
use crate::report::{Line, Mark, Report};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An event of a job.
#[derive(Debug, Clone)]
pub enum Event {
    /// The report of a finished epoch.
    Epoch(Arc<Report>),
    /// A new line of the job's log.
    Line(Arc<Line>),
    /// What happened to the job, such as a drift alarm.
    Mark(Arc<Mark>),
}

/// Receives the events of a job on its own thread.
///
/// ```
/// use sluicebox_core::error::Result;
/// use sluicebox_core::observers::{Event, Observer, Observers};
/// use sluicebox_core::report::{JobMeters, Report};
/// use std::sync::Arc;
/// use std::sync::mpsc::{Sender, channel};
///
/// /// Sends the accuracy of each epoch.
/// struct Accuracy(Sender<(u64, Option<f64>)>);
///
/// impl Observer for Accuracy {
///     fn name(&self) -> String {
///         "accuracy".into()
///     }
///
///     fn notify(&mut self, events: &[Event]) -> Result<()> {
///         for event in events {
///             if let Event::Epoch(report) = event {
///                 let _ = self.0.send((report.epoch, report.job.accuracy));
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let (sender, receiver) = channel();
/// let observers = Observers::default();
/// observers.add(Box::new(Accuracy(sender)))?;
/// let job = JobMeters { accuracy: Some(0.9), ..JobMeters::default() };
/// observers.notify(&Event::Epoch(Arc::new(Report { epoch: 1, job, ..Report::default() })));
/// observers.end();
/// assert_eq!(receiver.recv().ok(), Some((1, Some(0.9))));
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Observer: Send + 'static {
    /// Name, for warnings.
    fn name(&self) -> String;

    /// Takes in the events since the last call, in order.
    fn notify(&mut self, events: &[Event]) -> Result<()>;

    /// Called after each wait for events, which lasts at most 100 ms.
    fn tick(&mut self) {}
}

/// Length of an observer's queue, in events.
const QUEUE: usize = 1024;
/// Longest wait for events between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// Time that an observer has for its remaining events once the job is over.
const PATIENCE: Duration = Duration::from_secs(10);

struct Post {
    events: Sender<Event>,
    thread: JoinHandle<()>,
    name: String,
}

/// All observers of a job. Clones share them.
#[derive(Clone, Default)]
pub struct Observers {
    posts: Arc<Mutex<Vec<Post>>>,
    dropped: Arc<AtomicU64>,
}

impl Observers {
    /// Starts a thread for an observer.
    pub fn add(&self, mut observer: Box<dyn Observer>) -> Result<()> {
        let (events, waiting) = bounded(QUEUE);
        let name = observer.name();
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
        let dropped = self.dropped.clone();
        let thread = thread.spawn(move || deliver(&mut *observer, &waiting, &dropped));
        let thread = thread.map_err(|error| Error::Engine(format!("cannot start a thread: {error}")))?;
        self.posts().push(Post { events, thread, name });
        Ok(())
    }

    /// Enqueues an event for every observer, without blocking.
    pub fn notify(&self, event: &Event) {
        self.posts().retain(|post| match post.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false, // it panicked; the panic hook has reported that
        });
    }

    /// Number of events that an observer dropped or could not take in.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Closes the queues and waits until each observer has processed its events, up to a deadline.
    pub fn end(&self) {
        let posts: Vec<Post> = self.posts().drain(..).collect();
        let deadline = Instant::now() + PATIENCE;
        for Post { events, thread, name } in posts {
            drop(events);
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            match thread.is_finished() {
                true => drop(thread.join()), // the panic hook has reported its panic
                false => tracing::warn!("{name} is too slow: its remaining events are dropped"),
            }
        }
    }

    fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.posts.lock()
    }
}

/// Passes events to the observer until the queue is closed.
fn deliver(observer: &mut dyn Observer, waiting: &Receiver<Event>, dropped: &AtomicU64) {
    let mut events = Vec::new();
    let mut failing = false;
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
        let reports = events.iter().any(|event| matches!(event, Event::Epoch(_)));
        match observer.notify(&events) {
            Err(error) => {
                dropped.fetch_add(events.len() as u64, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        "{} fails, and misses events until it works again: {error}",
                        observer.name()
                    );
                }
            }
            // Many an observer takes no lines, so only a report shows that it works.
            Ok(()) if failing && reports => {
                tracing::info!("{} works again", observer.name());
                failing = false;
            }
            Ok(()) => {}
        }
        events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the events it receives; each call waits for `gate`. With `fails`, the first fails.
    struct Counting {
        gate: Receiver<()>,
        told: Arc<AtomicU64>,
        fails: bool,
    }

    impl Observer for Counting {
        fn name(&self) -> String {
            "counting".into()
        }

        fn notify(&mut self, events: &[Event]) -> Result<()> {
            let _ = self.gate.recv(); // also returns once the sender is dropped
            if std::mem::take(&mut self.fails) {
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
        (0..10 * most).for_each(|_| observers.notify(&event)); // would block for ever if it waited
        let dropped = observers.dropped();
        // The observer has taken some events; further ones fit into its queue.
        assert!((8 * most - 1..=9 * most).contains(&dropped), "{dropped}");
        drop(open);
        observers.end();
        assert_eq!(told.load(Ordering::Relaxed) + dropped, 10 * most);
    }

    #[test]
    fn a_failing_observer_misses_events_until_it_works_again() {
        let (observers, open, told) = observed(true);
        let event = Event::Epoch(Arc::default());
        observers.notify(&event);
        open.send(()).unwrap();
        while observers.dropped() == 0 {
            std::thread::yield_now();
        }
        drop(open);
        (0..3).for_each(|_| observers.notify(&event));
        observers.end();
        assert_eq!((told.load(Ordering::Relaxed), observers.dropped()), (3, 1));
    }
}

//! What a running job shows to whoever asks: what it is, how far it is, its newest report, lines
//! and samples, and its history. Asking never makes the job wait.

use crate::controls::Controls;
use crate::error::Result;
use crate::gallery::Wall;
use crate::history::History;
use crate::observers::{Event, Observer};
use crate::report::{About, Line, Progress, Report};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Lines that are kept.
const LINES: usize = 256;

/// Where the job stands, written at each step without a lock.
#[derive(Debug, Default)]
pub struct Clock {
    epoch: AtomicU64,
    done: AtomicU64,
    of: AtomicU64,
    over: AtomicBool,
}

impl Clock {
    /// A step of `epoch` is done.
    pub fn step(&self, epoch: u64, done: u64, of: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
    }

    /// The job is over.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Where it stands.
    pub fn read(&self) -> Progress {
        Progress {
            epoch: self.epoch.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed),
            paused: false,
            over: self.over.load(Ordering::Relaxed),
        }
    }
}

/// What a job shows.
pub struct Board {
    /// What the job is.
    pub about: About,
    /// How far it is.
    pub clock: Arc<Clock>,
    /// What may be asked of it.
    pub controls: Controls,
    /// Samples to look at.
    pub wall: Arc<Mutex<Wall>>,
    history: Mutex<History>,
    newest: watch::Sender<Option<Arc<Report>>>,
    lines: watch::Sender<VecDeque<Arc<Line>>>,
}

impl Board {
    /// The board of a job.
    pub fn new(
        about: About,
        clock: Arc<Clock>,
        controls: Controls,
        wall: Arc<Mutex<Wall>>,
        history: History,
    ) -> Self {
        let (newest, lines) = (watch::Sender::new(None), watch::Sender::new(VecDeque::new()));
        Self { about, clock, controls, wall, history: Mutex::new(history), newest, lines }
    }

    /// The newest report, and a wake-up at the next.
    pub fn reports(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.newest.subscribe()
    }

    /// The newest lines, and a wake-up at the next.
    pub fn lines(&self) -> watch::Receiver<VecDeque<Arc<Line>>> {
        self.lines.subscribe()
    }

    /// The history: not to be held for long, and not within the runtime's own threads.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the job is.
    pub fn progress(&self) -> Progress {
        Progress { paused: self.controls.is_paused(), ..self.clock.read() }
    }
}

/// Pins what happens to a board.
pub struct Pin(pub Arc<Board>);

impl Observer for Pin {
    fn name(&self) -> String {
        "board".into()
    }

    fn tell(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            match event {
                Event::Epoch(report) => _ = self.0.newest.send_replace(Some(report.clone())),
                Event::Line(line) => self.0.lines.send_modify(|lines| {
                    lines.truncate(LINES - 1);
                    lines.push_front(line.clone());
                }),
            }
        }
        Ok(())
    }
}

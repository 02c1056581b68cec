//! The other processes, as process 0 knows them, and what it does with their frames.

use crate::cluster::fate::Fate;
use crate::cluster::frame::{Frame, Kind};
use crate::cluster::inbox::Inbox;
use crate::cluster::link::{Inlet, Link};
use crate::cluster::roster::Roster;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Time that the others have to end after the job.
const END: Duration = Duration::from_secs(5);
/// Time that they have to hear of a failure, or that the job does not begin.
const NEWS: Duration = Duration::from_secs(2);

/// Who has come, and their links.
pub struct Table {
    /// Who is who.
    pub roster: Roster,
    /// What they send to process 0.
    pub inbox: Arc<Inbox>,
    links: Vec<Option<Link>>,
    workers: Vec<Range<usize>>,
    stop: Arc<AtomicBool>,
}

/// What the head does with the frames of one process.
pub struct Desk {
    /// The process's number.
    pub process: usize,
    /// Its name in messages.
    pub name: String,
    /// Who else is there.
    pub table: Arc<Mutex<Table>>,
}

/// The other processes of a job that runs. Dropped before [`Crew::end`], it tells them that process 0 has ended.
pub struct Crew {
    runtime: Option<Runtime>,
    links: Vec<Link>,
    inbox: Arc<Inbox>,
}

impl Table {
    /// Creates the table of a head that is alone.
    pub fn new(roster: Roster, workers: Vec<Range<usize>>, inbox: Arc<Inbox>, stop: Arc<AtomicBool>) -> Self {
        let links = workers.iter().map(|_| None).collect();
        Self { roster, inbox, links, workers, stop }
    }

    /// Keeps the link of a process that has come.
    pub fn came(&mut self, process: usize, link: Link) {
        self.links[process] = Some(link);
    }

    /// Returns whether all processes have come and have a link.
    pub fn all_have_come(&self) -> bool {
        self.links.iter().skip(1).all(Option::is_some)
    }

    /// Returns the links of all that have come.
    pub fn crew(&self) -> Vec<Link> {
        self.links.iter().flatten().cloned().collect()
    }

    fn send(&self, process: usize, frame: Frame) {
        // Whoever is gone ends the job by its own link.
        self.links[process].iter().for_each(|link| drop(link.send(frame.clone())));
    }

    /// Passes a piece of a sum on: to the next process, or from the last one to all.
    fn pass(&self, process: usize, frame: Frame) {
        let last = self.workers.len() - 1;
        if process < last {
            return self.send(process + 1, frame);
        }
        let frame = Frame { kind: Kind::Total, ..frame };
        (1..last).for_each(|other| self.send(other, frame.clone()));
        let worker = frame.number as usize % self.workers[0].len();
        self.inbox.put(Kind::Sum, worker, frame);
    }
}

impl Inlet for Desk {
    fn take(&self, frame: Frame) -> Result<(), String> {
        let table = self.table.lock();
        let of_its_worker = table.workers[self.process].contains(&(frame.worker as usize));
        match frame.kind {
            Kind::Stop => {
                if !table.stop.swap(true, Ordering::Relaxed) {
                    tracing::info!("{} was asked to stop, so the job ends", self.name);
                }
            }
            Kind::Failed => {
                table.inbox.close(Fate::told(&frame, &format!("{}: ", self.name)));
            }
            Kind::Sum if table.roster.is_complete() => table.pass(self.process, frame),
            Kind::Ready | Kind::Scored | Kind::Weights if of_its_worker && table.roster.is_complete() => {
                table.inbox.put(frame.kind, frame.worker as usize, frame);
            }
            kind => return Err(format!("it sends {kind:?}, which is not its turn")),
        }
        Ok(())
    }

    fn lost(&self, reason: &str) {
        let mut table = self.table.lock();
        if table.roster.is_complete() {
            return table.inbox.close(Fate::Lost { reason: format!("{} is gone: {reason}", self.name) });
        }
        tracing::info!("{} has left again: {reason}", self.name);
        table.links[self.process] = None;
        table.roster.leave(self.process);
    }
}

impl Crew {
    pub(super) fn new(runtime: Runtime, links: Vec<Link>, inbox: Arc<Inbox>) -> Self {
        Self { runtime: Some(runtime), links, inbox }
    }

    /// Returns the links to the others, from process 1 on.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Returns what they send.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Tells the others how the job has ended, and waits a while until they have.
    pub fn end(mut self, fate: &Fate) {
        self.part(fate, if *fate == Fate::Ended { END } else { NEWS });
    }

    /// Tells those who have come that the job has ended before it began.
    pub fn dismiss(mut self) {
        self.part(&Fate::Ended, NEWS);
    }

    fn part(&mut self, fate: &Fate, patience: Duration) {
        let Some(runtime) = self.runtime.take() else { return };
        self.inbox.close(fate.clone());
        self.links.iter().for_each(|link| drop(link.send(fate.frame()))); // some may have gone
        let began = Instant::now();
        for link in &self.links {
            link.await_end(patience.saturating_sub(began.elapsed()));
            let (sent, received) = link.bytes();
            tracing::info!("{}: {sent} bytes sent, {received} received", link.name());
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.part(&Fate::Failed { code: 1, reason: "process 0 has ended before the job began".into() }, NEWS);
    }
}

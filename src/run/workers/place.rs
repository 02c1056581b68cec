//! A process that has only workers beside the first: it gets job and parts of steps from process 0.

use crate::cluster::{Crew, Entrance, Fate, Frame, Inbox, Kind, Place, enter};
use crate::engine::flow::{Arm, Task, Told};
use crate::run::open::method;
use crate::run::workers::begin::Begin;
use crate::run::workers::build;
use crate::run::workers::line::Line;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::health::Health;
use sluicebox_learn::device::{self, Compute};
use sluicebox_learn::model;
use sluicebox_learn::stages::team::{Member, Team};
use sluicebox_learn::stages::wire::{from_bytes, to_bytes};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tch::Device;

/// Interval at which a process looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Time that process 0 has to end in order once another one has failed.
const PATIENCE: Duration = Duration::from_secs(4);

/// Takes part in the job of process 0 until it ends. Once `stop` is raised, process 0 is asked to end the job.
///
/// # Errors
/// Those of [`enter`]; what has failed here or elsewhere.
pub fn take_part(entrance: &Entrance, stop: &AtomicBool) -> Result<()> {
    let Some(mut place) = enter(entrance, stop)? else { return Ok(()) };
    let begin = std::mem::take(&mut place.begin);
    match run(&place, begin, stop) {
        Ok(fate) => fate.into_result(),
        Err(error) => {
            place.fail(&error);
            Err(error)
        }
    }
}

/// Takes part in the job; returns how it has ended. An error is one of this process.
fn run(place: &Place, begin: bytes::Bytes, stop: &AtomicBool) -> Result<Fate> {
    let folder = tempfile::tempdir().map_err(|error| Error::file(std::env::temp_dir(), error))?;
    let begin = Arc::new(Begin::from_bytes(&begin, folder.path())?);
    let job = &begin.job;
    tracing::info!(
        "this is process {} of {} of the job {}, with {} of its {} workers",
        place.process,
        job.processes,
        job.name,
        place.workers.len(),
        job.workers
    );
    let first = device::open(&job.device, job.threads)?;
    let model = model::build(&job.model, &begin.format, method(job)?.views().heads)?;
    place.link.take_at_most(begin.longest_frame(model.layout()));
    let compute = Compute::new(first, job.precision);
    let devices = device::of_workers(&job.device, first, place.workers.len())?;
    let chain = Box::new(Line::other(place, job.processes));
    let members = Team::of_process(job.workers, place.workers.clone(), Some(chain));
    let watched = members[0].clone();
    let mut threads = Vec::new();
    for (member, device) in members.into_iter().zip(devices) {
        let (begin, inbox, link) = (begin.clone(), place.inbox.clone(), place.link.clone());
        let work = move || {
            let index = member.index;
            let built = Arm::begin(index, || {
                let mut arm = build::arm(&begin, Compute { device, ..compute }, index)?;
                arm.student.join(member.clone());
                Ok(arm)
            });
            let send = |kind, body| drop(link.send(Frame::new(kind, index, body))); // a lost link ends all
            let arm = match built {
                Ok(arm) => arm,
                Err(error) => return member.end(Some(error)),
            };
            send(Kind::Ready, Vec::new());
            arm.work(&member, tasks(&inbox, index, device), |told| match told {
                Told::Scored(scored) => {
                    send(Kind::Scored, to_bytes(&(member.efforts().take_of(index), *scored)))
                }
                Told::Weights(hash) => send(Kind::Weights, hash.to_le_bytes().to_vec()),
            });
        };
        let thread = thread::Builder::new().name(format!("worker-{}", watched.index + threads.len()));
        let thread = thread.spawn(work);
        threads.push(thread.map_err(|error| Error::Engine(format!("cannot start a worker: {error}")))?);
    }
    let mut is_told = false;
    let fate = loop {
        if let Some(fate) = place.inbox.await_fate(LOOK) {
            break fate;
        }
        if stop.load(Ordering::Relaxed) && !is_told {
            is_told = true;
            let _ = place.link.send(Frame::empty(Kind::Stop)); // a lost link ends all
        }
    };
    match fate {
        Fate::Left => Err(watched.failure().unwrap_or_else(|| Error::Engine("a worker has ended".into()))),
        Fate::Ended => {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            tracing::info!("the job has ended");
            Ok(Fate::Ended)
        }
        fate => Ok(fate),
    }
}

/// Returns the tasks of a worker as they come.
fn tasks(inbox: &Inbox, worker: usize, device: Device) -> impl Iterator<Item = Result<Task>> {
    std::iter::from_fn(move || {
        let frame = inbox.take(Kind::Score, worker).ok()?;
        Some(match frame.kind {
            Kind::Score => from_bytes(&frame.body, device).map(|batch| Task::Score(Box::new(batch))),
            _ => from_bytes(&frame.body, device).map(|selected| Task::Learn(Box::new(selected))),
        })
    })
}

/// Ends the job of process 0 once another process is gone or has failed: whoever waits for it gets an error. A `command` whose
/// job does not end in order within 4 s, as it is in a long operation, ends without it.
pub fn watch(crew: &Crew, first: Member, health: Health, command: bool) -> Result<()> {
    let inbox = crew.inbox().clone();
    let watch = move || {
        let fate = loop {
            if let Some(fate) = inbox.await_fate(PATIENCE) {
                break fate;
            }
        };
        let Err(error) = fate.into_result() else { return };
        let (code, reason) = (error.exit_code(), error.to_string());
        first.end(Some(error));
        health.fail(reason.clone());
        thread::sleep(PATIENCE);
        if command {
            let _ = writeln!(std::io::stderr(), "error: {reason}"); // a closed stderr must not keep the process alive
            // SAFETY: it only ends the process. `exit` would first tear down what the other threads use.
            unsafe { libc::_exit(code.into()) }
        }
    };
    let thread = thread::Builder::new().name("cluster-watch".into()).spawn(watch);
    thread.map(drop).map_err(|error| Error::Engine(format!("cannot watch the processes: {error}")))
}

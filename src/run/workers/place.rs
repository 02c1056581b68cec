//! A process that has only workers beside the first: it gets job and parts of steps from process 0.

use crate::cluster::{Entrance, Fate, Frame, Inbox, Kind, Place, enter};
use crate::engine::flow::{Arm, Task, Told};
use crate::run::open::method;
use crate::run::workers::begin::Begin;
use crate::run::workers::build;
use crate::run::workers::last_resort;
use crate::run::workers::line::Line;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::device::{self, Compute};
use sluicebox_learn::model;
use sluicebox_learn::stages::team::Team;
use sluicebox_learn::stages::wire::{from_bytes, to_bytes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tch::Device;

/// Interval at which a process looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Takes part in the job of process 0 until it ends. Once `stop` is raised, process 0 is asked to end the job.
///
/// # Errors
/// Those of [`enter`]; what has failed here or elsewhere.
pub fn take_part(entrance: &Entrance, stop: &AtomicBool) -> Result<()> {
    let Some(mut place) = enter(entrance, stop)? else { return Ok(()) };
    let begin = std::mem::take(&mut place.begin);
    last_resort::watch(&place.inbox, true, |_, _| ())?;
    run(&place, begin, stop).inspect_err(|error| place.fail(error))
}

/// Takes part in the job until it has ended.
fn run(place: &Place, begin: bytes::Bytes, stop: &AtomicBool) -> Result<()> {
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
        let thread = thread::Builder::new().name(format!("worker-{}", place.workers.start + threads.len()));
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
        Fate::Left => Err(Error::Engine("a worker has ended".into())),
        Fate::Ended => {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            tracing::info!("the job has ended");
            Ok(())
        }
        fate => fate.into_result(),
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

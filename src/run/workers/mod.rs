//! Starts the workers beside the first, in jobs that have several: threads of this process, and those of the processes that come.

mod away;
mod begin;
mod build;
mod last_resort;
mod line;
pub mod place;

use crate::cluster::{Crew, Frame, Gate, Kind, dealt};
use crate::engine::flow::Workers;
use crate::run::open::Opened;
use crate::run::options::Options;
use away::Away;
use begin::Begin;
use line::Line;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::device::{self, Compute};
use sluicebox_learn::stages::parts::Parts;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::team::Team;
use sluicebox_stream::auth::{Access, read_token};
use std::sync::Arc;
use tch::Device;

/// Starts the workers beside the first, whose student is `student`. `own_method`: the method is the caller's own, of which there
/// is one. Where the job has several processes, waits for the others, and returns them as well. A job that is asked to stop
/// meanwhile goes on with worker 0 alone, so that it ends as it would have later.
pub fn start(
    opened: &Opened,
    own_method: bool,
    student: &mut Student,
    options: &Options,
    controls: &Controls,
) -> Result<(Workers, Option<Crew>)> {
    let Opened { job, compute, .. } = opened;
    if let (Some(meeting), 1) = (&options.meeting, job.processes)
        && meeting.others.is_empty()
    {
        let reason = format!("{}: nobody is awaited there, as processes is 1", meeting.address);
        return Err(Error::Request(reason));
    }
    if job.workers == 1 {
        return Ok((Workers::alone(), None));
    }
    if own_method {
        let reason =
            format!("workers = {}: a method of the caller's own works with workers = 1", job.workers);
        return Err(Error::Request(reason));
    }
    let processes = dealt(job.workers, job.processes);
    let here = processes[0].clone();
    let mut devices = device::of_workers(&job.device, compute.device, here.len())?;
    let begin = Arc::new(Begin::new(opened, student.sections()?)?);
    let crew = match job.processes {
        1 => None,
        _ => match gather(opened, &begin, options, controls)? {
            None => return Ok(stopped("all of its processes had come")),
            crew => crew,
        },
    };
    let chain = crew.as_ref().map(|crew| Box::new(Line::first(crew, job.processes)) as _);
    let mut members = Team::of_process(job.workers, here.clone(), chain).into_iter();
    let first = members.next().ok_or_else(|| Error::Engine("a job without workers".into()))?;
    let own = devices.clone();
    devices.resize(job.workers, Device::Cpu); // what crosses processes is bytes
    let mut workers = Workers::of(first.clone(), Parts { devices });
    for (member, device) in members.zip(own.into_iter().skip(1)) {
        let (begin, compute) = (begin.clone(), Compute { device, ..*compute });
        workers.start(member.index, move || {
            let mut arm = build::arm(&begin, compute, member.index)?;
            arm.student.join(member.clone());
            Ok((arm, member))
        })?;
    }
    if let Some(crew) = &crew {
        let body = bytes::Bytes::from(begin.to_bytes()?);
        for (link, range) in crew.links().iter().zip(&processes[1..]) {
            let frame = Frame::new(Kind::Begin, range.len(), body.clone());
            link.send(Frame { number: range.start as u32, ..frame })?;
            for worker in range.clone() {
                let efforts = first.efforts().clone();
                workers.add(Away::new(worker, link, range.len(), crew, compute.device, efforts));
            }
        }
        let (links, first, health) = (crew.links().to_vec(), first.clone(), controls.health.clone());
        last_resort::watch(crew.inbox(), options.patience.is_some(), move |fate, error| {
            links.iter().for_each(|link| drop(link.send(fate.frame()))); // some may have gone
            health.fail(error.to_string());
            first.end(Some(error));
        })?;
    }
    if !workers.await_start(&controls.stop).map_err(|error| workers.fail(error))? {
        if let Some(crew) = crew {
            crew.dismiss();
        }
        return Ok(stopped("its workers were built"));
    }
    student.join(first);
    Ok((workers, crew))
}

/// Worker 0 alone, for a job that was asked to stop before it began.
fn stopped(before: &str) -> (Workers, Option<Crew>) {
    tracing::info!("the job was asked to stop before {before}: it ends without a step");
    (Workers::alone(), None)
}

/// Waits until the other processes have come; None if the job is asked to stop before.
fn gather(opened: &Opened, begin: &Begin, options: &Options, controls: &Controls) -> Result<Option<Crew>> {
    let Opened { job, .. } = opened;
    let Some(meeting) = options.meeting.clone() else {
        return Err(Error::Request(format!(
            "processes = {}: say where process 0 awaits the others, by --hosts FILE or --join-at ADDR",
            job.processes
        )));
    };
    let token = match (&options.token, &job.server.token_file) {
        (None, Some(path)) => Some(read_token(path)?),
        (token, _) => token.clone(),
    };
    let certificate = job.server.cert.clone().zip(job.server.key.clone());
    let access = Access::new(token.clone(), certificate);
    let processes = dealt(job.workers, job.processes);
    let most = begin.longest_frame(opened.model.layout());
    let gate = Gate::open(meeting, processes, (&access, token.as_deref()), most, controls.stop.clone())?;
    gate.gather(&controls.stop)
}

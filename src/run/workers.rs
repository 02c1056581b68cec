//! Starts the workers beside the first, in jobs that have several.

use crate::engine::flow::{Arm, Workers};
use crate::job::Job;
use crate::run::open::{Learning, Opened, method};
use crate::run::stages;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Section, Sections};
use sluicebox_learn::device::{self, Compute};
use sluicebox_learn::method::api::Method;
use sluicebox_learn::model;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::stages::parts::Parts;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::team::Team;
use std::rc::Rc;

/// The state that every worker starts from.
const COMMON: [Section; 3] = [Section::Student, Section::Empty, Section::Updates];

/// Starts the workers beside the first, whose student is `student`. `own_method`: the method is the caller's own, of which there
/// is one.
pub fn start(opened: &Opened, own_method: bool, student: &mut Student) -> Result<Workers> {
    let Opened { job, compute, .. } = opened;
    if job.workers == 1 {
        return Ok(Workers::alone());
    }
    if own_method {
        let reason =
            format!("workers = {}: a method of the caller's own works with workers = 1", job.workers);
        return Err(Error::Request(reason));
    }
    let devices = device::of_workers(&job.device, compute.device, job.workers)?;
    let mut members = Team::members(job.workers).into_iter();
    let first = members.next().ok_or_else(|| Error::Engine("a job without workers".into()))?;
    let mut workers = Workers::of(first.clone(), Parts { devices: devices.clone() });
    for (member, device) in members.zip(devices.into_iter().skip(1)) {
        let (job, format, compute) = (job.clone(), opened.format.clone(), Compute { device, ..*compute });
        let saved = opened.sections().map(|sections| sections.only(&COMMON));
        let index = member.index;
        let arm = move || {
            let mut arm = arm(&job, &format, compute, saved.as_ref(), index)?;
            arm.student.join(member.clone());
            Ok((arm, member))
        };
        workers.start(index, arm)?;
    }
    workers.await_start()?;
    student.join(first);
    Ok(workers)
}

/// Builds what worker `index` computes with, on its own thread.
fn arm(job: &Job, format: &Format, compute: Compute, saved: Option<&Sections>, index: usize) -> Result<Arm> {
    tch::set_num_threads(job.threads as i32);
    let method: Rc<dyn Method> = Rc::from(method(job)?);
    let model: Rc<dyn Model> = Rc::from(model::build(&job.model, format, method.views().heads)?);
    let randomness = Randomness::new(job.seed, index);
    let learning = Learning { job, format, method, model, randomness, compute, sections: saved };
    let (student, lag) = (stages::student(&learning)?, job.teacher.lag);
    let (weak, teacher, strong) =
        (stages::weak_views(&learning)?, stages::teacher(&learning), stages::strong_views(&learning)?);
    Ok(Arm { weak, teacher, strong, student, lag })
}

//! Builds what a worker beside the first computes with.

use crate::engine::flow::Arm;
use crate::run::open::{Learning, method};
use crate::run::stages;
use crate::run::workers::begin::Begin;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_learn::device::Compute;
use sluicebox_learn::method::api::Method;
use sluicebox_learn::model;
use sluicebox_learn::model::api::Model;
use std::rc::Rc;

/// Builds what worker `index` computes with, on its own thread.
pub fn arm(begin: &Begin, compute: Compute, index: usize) -> Result<Arm> {
    let Begin { job, format, sections, .. } = begin;
    tch::set_num_threads(job.threads as i32);
    let method: Rc<dyn Method> = Rc::from(method(job)?);
    let model: Rc<dyn Model> = Rc::from(model::build(&job.model, format, method.views().heads)?);
    let randomness = Randomness::new(job.seed, index);
    let sections = Some(sections);
    let learning = Learning { job, format, method, model, randomness, compute, sections };
    let (student, lag) = (stages::student(&learning)?, job.teacher.lag);
    let (weak, teacher, strong) =
        (stages::weak_views(&learning)?, stages::teacher(&learning), stages::strong_views(&learning)?);
    Ok(Arm { weak, teacher, strong, student, lag })
}

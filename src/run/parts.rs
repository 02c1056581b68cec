//! Components that a program brings along.

use crate::job::{Job, Stream};
use sluicebox_core::config::registry::Spec;
use sluicebox_learn::method::api::Method;
use sluicebox_stream::source::api::Source;
use std::rc::Rc;

/// Components of the caller, in place of those that the job names. By default there are none.
#[derive(Default)]
pub struct Parts {
    /// The only source of the stream.
    pub source: Option<Box<dyn Source>>,
    /// The method.
    pub method: Option<Rc<dyn Method>>,
}

impl Parts {
    /// Kind under which reports and checkpoints name a component of the caller.
    pub const KIND: &'static str = "embedded";

    /// Writes into `job` which of its components these replace.
    pub fn replace_in(&self, job: &mut Job) {
        let spec = || Spec { kind: Self::KIND.into(), options: toml::Table::new() };
        if self.source.is_some() {
            job.sources = vec![Stream { weight: 1.0, spec: spec() }];
        }
        if self.method.is_some() {
            job.method = spec();
        }
    }
}

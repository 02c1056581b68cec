//! report: folds what happened into the epoch's report.

use super::{Failure, each_step};
use crate::data::Outcome;
use crate::metrics::Reporter;
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::StreamVec;

/// Each outcome, after the reporter has seen it.
pub fn report<'scope>(
    outcomes: StreamVec<'scope, u64, Outcome>,
    reporter: Rc<RefCell<Reporter>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, Outcome> {
    each_step(outcomes, "report", failure, move |outcome| reporter.borrow_mut().absorb(outcome))
}

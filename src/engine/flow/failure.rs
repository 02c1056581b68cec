//! The first failure of a stage: an error or a panic becomes an error that names operator and step.

use sluicebox_core::error::{Error, Result};
use sluicebox_learn::torch::first_line;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a panic on this thread would now be caught and reported as the failure of an operator.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// The first failure of a stage; clones share it. Once it is set, no stage is called again.
#[derive(Clone, Default)]
pub struct Failure(Rc<RefCell<Option<Error>>>);

impl Failure {
    /// Returns whether a stage has failed.
    pub fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Returns the failure as an error, if there was one.
    pub fn into_result(self) -> Result<()> {
        match self.0.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Calls a stage. An error or a panic becomes the failure of `operator` at `step`.
    pub fn guard<T>(&self, operator: &str, step: u64, stage: impl FnOnce() -> Result<T>) -> Option<T> {
        if self.is_set() {
            return None;
        }
        GUARDED.set(true);
        let result = catch_unwind(AssertUnwindSafe(stage));
        GUARDED.set(false);
        let reason = match result {
            Ok(Ok(value)) => return Some(value),
            // It names the operator itself: what came of a step may be known only later.
            Ok(Err(error @ Error::Operator { .. })) => {
                *self.0.borrow_mut() = Some(error);
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => first_line(&message(&*panic)),
        };
        *self.0.borrow_mut() = Some(Error::Operator { operator: operator.into(), step, reason });
        None
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_string()
}

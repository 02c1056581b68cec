//! How a running job is: what holds it back at present, and the failure that ends it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What is wrong with a job, for those who watch it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    failure: OnceLock<String>,
    troubles: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Ends the job with this reason: a part that works in the background has failed, and no step might
    /// come that would notice. The first reason stays.
    pub fn fail(&self, reason: impl Into<String>) {
        let _ = self.0.failure.set(reason.into());
    }

    /// Returns why the job is ending, if a part of it has failed.
    pub fn failure(&self) -> Option<&str> {
        self.0.failure.get().map(String::as_str)
    }

    /// Records that a part of the job has trouble that may pass. Returns whether it had none before.
    pub fn trouble(&self, part: &'static str, reason: impl Into<String>) -> bool {
        self.0.troubles.lock().insert(part, reason.into()).is_none()
    }

    /// Records that a part of the job works. Returns whether it had trouble before.
    pub fn works(&self, part: &str) -> bool {
        self.0.troubles.lock().remove(part).is_some()
    }

    /// Returns the present troubles, by part of the job.
    pub fn troubles(&self) -> BTreeMap<&'static str, String> {
        self.0.troubles.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays_and_troubles_pass() {
        let health = Health::default();
        assert_eq!(health.failure(), None);
        health.clone().fail("first");
        health.fail("second");
        assert_eq!(health.failure(), Some("first"));
        assert!(health.trouble("checkpoint", "no space") && !health.trouble("checkpoint", "no space left"));
        assert_eq!(health.troubles(), BTreeMap::from([("checkpoint", "no space left".to_string())]));
        assert!(health.works("checkpoint") && !health.works("checkpoint"));
        assert!(health.troubles().is_empty());
    }
}

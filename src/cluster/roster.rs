//! Who is who: which process has which number, and whether what a newcomer says fits the job.

use crate::cluster::hello::{Refusal, Request};

/// The processes of a job, as the head knows them.
#[derive(Debug)]
pub struct Roster {
    workers: usize,
    /// SHA-256 of the job file.
    job: Option<String>,
    /// Where each process came from, by its number; that of the head is not used.
    places: Vec<Option<String>>,
    is_complete: bool,
}

impl Roster {
    /// Creates the roster of a job that still has process 0 only.
    pub fn new(processes: usize, workers: usize, job: Option<String>) -> Self {
        Self { workers, job, places: vec![None; processes], is_complete: false }
    }

    /// Gives a newcomer `from` somewhere its number: the one it asks for, else the highest free one.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admit(&mut self, request: &Request, from: &str) -> Result<usize, Refusal> {
        let lasting = |reason: String| Err(Refusal { reason, passing: false });
        let processes = self.places.len();
        let differs =
            [("processes", request.processes, processes), ("workers", request.workers, self.workers)];
        for (what, there, here) in differs {
            if let Some(there) = there.filter(|there| *there != here) {
                return lasting(format!("this process was told of {there} {what}, but process 0 of {here}"));
            }
        }
        if let (Some(here), Some(there)) = (&self.job, &request.job)
            && here != there
        {
            let sum = |job: &str| job.chars().take(8).collect::<String>();
            return lasting(format!(
                "this process was given another job file than process 0 (SHA-256 {}… and not {}…): give it the same, or use \
                 `sluicebox join`",
                sum(there),
                sum(here)
            ));
        }
        if self.is_complete {
            let reason = "the job of process 0 runs already, with all of its processes".into();
            return Err(Refusal { reason, passing: true });
        }
        let process = match request.process {
            Some(process) if process == 0 || process >= processes => {
                return lasting(format!(
                    "there is no place for a process {process}: process 0 awaits 1 to {}",
                    processes - 1
                ));
            }
            Some(process) => process,
            None => self.places.iter().skip(1).rposition(Option::is_none).map_or(0, |at| at + 1),
        };
        match self.places.get(process).filter(|_| process > 0) {
            Some(None) => {
                self.places[process] = Some(from.into());
                Ok(process)
            }
            Some(Some(other)) => {
                let reason = format!(
                    "process {process} is there already, from {other}: two processes have one number"
                );
                Err(Refusal { reason, passing: true })
            }
            None => Err(Refusal { reason: "all processes are there already".into(), passing: true }),
        }
    }

    /// Takes a process back that has gone before the job began.
    pub fn leave(&mut self, process: usize) {
        if !self.is_complete {
            self.places[process] = None;
        }
    }

    /// Returns the numbers of those that have not come.
    pub fn missing(&self) -> Vec<usize> {
        (1..self.places.len()).filter(|process| self.places[*process].is_none()).collect()
    }

    /// Closes the roster: all have come.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }

    /// Returns whether the roster is closed.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(process: usize) -> Request {
        Request { process: Some(process), ..Request::default() }
    }

    #[test]
    fn each_number_is_given_once_and_again_once_it_is_free() {
        let mut roster = Roster::new(4, 8, None);
        assert_eq!(roster.admit(&asks(1), "a"), Ok(1));
        assert_eq!(roster.admit(&Request::default(), "b"), Ok(3), "the highest free one");
        let refused = roster.admit(&asks(1), "c").unwrap_err();
        assert!(
            refused.passing && refused.reason.contains("process 1 is there already, from a"),
            "{refused:?}"
        );
        assert_eq!(roster.missing(), [2]);
        roster.leave(1);
        assert_eq!((roster.admit(&asks(1), "c"), roster.admit(&Request::default(), "d")), (Ok(1), Ok(2)));
        assert!(roster.missing().is_empty());
        assert!(
            roster.admit(&Request::default(), "e").unwrap_err().reason.contains("all processes are there")
        );
        roster.complete();
        let refused = roster.admit(&asks(2), "e").unwrap_err();
        assert!(refused.passing && refused.reason.contains("runs already"), "{refused:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused_for_good() {
        let mut roster = Roster::new(2, 4, Some("65d1aaaabbbb".into()));
        let mut refused = |request: Request| {
            let refused = roster.admit(&request, "a").unwrap_err();
            assert!(!refused.passing, "{refused:?}");
            refused.reason
        };
        assert!(refused(asks(2)).contains("no place for a process 2: process 0 awaits 1 to 1"));
        assert!(refused(asks(0)).contains("no place for a process 0"));
        let processes = Request { processes: Some(3), ..asks(1) };
        assert_eq!(refused(processes), "this process was told of 3 processes, but process 0 of 2");
        let workers = Request { workers: Some(2), ..asks(1) };
        assert_eq!(refused(workers), "this process was told of 2 workers, but process 0 of 4");
        let job = Request { job: Some("7fcd".into()), ..asks(1) };
        assert!(refused(job).contains("SHA-256 7fcd… and not 65d1aaaa…"));
        let same =
            Request { job: Some("65d1aaaabbbb".into()), processes: Some(2), workers: Some(4), ..asks(1) };
        assert_eq!(roster.admit(&same, "a"), Ok(1));
    }
}

//! Starts a job again after something went wrong, feeds it, and compares its predictions with what the feeders
//! know.

use crate::account::ASSIGNED;
use crate::fed_job::{Came, Place, Process};
use crate::feeding::{Known, few, taken};

/// A promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// An acknowledged sample was not trained on.
    Lost,
    /// A sample was trained on twice, or an id names two samples.
    Doubled,
    /// Samples are gone and nothing says so, or a job ended without a reason.
    Unsaid,
    /// Something took longer than it may.
    Hangs,
    /// Any other.
    Wrong,
}

/// What came of a case.
#[derive(Default)]
pub struct Outcome {
    /// Broken promises.
    pub broken: Vec<(Broken, String)>,
    /// Why the job did not start again, if it did not.
    pub refused: Option<String>,
    /// Whether it was told to go on without what is gone.
    pub accepted: bool,
    /// Acknowledged samples that are gone, which was allowed.
    pub gone: usize,
}

impl Outcome {
    pub fn breaks(&mut self, what: Broken, how: impl Into<String>) {
        self.broken.push((what, how.into()));
    }
}

/// Ways to go on that a message may offer.
const OFFERS: [&str; 2] = ["--accept-loss", "--forget-log"];
/// One of these words is in a message about something that is gone.
const WORDS: [&str; 5] = ["gone", "lost", "missing", "damaged", "deleted"];

/// Starts the job until it runs, with what its messages offer; None where it refuses.
pub fn start(
    place: &Place,
    arguments: &[&str],
    outcome: &mut Outcome,
    said: &mut Vec<String>,
) -> Option<Process> {
    let mut offered = Vec::new();
    loop {
        let mut job = place.start(&[arguments, &offered].concat(), &[]);
        let came = job.comes_up();
        said.extend(job.complaints());
        let code = match came {
            Came::Up => return Some(job),
            Came::Hangs => {
                outcome.breaks(Broken::Hangs, format!("it neither starts nor ends: {}", job.last_words()));
                return None;
            }
            Came::Ended(code) => code,
        };
        let reason = job.complaints().join("; ");
        if !matches!(code, Some(1 | 2)) {
            outcome.breaks(Broken::Wrong, format!("ended with {code:?} at the start: {}", job.last_words()));
            return None;
        }
        if reason.is_empty() {
            outcome.breaks(Broken::Unsaid, "ended at the start without a reason");
            return None;
        }
        match OFFERS.iter().find(|offer| reason.contains(**offer) && !offered.contains(*offer)) {
            Some(offer) => offered.push(offer),
            None => {
                outcome.refused = Some(reason);
                return None;
            }
        }
        outcome.accepted = true;
    }
}

/// Starts the job of `place` with further arguments, feeds it, ends it and compares. What `known` allows to be
/// gone must be mentioned if `must_say`.
pub fn recover(place: &Place, mut known: Known, arguments: &[&str], must_say: bool) -> Outcome {
    let (mut outcome, mut said) = (Outcome::default(), Vec::new());
    let Some(mut job) = start(place, arguments, &mut outcome, &mut said) else { return outcome };
    if let Err(how) = feed(place, &mut job, &mut known, &mut outcome) {
        let what = if job.ended().is_some() { Broken::Wrong } else { Broken::Hangs };
        outcome.breaks(what, format!("{how}; {}", job.last_words()));
    }
    if job.ended().is_none() {
        job.signal("TERM");
        match job.ends() {
            Some(Some(0)) => {}
            Some(code) => outcome.breaks(Broken::Wrong, format!("ended with {code:?}: {}", job.last_words())),
            None => outcome.breaks(Broken::Hangs, format!("SIGTERM does not end it: {}", job.last_words())),
        }
    }
    said.extend(job.complaints());
    let difference = known.account.difference(&place.predicted());
    outcome.gone = difference.gone.len();
    let is_said = said.iter().any(|line| WORDS.iter().any(|word| line.contains(word)));
    if must_say && outcome.gone > 0 && !is_said {
        outcome.breaks(Broken::Unsaid, format!("{} samples are gone: {said:?}", outcome.gone));
    }
    for (what, ids) in [
        (Broken::Lost, difference.lost),
        (Broken::Doubled, difference.doubled),
        (Broken::Wrong, difference.unknown),
    ] {
        if !ids.is_empty() {
            outcome.breaks(what, few(&ids));
        }
    }
    outcome
}

/// Feeds new samples, sends old ones again, and waits until all are trained on.
fn feed(place: &Place, job: &mut Process, known: &mut Known, outcome: &mut Outcome) -> Result<(), String> {
    // What is predicted after the start is part of the checkpoint.
    let old = place.predicted().into_iter().find(|id| *id < ASSIGNED && !known.account.may_be_gone(*id));
    for _ in 0..2 {
        known.insist(|known| known.round(place, job))?;
    }
    let again: Vec<u64> = known.named.iter().rev().skip(20).take(8).copied().collect();
    if !again.is_empty() {
        known.insist(|known| known.post(job, &again))?;
    }
    if let Some(old) = old.filter(|old| *old < 1 << 32) {
        let (status, answer) = job.post(&[old], |id| id + 1)?;
        if status != 409 {
            outcome.breaks(
                Broken::Doubled,
                format!("id {old} is taken again with other values: {status} {answer}"),
            );
        }
    }
    known.trained(place)?;
    match taken(job.ask("GET", "/healthz", ""))? {
        healthy if healthy["status"] == "ok" => Ok(()),
        other => Err(format!("not healthy: {other}")),
    }
}

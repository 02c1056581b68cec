//! The n-th write, sync, rename, … of a job fails or kills it; then it is started again without faults.

use crate::damage::{Loss, lose_unsynced};
use crate::fed_job::{Came, Place, Process, patience, within};
use crate::feeding::{Known, taken};
use crate::recovery::{Broken, Outcome, recover};
use crate::shim::{Effect, Fault, OPS, Trace, environment};
use crate::tally::Tally;
use std::collections::BTreeSet;
use std::path::Path;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
/// Calls in which an error lasts to the end of the run.
const FOR_EVER: u64 = 1 << 40;

/// Returns the effects that make sense for a call.
fn effects(op: &str) -> Vec<Effect> {
    match op {
        "accept" => vec![Effect::Error(EMFILE, 1), Effect::Error(EMFILE, 40)],
        "open" => vec![Effect::Kill, Effect::Error(EMFILE, 1), Effect::Error(EMFILE, FOR_EVER)],
        "write" | "mkdir" => vec![
            Effect::Kill,
            Effect::Error(EIO, 1),
            Effect::Error(ENOSPC, 1),
            Effect::Error(ENOSPC, FOR_EVER),
        ],
        _ => vec![Effect::Kill, Effect::Error(EIO, 1), Effect::Error(EIO, FOR_EVER)],
    }
}

/// Runs a job with a fault and again without; returns what came of it and whether the fault happened.
fn case(folder: &Path, fault: &Fault, power: bool) -> (Outcome, bool) {
    let place = Place::new(&folder.join("job"));
    let trace = folder.join("trace");
    let (mut known, mut outcome) = (Known::default(), Outcome::default());
    let mut job = place.start(&[], &environment(&place.folder, &trace, Some(fault)));
    match job.comes_up() {
        Came::Up => suffer(&place, &mut job, &mut known, &mut outcome),
        Came::Hangs => {
            outcome.breaks(Broken::Hangs, format!("it neither starts nor ends: {}", job.last_words()))
        }
        Came::Ended(_) => {}
    }
    let code = job.ended().unwrap_or_else(|| {
        job.signal("TERM");
        job.ends().unwrap_or_else(|| {
            outcome.breaks(Broken::Hangs, format!("SIGTERM does not end it: {}", job.last_words()));
            job.kill();
            None
        })
    });
    let trace = Trace::read(&trace);
    match (code, fault.effect) {
        (None, Effect::Kill) | (Some(0), _) => {}
        (Some(1 | 2), _) if job.complaints().is_empty() => {
            outcome.breaks(Broken::Unsaid, "ended without a reason")
        }
        (Some(1 | 2), _) => {}
        (code, _) => outcome.breaks(Broken::Wrong, format!("ended with {code:?}: {}", job.last_words())),
    }
    if power {
        lose_unsynced(&trace, Loss::Cut, None);
        known.account.may_lose_all_but(&BTreeSet::new());
    }
    let after = recover(&place, known, &[], false);
    outcome.broken.extend(after.broken);
    (Outcome { broken: outcome.broken, ..after }, trace.hit)
}

/// Feeds a job in which something fails. It may end, refuse for a while, or go on.
fn suffer(place: &Place, job: &mut Process, known: &mut Known, outcome: &mut Outcome) {
    let mut refused = None;
    for _ in 0..8 {
        let fed = known.round(place, job);
        if job.ended().is_some() {
            return;
        }
        refused = fed.err();
    }
    let Some(refused) = refused else { return };
    // Whoever is refused is told the truth: the job ends, or goes on, or says that it is not well.
    let told = within(patience(), || {
        let well = job.ended().is_some() || known.round(place, job).is_ok();
        let ill = || taken(job.ask("GET", "/healthz", "")).is_ok_and(|answer| answer["status"] == "ok");
        (well || !ill()).then_some(())
    });
    if told.is_none() {
        outcome.breaks(
            Broken::Wrong,
            format!("it says it is well and refuses: {refused}; {}", job.last_words()),
        );
    }
}

/// Adds the case of a fault; returns whether the fault happened.
fn add(fault: &Fault, power: bool, tally: &mut Tally) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, is_hit) = case(folder.path(), fault, power);
    let then = if power { ", and the power goes" } else { "" };
    tally.add(&format!("{fault}{then}"), outcome);
    is_hit
}

/// Runs a few cases.
pub fn some() {
    let mut tally = Tally::default();
    let cases = [
        ("write", 150, Effect::Kill),
        ("write", 60, Effect::Error(ENOSPC, FOR_EVER)),
        ("sync", 90, Effect::Error(EIO, 1)),
        ("open", 120, Effect::Error(EMFILE, FOR_EVER)),
    ];
    for (op, at, effect) in cases {
        add(&Fault { op, at, effect }, effect == Effect::Kill, &mut tally);
    }
    tally.close();
}

/// Lets calls of every kind fail, ever later ones until the run has no more.
pub fn all() {
    let mut tally = Tally::default();
    for op in OPS {
        for effect in effects(op) {
            let mut at = 1;
            loop {
                let fault = Fault { op, at, effect };
                let is_hit = add(&fault, false, &mut tally);
                if effect == Effect::Kill && is_hit {
                    add(&fault, true, &mut tally);
                }
                if !is_hit {
                    break;
                }
                at = at * 8 / 5 + 1;
            }
        }
    }
    tally.close();
}

//! Power loss and bad disks: one run is killed; then, for every place where its files may end, they are cut or
//! zero from there on, and the job is started again and fed.

use crate::damage::{Loss, boundaries, checkpoints, copy, end_of_log, journals, lose, lose_unsynced};
use crate::fed_job::{Came, Place};
use crate::feeding::Known;
use crate::recovery::{Broken, Outcome, recover};
use crate::shim::{Trace, environment};
use crate::tally::Tally;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which acknowledged samples may be gone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gone {
    Nothing,
    /// Those that no checkpoint had when the power went.
    Unsettled,
    /// Any, but the job must say so.
    Any,
    /// Lines of predictions, and the job must say so.
    Lines,
}

/// A way to damage the files of a job.
struct Case {
    name: String,
    gone: Gone,
    damage: Box<dyn Fn(&Place)>,
}

/// A killed job and what is known of it.
struct Base {
    place: Place,
    /// Copies of its folder, and of an older log.
    kept: PathBuf,
    older_log: PathBuf,
    known: Known,
    trace: Trace,
    arguments: Vec<String>,
    /// The end of the log (journal and byte) when the newest checkpoint was asked for.
    seen: (u64, u64),
}

impl Base {
    fn new(folder: &Path, durability: &str) -> Self {
        let place = Place::new(&folder.join("job"));
        let (kept, older_log, trace) = (folder.join("kept"), folder.join("older"), folder.join("trace"));
        let arguments = vec!["--set".to_string(), format!("log.durability={durability}")];
        let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut known = Known::default();
        let mut seen = (0, 0);
        for more in [0, 3] {
            let mut job = place.start(&borrowed, &environment(&place.folder, &trace, None));
            assert_eq!(job.comes_up(), Came::Up, "{}", job.last_words());
            for _ in 0..6 {
                known.insist(|known| known.round(&place, &job)).unwrap();
            }
            known.trained(&place).unwrap();
            seen = end_of_log(&place);
            known.settle(&place, &job).unwrap();
            for _ in 0..more {
                known.insist(|known| known.round(&place, &job)).unwrap();
            }
            job.kill();
            if more == 0 {
                copy(&place.log(), &older_log);
            }
        }
        copy(&place.folder, &kept);
        let trace = Trace::read(&trace);
        Self { place, kept, older_log, known, trace, arguments, seen }
    }

    fn run(&self, case: &Case, tally: &mut Tally) {
        copy(&self.kept, &self.place.folder);
        (case.damage)(&self.place);
        let mut known = self.known.clone();
        match case.gone {
            Gone::Nothing => {}
            Gone::Unsettled => known.account.may_lose_all_but(&self.known.settled),
            Gone::Lines => known.account.loses_sight(),
            Gone::Any => known.account.may_lose_all_but(&BTreeSet::new()),
        }
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut outcome =
            recover(&self.place, known, &arguments, matches!(case.gone, Gone::Any | Gone::Lines));
        if outcome.refused.is_some() && case.gone == Gone::Unsettled {
            outcome.breaks(Broken::Wrong, "a power loss must not stop the job");
        }
        tally.add(&case.name, outcome);
    }

    /// Returns the first byte of a file that was not synced.
    fn synced(&self, path: &Path) -> u64 {
        self.trace.unsynced.get(path).copied().unwrap_or(u64::MAX)
    }

    /// What was not synced is gone, and all of the log from any batch on.
    fn journal_cases(&self) -> Vec<Case> {
        let (mut cases, is_fsync) = (Vec::new(), self.arguments[1].ends_with("fsync"));
        for (number, path) in journals(&self.place) {
            let mut before = 0;
            for end in boundaries(&path) {
                for (place, from) in [("after", end), ("within", (before + end) / 2)] {
                    for loss in [Loss::Cut, Loss::Zero] {
                        // What a checkpoint has seen must be on disk; what came later need not be.
                        let is_seen = (number, from) < self.seen;
                        let is_synced = from < self.synced(&path);
                        let gone = match (is_seen, is_synced) {
                            (true, _) => Gone::Any,
                            (false, false) if is_fsync => Gone::Nothing,
                            _ => Gone::Unsettled,
                        };
                        let (journal, trace) = (path.clone(), self.trace.clone());
                        let damage = Box::new(move |_: &Place| {
                            if !is_synced {
                                lose_unsynced(&trace, loss, Some(&journal));
                            }
                            lose(&journal, from, loss);
                        });
                        let name = format!(
                            "{loss:?} of journal {number} {place} byte {from} ({gone:?} may be gone)"
                        );
                        cases.push(Case { name, gone, damage });
                    }
                }
                before = end;
            }
        }
        cases
    }

    /// Everything that was not synced is gone.
    fn power_cases(&self) -> Vec<Case> {
        let gone = if self.arguments[1].ends_with("fsync") { Gone::Nothing } else { Gone::Unsettled };
        let case = |loss| {
            let trace = self.trace.clone();
            let damage = Box::new(move |_: &Place| lose_unsynced(&trace, loss, None));
            Case { name: format!("{loss:?} of all that was not synced"), gone, damage }
        };
        vec![case(Loss::Cut), case(Loss::Zero)]
    }

    /// A file of a checkpoint is damaged, or the checkpoint is gone.
    fn checkpoint_cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut case = |name: String, damage: Box<dyn Fn(&Place)>| {
            cases.push(Case { name, gone: Gone::Nothing, damage });
        };
        for (step, folder) in checkpoints(&self.place) {
            for file in ["manifest.json", "state.bin", "model.safetensors"] {
                let path = folder.join(file);
                let bytes = std::fs::metadata(&path).unwrap().len();
                for loss in [Loss::Cut, Loss::Zero] {
                    for from in [0, bytes / 2, bytes - 2] {
                        let path = path.clone();
                        let name = format!("{loss:?} of step {step}, {file}, from byte {from} of {bytes}");
                        case(name, Box::new(move |_| lose(&path, from, loss)));
                    }
                }
                let name = format!("step {step} without {file}");
                case(name, Box::new(move |_| std::fs::remove_file(&path).unwrap()));
            }
            let name = format!("without step {step}");
            case(name, Box::new(move |_| std::fs::remove_dir_all(&folder).unwrap()));
        }
        let all = |place: &Place| {
            checkpoints(place).iter().for_each(|(_, folder)| std::fs::remove_dir_all(folder).unwrap());
        };
        case("without any checkpoint".into(), Box::new(all));
        let file = |place: &Place| std::fs::write(place.state().join("step-000000999999"), "").unwrap();
        case("a file has the name of a checkpoint".into(), Box::new(file));
        cases
    }

    /// The log, the predictions or the history are damaged, or an older copy.
    fn other_cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut case = |name: &str, gone, damage: Box<dyn Fn(&Place)>| {
            cases.push(Case { name: name.into(), gone, damage });
        };
        case(
            "the log is deleted",
            Gone::Any,
            Box::new(|place| std::fs::remove_dir_all(place.log()).unwrap()),
        );
        let older = self.older_log.clone();
        case("the log is an older copy", Gone::Any, Box::new(move |place| copy(&older, &place.log())));
        let halve = |place: &Place| {
            let bytes = std::fs::metadata(place.predictions()).unwrap().len();
            lose(&place.predictions(), bytes / 2, Loss::Cut);
        };
        case("half of the predictions", Gone::Lines, Box::new(halve));
        for loss in [Loss::Cut, Loss::Zero] {
            let name = format!("{loss:?} of the history");
            let damage = move |place: &Place| lose(&place.state().join("history.db"), 0, loss);
            case(&name, Gone::Nothing, Box::new(damage));
        }
        let removed = |place: &Place| std::fs::remove_file(place.predictions()).unwrap();
        case("the predictions are deleted", Gone::Lines, Box::new(removed));
        cases
    }
}

/// Checks that the log is on disk as far as a checkpoint has seen it.
fn check_base(base: &Base, tally: &mut Tally) {
    let (number, path) = journals(&base.place).pop().unwrap();
    let mut outcome = Outcome::default();
    if (number, base.synced(&path)) < base.seen {
        let how =
            format!("on disk to byte {} of journal {number}, seen to {:?}", base.synced(&path), base.seen);
        outcome.breaks(Broken::Lost, how);
    }
    tally.add("the log when a checkpoint is written", outcome);
}

/// Runs a few cases.
pub fn some() {
    let folder = tempfile::tempdir().unwrap();
    let (base, mut tally) = (Base::new(folder.path(), "os"), Tally::default());
    check_base(&base, &mut tally);
    // What there is is listed before the first case changes it.
    let (checkpoints, journal) = (base.checkpoint_cases(), base.journal_cases());
    base.run(&base.power_cases()[0], &mut tally);
    base.run(&base.other_cases()[0], &mut tally);
    base.run(&checkpoints[checkpoints.len() / 2], &mut tally);
    for share in [3, 6, 9] {
        base.run(&journal[journal.len() * share / 10], &mut tally);
    }
    tally.close();
}

/// Runs every case with this setting of `log.durability`.
pub fn all(durability: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (base, mut tally) = (Base::new(folder.path(), durability), Tally::default());
    check_base(&base, &mut tally);
    let groups = [base.power_cases(), base.other_cases(), base.checkpoint_cases(), base.journal_cases()];
    groups.iter().flatten().for_each(|case| base.run(case, &mut tally));
    tally.close();
}

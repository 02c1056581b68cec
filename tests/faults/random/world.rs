//! A job, what its feeders know of it, and what each action does to both.

use crate::damage::{Loss, boundaries, checkpoints, copy, journals, lose};
use crate::fed_job::{Place, Process, patience, within};
use crate::feeding::{Known, taken};
use crate::random::action::Action;
use crate::random::disk::Disk;
use crate::recovery::{Outcome, start};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Settings that may change while a state stays, and their values.
const FREE: [(&str, &[&str]); 8] = [
    ("optimiser.learning_rate", &["0.01", "0.02"]),
    ("method.threshold", &["0.6", "0.8"]),
    ("checkpoint.steps", &["2", "4", "9"]),
    ("checkpoint.keep", &["1", "2", "3"]),
    ("batch.max_wait", &["20ms", "100ms"]),
    ("batch.unlabelled", &["8", "16"]),
    ("log.max_bytes", &["65536", "131072"]),
    ("log.durability", &["os", "fsync"]),
];
/// Time that a feeder waits for the log before it gives up for now.
const A_WHILE: Duration = Duration::from_millis(1500);

pub struct World {
    pub place: Place,
    pub known: Known,
    pub job: Option<Process>,
    pub paused: bool,
    /// Whether the log was cut or a checkpoint was lost since the last that holds everything.
    pub damaged: bool,
    /// What happened that the actions do not tell.
    pub remarks: Vec<String>,
    /// A SIGKILL is on its way.
    killed: bool,
    /// Whether the disk was full while this process ran: it may end for that.
    met_full_disk: bool,
    settings: BTreeMap<&'static str, &'static str>,
    beside: PathBuf,
    pub quiets: usize,
    starts: usize,
    held_back: usize,
    refused: usize,
    disk: Disk,
}

impl World {
    pub fn new(folder: &Path) -> Self {
        let disk = Disk::new(&folder.join("disk"));
        Self {
            place: Place::new(&folder.join("disk/job")),
            known: Known::default(),
            job: None,
            paused: false,
            damaged: false,
            remarks: Vec::new(),
            killed: false,
            met_full_disk: false,
            settings: BTreeMap::new(),
            beside: folder.join("beside"),
            quiets: 0,
            starts: 0,
            held_back: 0,
            refused: 0,
            disk,
        }
    }

    /// Does an action; returns which promise was broken.
    pub fn does(&mut self, action: &Action) -> Result<(), String> {
        let paused = self.paused;
        let limit = if paused { A_WHILE } else { patience() };
        match *action {
            Action::Post(count) => {
                let ids = self.known.fresh(count);
                self.asks(|known, job, _| known.post(job, &ids).map(drop))
            }
            Action::PostUnnamed(count) => self.asks(|known, job, _| known.post_unnamed(job, count)),
            Action::Resend(which) => self.resend(which),
            Action::Reuse(which) => self.reuse(which),
            Action::Feed(count) => self.asks(|known, _, place| known.feed(place, count, limit.min(A_WHILE))),
            Action::Label(which) => {
                let Some(id) = self.known.any(which) else { return Ok(()) };
                let label = json!({ "id": id, "class": which % 10 }).to_string();
                self.asks(|_, job, _| taken(job.ask("POST", "/labels", &label)).map(drop))
            }
            Action::Withdraw(which) => {
                let Some(id) = self.known.any(which) else { return Ok(()) };
                let label = json!({ "id": id, "class": null }).to_string();
                self.asks(|_, job, _| taken(job.ask("POST", "/labels", &label)).map(drop))
            }
            Action::Flood(requests) => {
                self.asks(|known, job, _| (0..requests).try_for_each(|_| known.post_unnamed(job, 50)))
            }
            Action::FloodLabels(count) => {
                let ids = (0..20 * count).filter_map(|which| self.known.any(which));
                let label = |id| format!("{}\n", json!({ "id": id, "class": id % 10 }));
                let labels: String = ids.map(label).collect();
                if labels.is_empty() {
                    return Ok(());
                }
                self.asks(|_, job, _| taken(job.ask("POST", "/labels", &labels)).map(drop))
            }
            Action::Pause => {
                let mut paused = false;
                let asked = self.asks(|_, job, _| {
                    taken(job.ask("POST", "/control/pause", ""))?;
                    paused = true;
                    Ok(())
                });
                self.paused |= paused;
                asked
            }
            Action::Resume => self.resume(),
            Action::Checkpoint => {
                self.asks(|_, job, _| taken(job.ask("POST", "/control/checkpoint", "")).map(drop))
            }
            Action::Idle(milliseconds) => {
                std::thread::sleep(Duration::from_millis(milliseconds));
                Ok(())
            }
            Action::Kill(milliseconds) => self.kill(milliseconds),
            Action::Terminate => self.terminate(),
            Action::Change(which) => {
                self.terminate()?;
                let (key, values) = FREE[which as usize % FREE.len()];
                let value = values[(which >> 8) as usize % values.len()];
                self.settings.insert(key, value);
                self.remarks.push(format!("{key} = {value}"));
                self.runs()
            }
            Action::CutLog(which) => self.cut_log(which),
            Action::DropCheckpoint => self.drop_checkpoint(),
            Action::FillDisk(milliseconds) => self.fill_disk(milliseconds),
            Action::Quiet => self.quiet(),
        }
    }

    /// Starts the job if it does not run.
    pub fn runs(&mut self) -> Result<(), String> {
        match self.tries_to_run()? {
            None => Ok(()),
            Some(reason) => Err(format!("it does not start: {reason}")),
        }
    }

    /// Starts the job if it does not run; returns why it refuses.
    fn tries_to_run(&mut self) -> Result<Option<String>, String> {
        self.is_dead()?;
        if self.job.is_some() {
            return Ok(None);
        }
        let sets: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let (mut outcome, mut said) = (Outcome::default(), Vec::new());
        self.job = start(&self.place, &arguments, &mut outcome, &mut said);
        (self.starts, self.met_full_disk) = (self.starts + 1, false);
        self.remarks.extend(said);
        match (outcome.broken.pop(), outcome.refused) {
            (Some((_, how)), _) => Err(how),
            (None, refused) => self.is_paused_still().map(|()| refused),
        }
    }

    /// A pause outlives a restart.
    fn is_paused_still(&self) -> Result<(), String> {
        let Some(job) = self.job.as_ref().filter(|_| self.paused) else { return Ok(()) };
        let progress = taken(job.ask("GET", "/progress.json", ""))?;
        if progress["paused"] == true {
            Ok(())
        } else {
            Err(format!("it has forgotten its pause: {progress}"))
        }
    }

    /// Notices that the job has ended. It may, if it was killed or the disk is full.
    fn is_dead(&mut self) -> Result<(), String> {
        let Some(job) = &mut self.job else { return Ok(()) };
        let Some(code) = job.ended() else { return Ok(()) };
        let reason = format!("it has ended with {code:?}: {}", job.last_words());
        let may = match code {
            None => self.killed,
            Some(1) => self.met_full_disk && !job.complaints().is_empty(),
            Some(_) => false,
        };
        (self.job, self.killed) = (None, false);
        self.remarks.push("it has ended".into());
        if may { Ok(()) } else { Err(reason) }
    }

    /// Waits for a SIGKILL that is on its way.
    pub fn dies(&mut self) -> Result<(), String> {
        if self.killed {
            let job = &mut self.job;
            within(patience(), || job.as_mut().is_none_or(|job| job.ended().is_some()).then_some(()));
            self.is_dead()?;
            self.killed = false;
        }
        Ok(())
    }

    /// Asks something of the running job. It may be held back, and it may have been killed.
    pub fn asks(
        &mut self,
        what: impl FnOnce(&mut Known, &Process, &Place) -> Result<(), String>,
    ) -> Result<(), String> {
        self.runs()?;
        let Some(job) = &self.job else { return Ok(()) };
        let Err(reason) = what(&mut self.known, job, &self.place) else { return Ok(()) };
        let held_back = ["429", "503", "507", "over TCP: Waits"].iter().any(|held| reason.starts_with(held));
        if held_back {
            self.held_back += 1;
            self.remarks.push(reason);
            return Ok(());
        }
        if self.killed {
            return self.dies();
        }
        if self.met_full_disk {
            self.remarks.push(reason);
            return Ok(());
        }
        Err(reason)
    }

    fn resend(&mut self, which: u64) -> Result<(), String> {
        let mut ids: Vec<u64> = (0..5).filter_map(|at| self.known.any(which >> at)).collect();
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let is_sure = ids.iter().all(|id| !self.known.account.may_be_gone(*id));
        self.asks(|known, job, _| {
            let answer = known.post(job, &ids)?;
            match answer["repeated"].as_u64() == Some(ids.len() as u64) || !is_sure {
                true => Ok(()),
                false => Err(format!("acknowledged samples were taken again: {ids:?}: {answer}")),
            }
        })
    }

    fn reuse(&mut self, which: u64) -> Result<(), String> {
        let Some(id) = self.known.any(which).filter(|id| !self.known.account.may_be_gone(*id)) else {
            return Ok(());
        };
        self.asks(|_, job, _| match job.post(&[id], |id| id + 1)? {
            (409, _) => Ok(()),
            (status, answer) => Err(format!("{status}: {answer}: id {id} with other values")),
        })
    }

    pub fn resume(&mut self) -> Result<(), String> {
        self.paused = false;
        self.asks(|_, job, _| taken(job.ask("POST", "/control/resume", "")).map(drop))
    }

    fn kill(&mut self, milliseconds: u64) -> Result<(), String> {
        self.runs()?;
        if let (Some(job), false) = (&self.job, self.killed) {
            let pid = job.pid().to_string();
            self.killed = true;
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(milliseconds));
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            });
        }
        Ok(())
    }

    fn terminate(&mut self) -> Result<(), String> {
        self.dies()?;
        let Some(mut job) = self.job.take() else { return Ok(()) };
        job.signal("TERM");
        match job.ends() {
            Some(Some(0)) => Ok(()),
            Some(Some(1)) if self.met_full_disk && !job.complaints().is_empty() => Ok(()),
            Some(code) => Err(format!("SIGTERM ends it with {code:?}: {}", job.last_words())),
            None => Err(format!("SIGTERM does not end it: {}", job.last_words())),
        }
    }

    fn kill_now(&mut self) -> Result<(), String> {
        self.dies()?;
        if let Some(mut job) = self.job.take() {
            job.kill();
        }
        Ok(())
    }

    fn cut_log(&mut self, which: u64) -> Result<(), String> {
        self.runs()?;
        self.kill_now()?;
        copy(&self.place.state(), &self.beside);
        let Some((number, path)) = journals(&self.place).pop() else { return Ok(()) };
        let ends = boundaries(&path);
        let Some(from) = ends.iter().rev().nth(which as usize % ends.len().clamp(1, 30)) else {
            return Ok(());
        };
        let loss = if which & 1 << 20 == 0 { Loss::Cut } else { Loss::Zero };
        lose(&path, *from, loss);
        self.remarks.push(format!("{loss:?} of journal {number} from {from} of {:?}", ends.last()));
        if self.takes_damage()? {
            let settled = self.known.settled.clone();
            self.known.account.may_lose_all_but(&settled);
        }
        Ok(())
    }

    /// Starts the damaged job, or undoes the damage where it refuses to start. Returns whether the damage stays.
    fn takes_damage(&mut self) -> Result<bool, String> {
        let refused = self.tries_to_run()?;
        self.damaged |= refused.is_none();
        let Some(reason) = refused else { return Ok(true) };
        self.refused += 1;
        self.remarks.push(format!("undone: {reason}"));
        copy(&self.beside, &self.place.state());
        self.runs().map(|()| false)
    }

    fn drop_checkpoint(&mut self) -> Result<(), String> {
        if self.damaged {
            self.remarks.push("not done: it would be the second loss".into());
            return Ok(());
        }
        self.runs()?;
        self.kill_now()?;
        copy(&self.place.state(), &self.beside);
        let Some((step, newest)) = checkpoints(&self.place).pop() else { return Ok(()) };
        std::fs::remove_dir_all(newest).unwrap();
        self.remarks.push(format!("without step {step}"));
        self.takes_damage().map(|_| ())
    }

    fn fill_disk(&mut self, milliseconds: u64) -> Result<(), String> {
        self.dies()?;
        self.runs()?;
        if !self.disk.fill() {
            return Ok(());
        }
        self.met_full_disk = true;
        for action in [Action::Post(20), Action::Checkpoint, Action::PostUnnamed(20), Action::Feed(10)] {
            if self.job.is_some() {
                self.does(&action)?;
                self.is_dead()?;
            }
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.disk.free();
        self.is_dead()
    }

    pub fn last_words(&self) -> String {
        self.job.as_ref().map_or("it does not run".into(), Process::last_words)
    }

    pub fn summary(&self) -> String {
        format!(
            "{} samples acknowledged, {} starts, {} times held back, {} damages refused",
            self.known.account.len(),
            self.starts,
            self.held_back,
            self.refused
        )
    }
}

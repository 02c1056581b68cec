//! The folder of a comparison: `plan.json` holds its settings, each run has a state folder with a
//! `summary.json` once it is done, `compare.json` and `compare.md` hold the table.

use crate::compare::outcome::{Outcome, fingerprint};
use crate::engine::checkpoint::lock;
use crate::job::Job;
use crate::job::difference::{self, Difference};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::replace;
use sluicebox_learn::device;
use sluicebox_learn::device::{Compute, Precision};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Version of this layout.
const VERSION: u32 = 1;

/// Settings of a comparison. A folder with another plan is not touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plan {
    /// Version of this layout.
    version: u32,
    /// The varied keys.
    keys: Vec<String>,
    /// The job without variations.
    job: Job,
    /// Resolved value of `precision = "auto"` on each device: the same for all runs, whenever they
    /// are made.
    precisions: BTreeMap<String, Precision>,
}

/// A finished run.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    job: Job,
    outcome: Outcome,
}

/// The folder, locked by this process.
pub struct Folder {
    /// Path of the folder.
    pub path: PathBuf,
    plan: Plan,
    made: bool,
    _lock: File,
}

impl Folder {
    /// Opens or creates the folder of a comparison of `job`.
    pub fn open(path: &Path, job: &Job, keys: &[String]) -> Result<Self> {
        if path.is_file() {
            return Err(Error::file(path, "is a file, but a comparison needs a folder"));
        }
        let mut plan =
            Plan { version: VERSION, keys: keys.to_vec(), job: job.clone(), precisions: BTreeMap::new() };
        let found = path.join("plan.json");
        let made = !path.exists();
        if found.exists() {
            let there: Plan = read(&found)?;
            refuse_other(path, &plan, &there)?;
            plan.precisions = there.precisions;
        } else if std::fs::read_dir(path)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != "lock"))
        {
            let reason = "is not empty and holds no comparison; name another folder with --out";
            return Err(Error::file(path, reason));
        }
        let cannot = |error| Error::file(path, format!("cannot write to the folder: {error}"));
        std::fs::create_dir_all(path).map_err(cannot)?;
        match lock(path).map_err(cannot)? {
            Some(lock) => Ok(Self { path: path.to_path_buf(), plan, made, _lock: lock }),
            None => Err(Error::file(path, "another comparison is running in this folder")),
        }
    }

    /// Removes a newly created folder in which nothing was done.
    pub fn abandon(self) {
        if self.made {
            let _ = std::fs::remove_file(self.path.join("lock"));
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    /// Resolves precisions that are `auto`, and writes the plan.
    pub fn settle<'j>(&mut self, jobs: impl Iterator<Item = &'j mut Job>) -> Result<()> {
        for job in jobs.filter(|job| job.precision == Precision::Auto) {
            job.precision = match self.plan.precisions.get(&job.device) {
                Some(precision) => *precision,
                None => Compute::new(device::open(&job.device, job.threads)?, Precision::Auto).precision,
            };
            self.plan.precisions.insert(job.device.clone(), job.precision);
        }
        write(&self.path.join("plan.json"), &self.plan)
    }

    /// Returns the state folder of a run: the variant's name, the seed, and the end where it is not
    /// the job's own.
    pub fn state(&self, variant: &str, job: &Job, stretched: bool) -> PathBuf {
        let end = match (stretched, job.stop.epochs) {
            (false, _) => String::new(),
            (true, 0) => format!("-samples-{}", job.stop.samples),
            (true, epochs) => format!("-epochs-{epochs}"),
        };
        self.path.join(name(variant)).join(format!("seed-{}{end}", job.seed))
    }
}

/// Returns an error that names the difference between two plans.
fn refuse_other(path: &Path, plan: &Plan, there: &Plan) -> Result<()> {
    let other = |difference: String| {
        let reason =
            format!("holds another comparison: {difference}; name another folder with --out, or remove it");
        Err(Error::file(path, reason))
    };
    if plan.version != there.version {
        return other(format!("it has version {}, not {}", there.version, plan.version));
    }
    if plan.keys != there.keys {
        return other(format!("it varies {}, not {}", there.keys.join(", "), plan.keys.join(", ")));
    }
    difference(&plan.job, &there.job).map_or(Ok(()), other)
}

/// Returns the first key in which two jobs differ, and both values.
fn difference(now: &Job, then: &Job) -> Option<String> {
    let Difference { key, now, then } = difference::first(now, then, &[], |_, _, _| Vec::new())?;
    Some(format!("{key} is {now} now, but {then} there"))
}

/// Returns a variant's name as a folder name: short, of plain letters, and unique.
fn name(variant: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let short: String =
        variant.chars().take(40).map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if short == variant && !short.starts_with('.') {
        return short;
    }
    let sum = Sha256::digest(variant);
    format!("{}-{:02x}{:02x}{:02x}{:02x}", short.trim_start_matches('.'), sum[0], sum[1], sum[2], sum[3])
}

/// Returns the result that a finished run left in its state folder. Refuses one of a different job.
pub fn outcome(state: &Path, job: &Job) -> Result<Option<Outcome>> {
    let path = state.join("summary.json");
    if !path.exists() {
        return Ok(None);
    }
    let record: Record = read(&path)?;
    let intact = record.version == VERSION && record.outcome.job_sha256 == fingerprint(&record.job);
    let difference = difference(job, &record.job);
    if intact && difference.is_none() {
        return Ok(Some(record.outcome));
    }
    let what = difference.unwrap_or("it was written by another version".into());
    Err(Error::file(state, format!("holds a run of another job: {what}; remove it, or name another --out")))
}

/// Writes the result of a run to its state folder.
pub fn keep(state: &Path, job: &Job, outcome: &Outcome) -> Result<()> {
    let record = Record { version: VERSION, job: job.clone(), outcome: outcome.clone() };
    write(&state.join("summary.json"), &record)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    serde_json::from_slice(&text).map_err(|error| Error::file(path, format!("cannot be read: {error}")))
}

/// Replaces a file by `value` as JSON.
pub fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    write_text(path, &serde_json::to_string_pretty(value).map_err(Error::request)?)
}

/// Replaces a file by `text`, which ends with one line end.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    replace(path, format!("{}\n", text.trim_end()).as_bytes())
        .map_err(|error| Error::file(path, format!("cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_have_folders_of_their_own() {
        assert_eq!(name("fixmatch"), "fixmatch");
        let odd = [name("fixmatch / 0.9"), name("fixmatch _ 0.9"), name("../.."), name(&"x".repeat(300))];
        assert!(
            odd.iter().all(|name| name.len() < 60 && !name.contains('/') && !name.starts_with('.')),
            "{odd:?}"
        );
        assert_ne!(odd[0], odd[1]);
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let job = |text: &str| {
            let text = format!("[source]\nkind = \"digits\"\n{text}");
            Job::parse("job.toml", "job", text, &[]).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let keys = ["method.kind".to_string()];
        let open = |job: &Job, keys: &[String]| Folder::open(&path, job, keys);
        let says = |found: Result<Folder>| found.err().unwrap().to_string();

        let first = open(&job(""), &keys).unwrap();
        assert!(says(open(&job(""), &keys)).contains("running in this folder"));
        first.abandon();
        assert!(!path.exists());

        let mut first = open(&job(""), &keys).unwrap();
        let mut fixed = job("[stop]\nepochs = 1");
        fixed.precision = Precision::F32;
        first.settle(std::iter::once(&mut fixed)).unwrap();
        drop(first);
        let other = says(open(&job("[batch]\nlabelled = 7"), &keys));
        assert!(other.contains("batch.labelled is 7 now, but 64 there"), "{other}");
        assert!(says(open(&job(""), &["model.kind".to_string()])).contains("it varies method.kind, not"));
        open(&job(""), &keys).unwrap();

        std::fs::rename(path.join("plan.json"), path.join("notes.json")).unwrap();
        assert!(says(open(&job(""), &keys)).contains("holds no comparison"));
    }

    #[test]
    fn a_run_of_another_job_is_not_taken_for_done() {
        let job = |seed: u64| {
            let text = format!("seed = {seed}\n[source]\nkind = \"digits\"");
            Job::parse("job.toml", "job", text, &[]).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut done = crate::compare::outcome::tests::outcome(&[(10, 1.0, Some(0.5))]);
        done.job_sha256 = fingerprint(&job(3));
        assert_eq!(outcome(folder.path(), &job(3)).unwrap(), None);
        keep(folder.path(), &job(3), &done).unwrap();
        assert_eq!(outcome(folder.path(), &job(3)).unwrap(), Some(done));
        let refused = outcome(folder.path(), &job(4)).unwrap_err().to_string();
        assert!(refused.contains("seed is 4 now, but 3 there"), "{refused}");
    }
}

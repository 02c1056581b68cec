//! Which saved states a job can resume from: the keys that a state depends on must be as they were.

use crate::engine::checkpoint::Saved;
use crate::job::Job;
use crate::job::difference::{self, Difference};
use crate::job::effective::Effective;
use sluicebox_core::config::registry::Registry;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::model::{MODELS, start};
use sluicebox_stream::source::SOURCES;
use toml::Table;

/// Keys that a saved state depends on. Of the options of a source and of a model those may change that its
/// settings declare as [changeable](sluicebox_core::config::document::Settings::changeable).
const FIXED: [&str; 11] = [
    "seed",
    "source",
    "scenario",
    "input",
    "model",
    "method.kind",
    "optimiser.kind",
    "teacher.lag",
    "memory",
    "answer",
    "precision",
];

/// Returns the job that wrote a checkpoint.
pub fn job_of(saved: &Saved) -> Result<Job> {
    let job = serde_json::from_value(saved.manifest.job.resolved.clone());
    job.map_err(|error| Error::file(saved.folder.join("manifest.json"), format!("job: {error}")))
}

/// Refuses a job that cannot resume from `saved`, which the job `then` wrote.
pub fn follows(job: &Job, then: &Job, saved: &Saved) -> Result<()> {
    let Some(difference) = differs(job, then) else { return Ok(()) };
    // A default that is written out is the same setting.
    let written_out = |job: &Job| Effective::foreseen(job).map(|effective| effective.written_out(job));
    if let (Ok(now), Ok(then)) = (written_out(job), written_out(then))
        && differs(&now, &then).is_none()
    {
        return Ok(());
    }
    let reason = format!(
        "this state belongs to a job with other settings: {difference}; undo the change, name another --state, \
         or start anew with --fresh"
    );
    Err(Error::file(&saved.folder, reason))
}

/// Returns the first difference between two jobs with which the one cannot resume the other's state.
fn differs(now: &Job, then: &Job) -> Option<String> {
    let Difference { key, now, then } = difference::first(now, then, &FIXED, changeable)?;
    Some(format!("{key} is {now} now, but was {then} in the saved job"))
}

/// Returns the keys that may change in the table at `path`: those of the component that it names.
fn changeable(path: &str, now: &Table, then: &Table) -> Vec<&'static str> {
    fn of<B>(registry: &Registry<B>, tables: [&Table; 2]) -> Vec<&'static str> {
        let kinds = tables.into_iter().filter_map(|table| table.get("kind")?.as_str());
        let entries = kinds.filter_map(|kind| registry.find(kind).ok());
        entries.flat_map(|entry| (entry.changeable)()).copied().collect()
    }
    match path {
        "model" => [of(&MODELS, [now, then]), start::CHANGEABLE.to_vec()].concat(),
        "source" => of(&SOURCES, [now, then]),
        one_of_several if one_of_several.starts_with("source[") && one_of_several.ends_with(']') => {
            of(&SOURCES, [now, then])
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        Job::parse("job.toml", "job", text.into(), &[]).unwrap()
    }

    #[test]
    fn the_first_difference_is_named() {
        let text = "[source]\nkind = \"digits\"\n";
        let same = differs(&job(text), &job(&format!("{text}[stop]\nepochs = 9\n")));
        assert_eq!(same, None);
        let other = differs(&job(&format!("seed = 9\n{text}")), &job(text));
        assert_eq!(other.unwrap(), "seed is 9 now, but was 0 in the saved job");
        let lag = differs(&job(&format!("{text}[teacher]\nlag = 2\n")), &job(text));
        assert!(lag.unwrap().starts_with("teacher.lag is 2"));
    }

    #[test]
    fn what_a_network_computes_may_not_change() {
        let model = |options: &str| {
            job(&format!("source.kind = \"digits\"\nmodel = {{ kind = \"convnet\"{options} }}"))
        };
        assert_eq!(differs(&model(", frozen = [\"features\"]"), &model("")), None);
        let normalised = model(", normalise = { mean = [0.3], deviation = [0.4] }");
        let other = differs(&normalised, &model(", normalise = { mean = [0.2], deviation = [0.4] }"));
        let other = other.unwrap();
        assert!(other.starts_with("model.normalise.mean[0] is 0.3"), "{other}");
        assert!(differs(&normalised, &model("")).is_some() && differs(&model(""), &normalised).is_some());
    }

    #[test]
    fn a_class_column_that_was_a_default_may_be_left_out() {
        let table = |class: &str| job(&format!("source = {{ kind = \"csv\", path = \"a.csv\"{class} }}\n"));
        assert_eq!(differs(&table(""), &table(", class = -1")), None);
        assert!(differs(&table(""), &table(", labelled_first = 9")).is_some());
    }

    #[test]
    fn a_model_file_may_move() {
        let model = |path: &str, sha256: &str| {
            job(&format!(
                "source.kind = \"digits\"\nmodel = {{ kind = \"torchscript\", path = \"{path}\", sha256 = \"{sha256}\" }}"
            ))
        };
        assert_eq!(differs(&model("a.pt", "1f"), &model("b.pt", "1f")), None);
        let other = differs(&model("a.pt", "1f"), &model("a.pt", "2e"));
        assert!(other.unwrap().starts_with("model.sha256 is \"1f\" now"));
    }
}

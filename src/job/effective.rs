//! Effective settings: those keys whose default depends on other keys, or on whether labels can come late.

use crate::job::{Filter, Gated, Job};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::ViewRequest;
use sluicebox_learn::replay::draw::Replay;
use sluicebox_learn::stages::gate;
use sluicebox_stream::source;

/// Default of `ledger.retain`, in samples.
const RETAIN: u64 = 100_000;

/// The settings as a job runs with them. `manifest.json` holds them under the names of their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    /// Whether labels can come late.
    pub late_labels: bool,
    /// Whether vectors are standardised. No job of before this key did it.
    #[serde(rename = "input.standardise", default)]
    pub standardise: bool,
    /// Which labelled samples a step trains on.
    #[serde(rename = "memory.replay")]
    pub replay: Replay,
    /// Target class prior.
    #[serde(rename = "answer.prior")]
    pub prior: Prior,
    /// Whether the experts are blended in.
    #[serde(rename = "answer.blend")]
    pub blend: bool,
    /// Settings of the confidence gate; none if it is off.
    #[serde(rename = "filter.gate")]
    pub gate: Option<gate::Settings>,
    /// Samples whose pseudo-label is kept; none if the job has no ledger.
    #[serde(rename = "ledger.retain")]
    pub retain: Option<u64>,
}

impl Effective {
    /// Settles what the job leaves open. `views` are the inputs of its method; `late_labels`: labels can come
    /// late.
    pub fn new(job: &Job, views: ViewRequest, late_labels: bool) -> Self {
        let prior = job.answer.prior.unwrap_or(if late_labels { Prior::Present } else { Prior::None });
        // Experts know the labels' prior, which may differ from a prior that the job fixes.
        let given = matches!(prior, Prior::Labelled | Prior::Uniform | Prior::Blank);
        let replay = if late_labels { Replay::Recent } else { Replay::Uniform };
        let gate = match &job.filter.gate {
            None => late_labels.then(gate::Settings::default),
            Some(Gated::Plain(on)) => on.then(gate::Settings::default),
            Some(Gated::With(settings)) => Some(settings.clone()),
        };
        let asked = job.ledger.retain.is_some() || job.ledger.retain_for.is_some();
        let ledger = asked || late_labels || gate.is_some() || views.ledger_stats;
        let has = |key: &str| job.model.options.contains_key(key);
        let fresh = job.model.kind == "mlp" && !has("init") && !has("normalise");
        Self {
            late_labels,
            standardise: job.input.standardise.unwrap_or(fresh),
            replay: job.memory.replay.unwrap_or(replay),
            prior,
            blend: job.answer.blend.unwrap_or(late_labels && !given),
            gate,
            retain: ledger.then(|| job.ledger.retain.unwrap_or(RETAIN)),
        }
    }

    /// Settles what the job leaves open as it would run with a state folder. Opens no source.
    pub fn foreseen(job: &Job) -> Result<Self> {
        let timed = job.sources.iter().any(|stream| source::is_timed(&stream.spec.kind));
        let views = (METHODS.find(&job.method.kind)?.build)(&job.method)?.views();
        let ingests = ingests(job, timed, true);
        job.epoch.misfit(ingests)?;
        let effective = Self::new(job, views, labels_come(job, ingests));
        effective.without_prototypes(job).map_or(Ok(effective.clone()), |reason| Err(Error::request(reason)))
    }

    /// Returns why prototypes cannot answer in this job, if it asks for them and they cannot.
    pub fn without_prototypes(&self, job: &Job) -> Option<&'static str> {
        let suits = !self.blend && matches!(self.prior, Prior::None | Prior::Labelled | Prior::Uniform);
        (job.answer.prototypes.is_some() && !suits).then_some(
            "answer.prototypes stand in for the network's probabilities, which experts, answer.prior = \"present\" and \"blank\" \
             are made for: set answer.prior = \"none\" (or \"uniform\", \"labelled\") and answer.blend = false, or leave them out",
        )
    }

    /// Returns the job with these settings written out.
    pub fn written_out(&self, job: &Job) -> Job {
        let mut job = job.clone();
        job.input.standardise = Some(self.standardise);
        job.memory.replay = Some(self.replay);
        job.answer.prior = Some(self.prior);
        job.answer.blend = Some(self.blend);
        let gate = self.gate.clone().map_or(Gated::Plain(false), Gated::With);
        job.filter = Filter { gate: Some(gate), ..job.filter };
        job.ledger.retain = self.retain;
        job
    }
}

/// Returns whether something comes into the job that only its step journal can repeat: samples from a
/// [timed](sluicebox_stream::source::api::Source::is_timed) source, the time of day, or labels sent to the
/// server, which are kept in the state folder (`keeps_state`).
pub fn ingests(job: &Job, timed_source: bool, keeps_state: bool) -> bool {
    let takes_labels = job.server.listen.is_some() && job.server.labels && keeps_state;
    timed_source || job.ledger.retain_for.is_some() || takes_labels
}

/// Returns whether labels can come after their samples: from outside, or simulated by `labels.rate`.
pub fn labels_come(job: &Job, ingests: bool) -> bool {
    ingests || job.labels.rate > 0.0
}

/// Returns the keys that a job leaves open.
pub fn open_keys(job: &Job) -> Vec<&'static str> {
    let keys = [
        ("input.standardise", job.input.standardise.is_none()),
        ("memory.replay", job.memory.replay.is_none()),
        ("answer.prior", job.answer.prior.is_none()),
        ("answer.blend", job.answer.blend.is_none()),
        ("filter.gate", job.filter.gate.is_none()),
        ("ledger.retain", job.ledger.retain.is_none()),
    ];
    keys.into_iter().filter(|(_, open)| *open).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn pipelines() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        assert!(!files.is_empty());
        files
    }

    #[test]
    fn every_pipeline_written_out_runs_the_same() {
        for path in pipelines() {
            let job = Job::load(&path, &[]).unwrap();
            for late_labels in [false, true] {
                let effective = Effective::new(&job, ViewRequest::default(), late_labels);
                let text = effective.written_out(&job).resolved();
                let again = Job::parse("again", &job.name, text, &[]).unwrap();
                assert_eq!(
                    Effective::new(&again, ViewRequest::default(), late_labels),
                    effective,
                    "{}",
                    path.display()
                );
                assert_eq!(effective.written_out(&again), again, "{}", path.display());
                let open = open_keys(&again);
                assert!(open.is_empty() || open == ["ledger.retain"] && effective.retain.is_none());
            }
        }
    }

    #[test]
    fn what_is_foreseen_follows_from_the_job() {
        let job = |text: &str| Job::parse("job.toml", "job", text.into(), &[]).unwrap();
        let foreseen = |text: &str| Effective::foreseen(&job(text)).unwrap();
        let still = foreseen("[source]\nkind = \"digits\"\n");
        assert_eq!((still.late_labels, still.replay, still.prior), (false, Replay::Uniform, Prior::None));
        assert!(!still.blend && still.gate.is_none() && still.retain.is_none());
        let listen = "[source]\nkind = \"digits\"\n[server]\nlisten = \"127.0.0.1:0\"\n";
        assert!(!foreseen(listen).late_labels);
        for text in [
            "[source]\nkind = \"digits\"\n[labels]\nrate = 0.1\n",
            "[source]\nkind = \"digits\"\n[ledger]\nretain_for = \"1h\"\n",
            &format!("{listen}labels = true\n"),
        ] {
            let late = foreseen(text);
            assert_eq!((late.late_labels, late.replay, late.prior), (true, Replay::Recent, Prior::Present));
            assert!(late.blend && late.gate.is_some() && late.retain == Some(RETAIN));
        }
        let given =
            foreseen("[source]\nkind = \"digits\"\n[labels]\nrate = 0.1\n[answer]\nprior = \"uniform\"\n");
        assert!(!given.blend);
    }

    #[test]
    fn a_manifest_names_them_by_their_keys() {
        let job = Job::parse("job.toml", "job", "[source]\nkind = \"digits\"\n".into(), &[]).unwrap();
        let effective = Effective::new(&job, ViewRequest::default(), true);
        let json = serde_json::to_value(&effective).unwrap();
        assert_eq!(json["memory.replay"], "recent");
        assert_eq!(json["ledger.retain"], 100_000);
        assert_eq!(serde_json::from_value::<Effective>(json).unwrap(), effective);
    }
}

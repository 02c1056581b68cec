//! A run for MLflow in its file layout (`mlruns/EXPERIMENT/RUN`), which `mlflow ui` shows and `mlflow.search_runs` reads:
//! the numbers of each epoch as metrics, the job's keys as parameters. Nothing is sent anywhere.
//!
//! The axis is steps. A job with a state folder goes on in its run; epochs that are done again after a crash replace those
//! written before.

mod folder;
mod parameters;

use folder::Run;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, JobMeters, MarkKind, Meters, Report};
use std::path::PathBuf;

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of MLflow: the one that `mlflow ui --backend-store-uri` names.
    pub path: PathBuf,
    /// Name of the experiment; by default the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// Name of the run; by default the job's and the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let named = [("experiment", &self.experiment), ("run", &self.run)];
        let empty =
            named.into_iter().filter(|(_, name)| name.as_ref().is_some_and(|name| name.trim().is_empty()));
        empty.map(|(key, _)| (key, "must not be empty".to_string())).collect()
    }
}

/// Status of a run, as MLflow numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Running = 1,
    Finished = 3,
    Failed = 4,
}

struct Mlflow {
    path: PathBuf,
    run: Run,
    /// Whether a report has been written.
    begun: bool,
    status: Status,
}

/// Opens or creates the job's run.
pub fn build(spec: &Spec, about: &About) -> Result<Box<dyn Observer>> {
    let settings: Settings = settings(spec)?;
    let experiment = settings.experiment.unwrap_or_else(|| about.job.clone());
    let name = settings.run.unwrap_or_else(|| format!("{}, {}", about.job, about.method));
    let run = Run::open(&settings.path, &experiment, &name, about)?;
    for (key, value) in parameters::of(&about.toml) {
        run.parameter(&key, &value)?;
    }
    run.meta(Status::Running as u8, None)?;
    Ok(Box::new(Mlflow { path: settings.path, run, begun: false, status: Status::Running }))
}

impl Observer for Mlflow {
    fn name(&self) -> String {
        format!("mlflow {}", self.path.display())
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            match event {
                Event::Epoch(report) => self.report(report)?,
                Event::Mark(mark) if mark.kind == MarkKind::Failure => self.status = Status::Failed,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Mlflow {
    fn report(&mut self, report: &Report) -> Result<()> {
        let step = report.job.steps.unwrap_or_default() as u64;
        if !self.begun {
            self.run.forget_from(step)?;
            self.begun = true;
        }
        for (meter, value) in JobMeters::METERS.iter().zip(report.job.values()) {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let group = serde_json::to_value(meter.group).ok();
                let group = group.as_ref().and_then(|group| group.as_str()).unwrap_or("job");
                self.run.metric(&format!("{group}/{}", meter.name), report.ended_ms, value, step)?;
            }
        }
        Ok(())
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        let status = if self.status == Status::Failed { Status::Failed } else { Status::Finished };
        if let Err(error) = self.run.meta(status as u8, Some(sluicebox_core::system::now_ms())) {
            tracing::warn!("the end of the run was not written: {error}");
        }
    }
}

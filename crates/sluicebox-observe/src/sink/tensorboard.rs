//! Event files for TensorBoard: scalars, confusion matrices and the job itself. Each process of a
//! job writes its own file; epochs that are repeated after a crash replace those written before it.

mod confusion;
mod proto;
mod records;

use proto::{Held, Metadata, Plugin, Session, Shape, Summary, Tensor, Value, What};
use records::Records;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, Group, Report, SETS, Set, distinct};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder for the files: one run in TensorBoard.
    pub path: PathBuf,
    /// Maximum number of classes with scalars of their own.
    #[serde(default = "classes")]
    pub classes: usize,
    /// Minimum time between images of the confusion matrices; 0: one per epoch.
    #[serde(default = "pictures", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub pictures: Duration,
}

fn classes() -> usize {
    64
}

fn pictures() -> Duration {
    Duration::from_secs(10)
}

impl sluicebox_core::config::document::Settings for Settings {}

struct TensorBoard {
    settings: Settings,
    about: About,
    records: Records,
    /// Whether a report has been written.
    begun: bool,
    /// Tags whose metadata has been written.
    described: HashSet<String>,
    /// Time at which the newest images were drawn.
    drawn: Option<Instant>,
}

/// Creates an event file in the folder. `about` describes the job.
pub fn build(spec: &Spec, about: &About) -> Result<Box<dyn Observer>> {
    let settings: Settings = settings(spec)?;
    let records = Records::create(&settings.path, about.started_ms)?;
    let (about, described) = (about.clone(), HashSet::new());
    Ok(Box::new(TensorBoard { settings, about, records, begun: false, described, drawn: None }))
}

impl Observer for TensorBoard {
    fn name(&self) -> String {
        format!("tensorboard {}", self.settings.path.display())
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            if let Event::Epoch(report) = event {
                self.report(report)?;
            }
        }
        Ok(())
    }
}

impl TensorBoard {
    fn report(&mut self, report: &Report) -> Result<()> {
        let mut values = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.write(report, What::Session(Session { status: Session::START }))?;
            values.push(text("job", &self.job()));
        }
        SETS.iter().for_each(|set| self.scalars(&mut values, set, report));
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= self.settings.pictures) {
            self.pictures(&mut values, report)?;
        }
        self.write(report, What::Summary(Summary { values }))
    }

    /// Appends one scalar per known number: `group/meter` for the job, otherwise `set/meter/row`.
    fn scalars(&mut self, values: &mut Vec<Value>, set: &Set, report: &Report) {
        let mut rows = (set.rows)(report);
        if set.name == "class" {
            rows.truncate(self.settings.classes);
        }
        let names = distinct(rows.iter().map(|row| row.name));
        for (name, row) in names.iter().zip(&rows) {
            for (meter, value) in set.meters.iter().zip(&row.values) {
                let Some(value) = *value else { continue };
                let tag = match set.name {
                    "job" => format!("{}/{}", group(meter.group), meter.name),
                    set => format!("{set}/{}/{name}", meter.name),
                };
                values.push(self.value(tag, meter.help, Held::Scalar(value as f32)));
            }
        }
    }

    fn pictures(&mut self, values: &mut Vec<Value>, report: &Report) -> Result<()> {
        let names = &self.about.classes;
        let count = names.len();
        let order = names[..names.len().min(self.settings.classes)].join(", ");
        let help = format!("Rows: true class. Columns: given class. Classes in order: {order}");
        for confusion in &report.confusions {
            let picture = confusion::picture(confusion, count)?;
            values.push(self.value(format!("confusion/{}", confusion.of), &help, Held::Image(picture)));
            self.drawn = Some(Instant::now());
        }
        Ok(())
    }

    /// Returns a value, with its description if the tag is new.
    fn value(&mut self, tag: String, help: &str, held: Held) -> Value {
        let new = self.described.insert(tag.clone());
        Value { tag, metadata: new.then(|| metadata(&held, help)), held: Some(held) }
    }

    fn write(&mut self, report: &Report, what: What) -> Result<()> {
        let step = report.job.steps.unwrap_or(report.epoch as f64) as i64;
        let wall_time = report.ended_ms as f64 / 1000.0;
        self.records.write(&proto::Event { wall_time, step, what: Some(what) })
    }

    /// Returns the job as Markdown.
    fn job(&self) -> String {
        let About { job, method, device, machine, version, toml, .. } = &self.about;
        let toml: String = toml.lines().map(|line| format!("    {line}\n")).collect();
        format!("**{job}**: {method} on {device} ({machine}), Sluicebox {version}\n\n{toml}")
    }
}

fn group(group: Group) -> &'static str {
    match group {
        Group::Throughput => "throughput",
        Group::Filter => "filter",
        Group::Quality => "quality",
        Group::Learning => "learning",
        Group::Stream => "stream",
        Group::System => "system",
    }
}

/// Returns TensorBoard's plugin for a value, and the description to show.
fn metadata(held: &Held, help: &str) -> Metadata {
    let (name, class) = match held {
        Held::Scalar(_) => ("scalars", 1),
        Held::Tensor(_) => ("text", 2),
        Held::Image(_) => ("images", 3),
    };
    Metadata { plugin: Some(Plugin { name: name.into() }), description: help.into(), class }
}

fn text(tag: &str, text: &str) -> Value {
    let strings = vec![text.as_bytes().to_vec()];
    let held = Held::Tensor(Tensor { dtype: 7, shape: Some(Shape {}), strings });
    Value { tag: tag.into(), metadata: Some(metadata(&held, "")), held: Some(held) }
}

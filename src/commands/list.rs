//! `list`: what a job can name, and what its reports hold.

use super::say;
use clap::{Args, ValueEnum};
use sluicebox::Result;
use sluicebox::registry::Registry;
use sluicebox::report::{ClassMeters, JobMeters, Meter, Meters, OperatorMeters, ReasonMeters, SourceMeters};

/// What it is told.
#[derive(Args)]
pub struct List {
    /// What to list.
    #[arg(value_enum, default_value_t)]
    what: What,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum What {
    /// Everything a job can name.
    #[default]
    Parts,
    /// Every number of a report: its name, unit and meaning.
    Meters,
}

/// Prints it, a line a row.
pub fn list(arguments: &List) -> Result<()> {
    match arguments.what {
        What::Parts => {
            rows(&sluicebox::source::SOURCES);
            rows(&sluicebox::augmentation::AUGMENTATIONS);
            rows(&sluicebox::model::MODELS);
            rows(&sluicebox::method::METHODS);
            rows(&sluicebox::student::optimiser::OPTIMISERS);
            rows(&sluicebox::sink::SINKS);
        }
        What::Meters => {
            meters("of the job", JobMeters::METERS);
            meters("of each class", ClassMeters::METERS);
            meters("of each operator", OperatorMeters::METERS);
            meters("of each source", SourceMeters::METERS);
            meters("of each reason", ReasonMeters::METERS);
        }
    }
    Ok(())
}

fn rows<B>(registry: &Registry<B>) {
    say(&format!("{}s", registry.what));
    for entry in registry.entries {
        say(&format!("  {:<18} {}", entry.name, entry.about));
    }
}

fn meters(of: &str, meters: &[Meter]) {
    say(of);
    for meter in meters {
        let unit = serde_json::to_value(meter.unit).unwrap_or_default();
        let unit = unit.as_str().unwrap_or_default().to_string();
        say(&format!("  {:<28} {:<13} {}", meter.name, unit, meter.help));
    }
}

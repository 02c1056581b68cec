//! `list`: the kinds that a job can name, and the meters of its reports.

use clap::{Args, ValueEnum};
use sluicebox_client::commands::say;
use sluicebox_core::config::registry::Registry;
use sluicebox_core::error::Result;
use sluicebox_core::report::{
    ClassMeters, JobMeters, Meter, Meters, OperatorMeters, ReasonMeters, SourceMeters,
};

/// Arguments of `list`.
#[derive(Args)]
pub struct List {
    /// The list to print.
    #[arg(value_enum, default_value_t)]
    what: What,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum What {
    /// Kinds that a job can name: sources, augmentations, models, methods, optimisers, sinks.
    #[default]
    Parts,
    /// Meters of a report: name, unit and meaning.
    Meters,
}

/// Prints the list, one entry per line.
pub fn list(arguments: &List) -> Result<()> {
    match arguments.what {
        What::Parts => {
            rows(&sluicebox_stream::source::SOURCES);
            rows(&sluicebox_learn::augmentation::AUGMENTATIONS);
            rows(&sluicebox_learn::model::MODELS);
            rows(&sluicebox_learn::method::METHODS);
            rows(&sluicebox_learn::optimiser::OPTIMISERS);
            rows(&sluicebox::job::sinks::SINKS);
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

//! `list`: the kinds that a job can name, and the meters of its reports.

use clap::{Args, ValueEnum};
use sluicebox_core::config::registry::Registry;
use sluicebox_core::error::Result;
use sluicebox_core::report::{Meter, SETS, Set};
use sluicebox_core::terminal::say;

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
    /// Kinds of sources.
    Sources,
    /// Kinds of augmentations.
    Augmentations,
    /// Kinds of models.
    Models,
    /// Kinds of methods.
    Methods,
    /// Kinds of optimisers.
    Optimisers,
    /// Kinds of sinks.
    Sinks,
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
        What::Sources => rows(&sluicebox_stream::source::SOURCES),
        What::Augmentations => rows(&sluicebox_learn::augmentation::AUGMENTATIONS),
        What::Models => rows(&sluicebox_learn::model::MODELS),
        What::Methods => rows(&sluicebox_learn::method::METHODS),
        What::Optimisers => rows(&sluicebox_learn::optimiser::OPTIMISERS),
        What::Sinks => rows(&sluicebox::job::sinks::SINKS),
        What::Meters => SETS.iter().flat_map(meters).for_each(|line| say(&line)),
    }
    Ok(())
}

fn rows<B>(registry: &Registry<B>) {
    say(&format!("{}s", registry.what));
    for entry in registry.entries {
        say(&format!("  {:<18} {}", entry.name, entry.about));
    }
}

/// Returns the lines of a set: what its numbers describe, then one line per meter.
fn meters(set: &Set) -> Vec<String> {
    let line = |meter: &Meter| {
        let unit = serde_json::to_value(meter.unit).unwrap_or_default();
        let unit = unit.as_str().unwrap_or_default().to_string();
        format!("  {:<28} {:<13} {}", meter.name, unit, meter.help)
    };
    std::iter::once(format!("of {}", set.of)).chain(set.meters.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_listed_with_its_meters() {
        let lines: Vec<String> = SETS.iter().flat_map(meters).collect();
        for set in &SETS {
            assert!(lines.contains(&format!("of {}", set.of)), "{}", set.name);
        }
        assert_eq!(lines.len(), SETS.iter().map(|set| 1 + set.meters.len()).sum::<usize>());
        assert!(lines.iter().any(|line| line.contains("best accuracy minus present accuracy")), "{lines:?}");
        assert!(lines.contains(&"of each phase".to_string()), "{lines:?}");
    }
}

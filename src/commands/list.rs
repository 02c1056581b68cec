//! `list`: what a job can name.

use super::say;
use sluicebox::Result;

/// Prints every registry, a line a row.
pub fn list() -> Result<()> {
    fn rows<B>(registry: &sluicebox::registry::Registry<B>) {
        say(&format!("{}s", registry.what));
        for entry in registry.entries {
            say(&format!("  {:<18} {}", entry.name, entry.about));
        }
    }
    rows(&sluicebox::source::SOURCES);
    rows(&sluicebox::augmentation::AUGMENTATIONS);
    rows(&sluicebox::model::MODELS);
    rows(&sluicebox::method::METHODS);
    rows(&sluicebox::student::optimiser::OPTIMISERS);
    rows(&sluicebox::sink::SINKS);
    Ok(())
}

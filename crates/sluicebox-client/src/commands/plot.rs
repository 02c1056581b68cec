//! `plot`: the history of a job as a report or a chart.

use clap::Args;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;
use std::path::PathBuf;

/// Arguments of `plot`.
#[derive(Args)]
pub struct Plot {
    /// The state folder of a job, running or not.
    state: PathBuf,
    /// The file to write: a report (.html), or one chart (.svg, .png).
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Meter to draw, such as accuracy or samples_per_s; can be repeated.
    #[arg(long, value_name = "NAME")]
    meter: Vec<String>,
    /// The first epoch to draw.
    #[arg(long, value_name = "EPOCH", default_value_t = 1)]
    from: u64,
    /// The last epoch to draw; by default the newest.
    #[arg(long, value_name = "EPOCH", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
}

/// Writes the file, and prints the epochs in it.
pub fn plot(arguments: &Plot) -> Result<()> {
    let Plot { state, output, meter, from, to } = arguments;
    let epochs = sluicebox_observe::plot::plot(state, output, meter, *from..=*to)?;
    say(&format!("{}: epochs {} to {}", output.display(), epochs.start(), epochs.end()));
    Ok(())
}

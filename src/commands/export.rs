//! `export`: writes the newest checkpoint's teacher for PyTorch.

use clap::Args;
use sluicebox::engine::checkpoint::Pick;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;
use std::path::PathBuf;

/// Arguments of `export`.
#[derive(Args)]
pub struct Export {
    /// The state folder of a job.
    state: PathBuf,
    /// Write the best checkpoint (checkpoint.best) instead of the newest.
    #[arg(long)]
    best: bool,
    /// The file to write, such as model.safetensors.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Writes the weights.
pub fn export(arguments: &Export) -> Result<()> {
    let saved = Pick::best_if(arguments.best).read(&arguments.state)?;
    std::fs::copy(saved.model(), &arguments.to).map_err(|error| Error::file(&arguments.to, error))?;
    say(&format!("{}: the teacher after step {}", arguments.to.display(), saved.manifest.step));
    Ok(())
}

//! `schema`: the JSON Schema of a job file, or the reference of all its keys.

use clap::Args;
use sluicebox::job::reference::reference;
use sluicebox::job::schema::schema;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::say;

/// Arguments of `schema`.
#[derive(Args)]
pub struct Schema {
    /// Write the reference of all keys instead, as Markdown (docs/configuration.md).
    #[arg(long)]
    reference: bool,
}

/// Prints one of the two.
pub fn print(arguments: &Schema) -> Result<()> {
    match arguments.reference {
        true => say(reference().trim_end()),
        false => say(&serde_json::to_string_pretty(&schema()).map_err(Error::request)?),
    }
    Ok(())
}

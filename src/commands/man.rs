//! `man`: manual pages, one for the command and one for each of its commands.

use clap::{Args, Command};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::say;
use std::path::PathBuf;

/// Arguments of `man`.
#[derive(Args)]
pub struct Man {
    /// The folder to write into, such as ~/.local/share/man/man1; it is made where it is missing.
    folder: PathBuf,
}

/// Writes the pages of `command`, and prints where.
pub fn man(arguments: &Man, command: Command) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| Error::file(folder, error))?;
    say(&format!("{}: man {}", folder.display(), folder.join("sluicebox.1").display()));
    Ok(())
}

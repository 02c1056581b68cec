//! `completions`: what a shell needs to complete the command's arguments.

use clap::{Args, Command};
use clap_complete::Shell;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;

/// Arguments of `completions`.
#[derive(Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of `command`.
pub fn completions(arguments: &Completions, mut command: Command) -> Result<()> {
    let name = command.get_name().to_string();
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut text);
    say(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

//! Takes the terminal over while something is shown, and always restores it.

use ratatui::DefaultTerminal;
use sluicebox_core::error::{Error, Result};
use std::io::IsTerminal;

/// Calls `show` with the whole screen, in raw mode. Restores the terminal on return, and on a panic
/// before the panic message is printed.
pub fn within<T>(show: impl FnOnce(&mut DefaultTerminal) -> Result<T>) -> Result<T> {
    if !std::io::stdout().is_terminal() {
        let reason = "standard output is not a terminal: use `--once` to print the view as text";
        return Err(Error::request(reason));
    }
    let taken = ratatui::try_init();
    let shown = match taken {
        Ok(mut terminal) => show(&mut terminal),
        Err(error) => Err(Error::Request(format!("this terminal cannot be used: {error}"))),
    };
    let restored = ratatui::try_restore();
    let shown = shown?;
    restored.map_err(|error| Error::Connection(format!("the terminal could not be restored: {error}")))?;
    Ok(shown)
}

//! What a command writes to its terminal. Text of strangers (names of classes, answers of servers) may be in it, so
//! nothing in it can steer the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

/// Returns `text` with every character that steers a terminal replaced by its number, such as `\u001b`: control
/// characters but line break and tab, and those that change the direction of writing. JSON stays the same JSON.
///
/// ```
/// use sluicebox_core::terminal::printable;
///
/// assert_eq!(printable("größer\tals\n"), "größer\tals\n");
/// assert_eq!(printable("\u{1b}[2J \u{9b}2J \u{202e}dog"), r"\u001b[2J \u009b2J \u202edog");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match steers(letter) {
            true => _ = write!(safe, "\\u{:04x}", u32::from(letter)),
            false => safe.push(letter),
        }
    }
    safe.into()
}

/// Returns whether a character steers a terminal.
fn steers(letter: char) -> bool {
    let turns = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || letter.is_control() && !matches!(letter, '\n' | '\t')
}

/// Writes a line of results to stdout. Ignores errors, such as a closed pipe.
pub fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", printable(text)).and_then(|()| stdout.flush());
}

/// Writes a line to stderr, beside the results. Ignores errors, such as a closed pipe.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let safe = printable(&all);
        assert!(!safe.contains(steers));
        let raw = |safe: &str, from: u32, to: u32| {
            safe.chars().any(|letter| (from..to).contains(&u32::from(letter)) && !"\n\t".contains(letter))
        };
        for (from, to) in [(0, 0x20), (0x7f, 0xa0), (0x202a, 0x202f), (0x2066, 0x206a)] {
            assert!(raw(&all, from, to) && !raw(&safe, from, to), "{from:x}");
        }
        assert!(safe.contains('é') && safe.contains('日') && safe.contains("\n"));
    }
}

//! Files that are not read, by the endings of their names.

use std::collections::BTreeMap;
use std::fmt;

/// Endings of names that are told one by one.
const MOST_TOLD: usize = 8;
/// Endings of names that are counted one by one.
const MOST_COUNTED: usize = 1000;

/// Returns whether a file or folder of this name is left out without a word: its name begins with a dot, or macOS has put
/// it beside those of a zip.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

/// Files that are not read, by the ending of their names.
#[derive(Debug, Default)]
pub struct Unread(BTreeMap<String, usize>);

impl Unread {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts a file: by what follows the last dot of its name.
    pub fn add(&mut self, name: &str) {
        let file = name.rsplit('/').next().unwrap_or(name);
        let ending = file.rsplit_once('.').map_or("without an ending", |(_, ending)| ending);
        self.add_ending(ending);
    }

    /// Counts a file with this ending of its name.
    pub fn add_ending(&mut self, ending: &str) {
        let ending = ending.chars().take(20).collect::<String>().to_lowercase();
        let room = self.0.len() < MOST_COUNTED || self.0.contains_key(&ending);
        *self.0.entry(if room { ending } else { "others".into() }).or_default() += 1;
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<(&String, &usize)> = self.0.iter().collect();
        kinds.sort_by(|(a, many), (b, more)| more.cmp(many).then(a.cmp(b)));
        let told: Vec<String> =
            kinds.iter().take(MOST_TOLD).map(|(ending, count)| format!("{count} {ending}")).collect();
        let more = if kinds.len() > MOST_TOLD { ", …" } else { "" };
        let count: usize = self.0.values().sum();
        write!(f, "{count} files are not read ({}{more})", told.join(", "))
    }
}

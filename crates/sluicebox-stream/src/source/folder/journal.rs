//! Journal of the files taken from a folder, in order. It is written to the state folder before the
//! first of them is read, so that a restart reads them in the same order, whatever arrived
//! meanwhile.

use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::replace;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// Obsolete lines allowed before the journal is rewritten.
const SLACK: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// A file whose sample is labelled; it is not streamed.
    Labelled(String),
    /// Number and name of a file that is streamed.
    Taken(u64, String),
    /// Number of the next file.
    Next(u64),
}

/// Files taken from a folder.
#[derive(Default)]
pub struct Journal {
    path: Option<PathBuf>,
    file: Option<File>,
    lines: usize,
    /// Taken files that are still in the folder; streamed files with their numbers.
    known: HashMap<String, Option<u64>>,
    /// Files still to be read, or being read.
    waiting: VecDeque<(u64, String)>,
    next: u64,
}

impl Journal {
    /// Opens the journal in `path`, or creates an empty one. Without a path nothing is written.
    pub fn open(path: Option<PathBuf>) -> Result<Self> {
        let mut journal = Self { path, ..Self::default() };
        let Some(path) = &journal.path else { return Ok(journal) };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(journal),
            Err(error) => return Err(Error::file(path, error)),
        };
        // The process was killed while it wrote the text after the last line break.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines: Vec<Line> = text[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| {
                Error::file(path, format!("the journal is damaged: {error}; start anew with --fresh"))
            })?;
        if whole < text.len() {
            let file = OpenOptions::new().write(true).open(path);
            file.and_then(|file| file.set_len(whole as u64)).map_err(|error| Error::file(path, error))?;
        }
        journal.lines = lines.len();
        for line in lines {
            match line {
                Line::Labelled(name) => {
                    journal.known.insert(name, None);
                }
                Line::Taken(number, name) => {
                    journal.known.insert(name.clone(), Some(number));
                    journal.waiting.push_back((number, name));
                    journal.next = number + 1;
                }
                Line::Next(number) => journal.next = number,
            }
        }
        Ok(journal)
    }

    /// Returns the number of the next file to be taken.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns whether a file was taken.
    pub fn knows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Returns the files whose samples are labelled.
    pub fn labelled(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.known.iter().filter(|(_, number)| number.is_none()).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Clears the journal and records the files whose samples are labelled.
    pub fn begin(&mut self, labelled: Vec<String>) -> Result<()> {
        self.waiting.clear();
        self.next = 0;
        self.known = labelled.into_iter().map(|name| (name, None)).collect();
        self.rewrite()
    }

    /// Takes files, in that order.
    pub fn take(&mut self, names: Vec<String>) -> Result<()> {
        let first = self.next;
        let lines: Vec<Line> =
            names.iter().enumerate().map(|(at, name)| Line::Taken(first + at as u64, name.clone())).collect();
        self.write(&lines)?;
        for (number, name) in (first..).zip(names) {
            self.known.insert(name.clone(), Some(number));
            self.waiting.push_back((number, name));
            self.next = number + 1;
        }
        Ok(())
    }

    /// Returns the files to be read, from that of now on.
    pub fn coming(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|(_, name)| name.as_str())
    }

    /// Returns the file to be read now, with its number.
    pub fn front(&self) -> Option<&(u64, String)> {
        self.waiting.front()
    }

    /// Drops the files before file number `number`: they are read.
    pub fn go_to(&mut self, number: u64) {
        while self.front().is_some_and(|(front, _)| *front < number) {
            self.waiting.pop_front();
        }
    }

    /// Forgets files that were read and are no longer in the folder.
    pub fn forget_all_but(&mut self, present: &HashSet<String>) -> Result<()> {
        if self.known.keys().any(|name| !present.contains(name)) {
            let waiting: HashSet<&String> = self.waiting.iter().map(|(_, name)| name).collect();
            self.known.retain(|name, _| present.contains(name) || waiting.contains(name));
        }
        match self.lines > 2 * self.known.len() + SLACK {
            true => self.rewrite(),
            false => Ok(()),
        }
    }

    fn write(&mut self, lines: &[Line]) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let cannot = |error| Error::file(path, format!("cannot record which files have been taken: {error}"));
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let options = OpenOptions::new().create(true).append(true).open(path);
                none.insert(options.map_err(cannot)?)
            }
        };
        file.write_all(text(lines)?.as_bytes()).and_then(|()| file.sync_data()).map_err(cannot)?;
        self.lines += lines.len();
        Ok(())
    }

    /// Rewrites the journal with the current entries only.
    fn rewrite(&mut self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut lines: Vec<Line> = self.labelled().into_iter().map(Line::Labelled).collect();
        let mut taken: Vec<(u64, &String)> =
            self.known.iter().filter_map(|(name, number)| number.map(|number| (number, name))).collect();
        taken.sort();
        lines.extend(taken.into_iter().map(|(number, name)| Line::Taken(number, name.clone())));
        lines.push(Line::Next(self.next));
        replace(path, text(&lines)?.as_bytes()).map_err(|error| {
            Error::file(path, format!("cannot record which files have been taken: {error}"))
        })?;
        (self.file, self.lines) = (None, lines.len());
        Ok(())
    }
}

fn text(lines: &[Line]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(line).map_err(|error| Error::Engine(error.to_string()))?;
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn order_and_numbers_survive_a_restart_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let mut journal = Journal::open(Some(path.clone())).unwrap();
        journal.begin(names(&["cat/1"])).unwrap();
        journal.take(names(&["b", "a"])).unwrap();
        journal.take(names(&["c"])).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"taken\":[3,\"d").unwrap();
        let mut journal = Journal::open(Some(path.clone())).unwrap();
        assert_eq!((journal.front(), journal.labelled()), (Some(&(0, "b".into())), names(&["cat/1"])));
        assert!(journal.knows("c") && journal.knows("cat/1") && !journal.knows("d"));
        journal.go_to(2);
        assert_eq!(journal.front(), Some(&(2, "c".into())));
        journal.take(names(&["d"])).unwrap();
        let mut journal = Journal::open(Some(path)).unwrap();
        journal.go_to(3);
        assert_eq!(journal.front(), Some(&(3, "d".into())));
    }

    #[test]
    fn it_stays_short_where_files_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let mut journal = Journal::open(Some(path.clone())).unwrap();
        for round in 0..20u64 {
            let files: Vec<String> = (0..1000).map(|at| format!("{round}-{at}")).collect();
            journal.take(files.clone()).unwrap();
            journal.go_to((round + 1) * 1000);
            journal.forget_all_but(&files.into_iter().collect()).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap().lines().count() < 8000);
        assert!(journal.knows("19-7") && !journal.knows("3-7"));
        let mut journal = Journal::open(Some(path)).unwrap();
        journal.go_to(20_000);
        journal.take(names(&["last"])).unwrap();
        assert_eq!(journal.front(), Some(&(20_000, "last".into())));
    }
}

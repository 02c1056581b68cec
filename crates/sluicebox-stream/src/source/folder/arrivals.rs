//! Polls a folder for complete files: a file is complete once its size and time have not changed
//! for a while. Polling works on network drives too.

use crate::decode::KNOWN_ENDINGS;
use crate::remote;
use crate::source::folder::files::{self, Files, streamed};
use crate::source::folder::journal::Journal;
use crate::source::folder::settings::{Order, Settings};
use rand::seq::SliceRandom;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Minimum pause between scans, as a multiple of a scan's duration: bounds the time spent on large
/// folders.
const REST: u32 = 10;

/// A file that may still be being written.
struct Young {
    size: u64,
    changed: SystemTime,
    since: Instant,
}

/// Scanner of the folder.
pub struct Arrivals {
    options: Settings,
    /// What the job itself writes.
    own: Vec<PathBuf>,
    randomness: Randomness,
    young: HashMap<String, Young>,
    /// Time of the last scan, and the pause after it.
    looked: Option<(Instant, Duration)>,
    /// Whether it was said which files are not read.
    told: bool,
}

impl Arrivals {
    /// Creates a scanner with these options and the job's seed, which leaves out what the job itself writes.
    pub fn new(options: &Settings, own: Vec<PathBuf>, seed: u64) -> Self {
        Self {
            options: options.clone(),
            own,
            randomness: Randomness::new(seed, 0),
            young: HashMap::new(),
            looked: None,
            told: false,
        }
    }

    /// Lets the journal take the files that have become complete, if a scan is due. Returns true if
    /// it scanned and every file in the folder is taken.
    pub fn look(&mut self, journal: &mut Journal, now: Instant) -> Result<bool> {
        if self.looked.is_some_and(|(looked, rest)| now - looked < rest) {
            return Ok(false);
        }
        let began = Instant::now();
        let Some(Files { names, unread, written }) = self.list()? else {
            self.looked = Some((now, self.pause(began)));
            return Ok(false);
        };
        if !unread.is_empty() && !std::mem::replace(&mut self.told, true) {
            tracing::warn!("{}: {unread}; what is read ends in {KNOWN_ENDINGS}", self.options.path.display());
        }
        let present: HashSet<String> = names.into_iter().collect();
        journal.forget_all_but(&present)?;
        self.young.retain(|name, _| present.contains(name));
        let mut complete = Vec::new();
        for name in present.into_iter().filter(|name| !journal.knows(name)) {
            if let Some(written) = &written {
                complete.push((written.get(&name).copied().unwrap_or(SystemTime::UNIX_EPOCH), name));
                continue;
            }
            // A file that is gone again or cannot be read is tried again at the next scan.
            let Ok(file) = std::fs::metadata(self.options.path.join(&name)) else { continue };
            let (size, changed) = (file.len(), file.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            let young = self.young.entry(name.clone()).or_insert(Young { size, changed, since: now });
            if (young.size, young.changed) != (size, changed) {
                *young = Young { size, changed, since: now };
            }
            if now - young.since >= self.options.settle {
                complete.push((changed, name));
            }
        }
        match self.options.order {
            Order::Time => complete.sort(),
            Order::Name => complete.sort_by(|(_, a), (_, b)| a.cmp(b)),
            Order::Shuffled => {
                complete.sort();
                complete.shuffle(&mut self.randomness.at(journal.next(), Stage::Source));
            }
        }
        for (_, name) in &complete {
            self.young.remove(name);
        }
        if !complete.is_empty() {
            journal.take(complete.into_iter().map(|(_, name)| name).collect())?;
        }
        self.looked = Some((now, self.pause(began)));
        Ok(self.young.is_empty())
    }

    /// Lists the files of the stream; None if a store that is followed cannot be reached now.
    fn list(&self) -> Result<Option<Files>> {
        let folder = &self.options.path;
        if !(self.options.follow && remote::is_url(folder)) {
            return streamed(&self.options, &self.own).map(Some);
        }
        match files::elsewhere(folder) {
            Ok(files) => Ok(Some(files::of_stream(&self.options, &self.own, files))),
            Err((error, true)) => {
                tracing::warn!("{}: it cannot be listed now: {error}; it is tried again", folder.display());
                Ok(None)
            }
            Err((error, false)) => Err(Error::file(folder, error)),
        }
    }

    fn pause(&self, began: Instant) -> Duration {
        self.options.poll().max(began.elapsed() * REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Watched {
        folder: tempfile::TempDir,
        arrivals: Arrivals,
        journal: Journal,
        start: Instant,
    }

    impl Watched {
        fn new(order: Order) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = "shape = [1]\ndtype = \"u8\"\nclasses = []\nsettle = \"10000s\"\npoll = \"1s\"";
            let mut options: toml::Table = options.parse().unwrap();
            options.insert("path".into(), folder.path().to_str().unwrap().into());
            let arrivals = Arrivals::new(&Settings { order, ..options.try_into().unwrap() }, Vec::new(), 1);
            Self { folder, arrivals, journal: Journal::default(), start: Instant::now() }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// Scans `thousands` × 1000 s after the start; returns the files taken.
        fn look(&mut self, thousands: u64) -> (Vec<String>, bool) {
            let now = self.start + Duration::from_secs(thousands * 1000);
            let at_rest = self.arrivals.look(&mut self.journal, now).unwrap();
            let mut taken = Vec::new();
            while let Some((number, name)) = self.journal.front().cloned() {
                taken.push(name);
                self.journal.go_to(number + 1);
            }
            (taken, at_rest)
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_file_that_is_still_being_written_is_let_be() {
        let mut watched = Watched::new(Order::Name);
        watched.write("a.csv", "1");
        watched.write("b.csv", "1");
        assert_eq!(watched.look(0), (vec![], false));
        watched.write("a.csv", "1\n2");
        assert_eq!(watched.look(5), (vec![], false));
        assert_eq!(watched.look(10), (names(&["b.csv"]), false));
        assert_eq!(watched.look(14), (vec![], false));
        assert_eq!(watched.look(15), (names(&["a.csv"]), true));
        watched.write("a.csv", "3\n4\n5");
        assert_eq!(watched.look(30), (vec![], true), "a name is read once");
        std::fs::remove_file(watched.folder.path().join("a.csv")).unwrap();
        assert_eq!(watched.look(31), (vec![], true));
        watched.write("a.csv", "6");
        assert_eq!((watched.look(32), watched.look(42)), ((vec![], false), (names(&["a.csv"]), true)));
    }

    #[test]
    fn other_files_are_no_samples_and_order_is_as_asked() {
        for (order, taken) in
            [(Order::Name, ["a.png", "b.png", "cat/c.jpg"]), (Order::Time, ["cat/c.jpg", "b.png", "a.png"])]
        {
            let mut watched = Watched::new(order);
            for (age, name) in ["a.png", "b.png", "cat/c.jpg"].into_iter().enumerate() {
                watched.write(name, "");
                let file =
                    std::fs::File::options().write(true).open(watched.folder.path().join(name)).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age as u64)).unwrap();
            }
            for name in
                [".d.png", "e.png.part", "f.tmp", "README.txt", "deeper/.cat/g.png", ".git/h.png", "i"]
            {
                watched.write(name, "");
            }
            assert_eq!(watched.look(0).0, names(&[]));
            assert_eq!(watched.look(10), (names(&taken), true));
        }
    }

    #[test]
    fn a_shuffled_folder_is_drawn_from_the_seed() {
        let mut orders = Vec::new();
        for seed in [1, 1, 2] {
            let mut watched = Watched::new(Order::Shuffled);
            watched.arrivals.randomness = Randomness::new(seed, 0);
            (0..50).for_each(|at| watched.write(&format!("{at}.csv"), ""));
            watched.look(0);
            orders.push(watched.look(10).0);
        }
        assert_eq!(orders[0].iter().collect::<HashSet<_>>().len(), 50);
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }

    #[test]
    fn the_folder_is_not_looked_into_all_the_time() {
        let mut watched = Watched::new(Order::Name);
        watched.arrivals.options.poll = Some(Duration::from_secs(3000));
        assert_eq!(watched.look(0), (vec![], true));
        assert_eq!(watched.look(2), (vec![], false), "not looked");
        assert_eq!(watched.look(3), (vec![], true));
        std::fs::remove_dir_all(watched.folder.path()).unwrap();
        assert!(
            watched.arrivals.look(&mut watched.journal, watched.start + Duration::from_secs(9000)).is_err()
        );
    }
}

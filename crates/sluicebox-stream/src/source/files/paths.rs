//! The options `path` and `test`: which files, in which order.

use crate::decode::{KNOWN_ENDINGS, Kind, packed};
use crate::source::folder;
use crate::{remote, shard_list};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use sluicebox_core::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is said of a file that is named and is not there.
pub const MISSING: &str = "no such file; leave it out of source.path (or source.test), or put it there";
/// What makes a name a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];
/// Most files of a set.
const MOST_FILES: usize = 1_000_000;

/// Files, folders and patterns, as a job names them: one, or a list.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
pub struct Paths(#[schemars(with = "OneOrMoreNames")] Vec<String>);

/// How they are written.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMoreNames {
    One(String),
    More(Vec<String>),
}

impl From<&str> for Paths {
    fn from(path: &str) -> Self {
        Paths(vec![path.into()])
    }
}

impl Paths {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(String::is_empty)
    }

    /// Returns why a name is a URL that cannot be read, if one is; nothing is asked for.
    pub fn refused(&self) -> Option<String> {
        self.0.iter().map(Path::new).find_map(|path| {
            let is_listed = Kind::of(path).is_none() || has_wildcard(&path.to_string_lossy());
            remote::refused(path, is_listed)
        })
    }

    /// Returns the files that are named, here or elsewhere, in the order of the list and of lists in braces; those of a
    /// folder and of a pattern by name. This is the one place that knows what a name can stand for.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for list in &self.0 {
            let names = match !Path::new(list).exists() && shard_list::is_list(list) {
                true => shard_list::names(list).map_err(|reason| Error::file(list, reason))?,
                false => vec![list.clone()],
            };
            for name in &names {
                let path = Path::new(name);
                let is_pattern = has_wildcard(name) && !path.exists();
                match (remote::is_url(path), is_pattern) {
                    (true, true) => files.extend(matching_elsewhere(name)?),
                    (false, true) => files.extend(matching(name)?),
                    (true, false) if Kind::of(path).is_none() => files.extend(listed(path)?),
                    (false, false) if path.is_dir() => files.extend(listed(path)?),
                    (false, false) if !path.exists() && !packed::is_in_zip(path) => {
                        return Err(Error::file(path, MISSING));
                    }
                    (_, false) => files.push(path.into()),
                }
                if files.len() > MOST_FILES {
                    return Err(Error::file(path, format!("more than {MOST_FILES} files")));
                }
            }
        }
        match files.is_empty() {
            false => Ok(files),
            true => {
                let reason = format!("there is no file that is read; what is read ends in {KNOWN_ENDINGS}");
                Err(Error::file(self.to_string(), reason))
            }
        }
    }
}

/// Returns the files of a folder that are read, and says how many are not.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = folder::list(folder)?;
    if !found.unread.is_empty() {
        tracing::info!("{}: {}", folder.display(), found.unread);
    }
    Ok(found.names.iter().map(|file| folder.join(file)).collect())
}

/// Returns whether a name may be a pattern: a file with such a name wins.
fn has_wildcard(name: &str) -> bool {
    name.contains(WILDCARDS)
}

fn not_a_pattern(name: &str, error: &glob::PatternError) -> Error {
    Error::file(name, format!("not a pattern of names: {error}"))
}

/// Returns the files of an object store that a pattern matches: `*` stands for no slash.
fn matching_elsewhere(name: &str) -> Result<Vec<PathBuf>> {
    let first = name.find(WILDCARDS).unwrap_or(name.len());
    let (folder, rest) = name.split_at(name[..first].rfind('/').map_or(0, |slash| slash + 1));
    let pattern = glob::Pattern::new(rest).map_err(|error| not_a_pattern(name, &error))?;
    let exactly = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let files = folder::list(Path::new(folder.trim_end_matches('/')))?;
    let found = files.names.iter().filter(|file| pattern.matches_with(file, exactly));
    Ok(found.map(|file| PathBuf::from(format!("{folder}{file}"))).collect())
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let found = glob::glob(pattern).map_err(|error| not_a_pattern(pattern, &error))?;
    let (mut files, mut unread) = (Vec::new(), 0u64);
    for path in found.take(MOST_FILES + 1) {
        let path = path.map_err(|error| Error::file(pattern, error))?;
        match Kind::of(&path) {
            _ if path.is_dir() => {}
            Some(_) => files.push(path),
            None => unread += 1,
        }
    }
    if unread > 0 {
        tracing::info!("{pattern}: {unread} files are not read; what is read ends in {KNOWN_ENDINGS}");
    }
    Ok(files)
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => serializer.serialize_str(one),
            several => serializer.collect_seq(several),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Paths;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file, a folder or a pattern, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Paths, E> {
        Ok(Paths(vec![name.into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Paths, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = names.next_element::<String>()? {
            if all.len() == MOST_FILES {
                return Err(A::Error::custom(format!("more than {MOST_FILES} names")));
            }
            all.push(name);
        }
        Ok(Paths(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_a_folder_a_pattern_and_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        std::fs::create_dir(at("more")).unwrap();
        for name in ["b-2.npy", "b-10.npy", "a.csv", "read.me", "b-3.txt", "more/c.npy", "odd[1].npy"] {
            std::fs::write(at(name), "").unwrap();
        }
        let files = |names: &[&str]| -> Result<Vec<String>> {
            let files = Paths(names.iter().map(|name| at(name)).collect()).files()?;
            let relative = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            Ok(files.iter().map(relative).collect())
        };
        assert_eq!(files(&["b-2.npy"]).unwrap(), ["b-2.npy"]);
        assert_eq!(files(&["b-*.npy"]).unwrap(), ["b-10.npy", "b-2.npy"]);
        assert_eq!(files(&["b-*"]).unwrap(), ["b-10.npy", "b-2.npy"]);
        assert_eq!(
            files(&["b-{10..2..8}.npy", "{more/c.npy,a.csv}"]).unwrap(),
            ["b-10.npy", "b-2.npy", "more/c.npy", "a.csv"]
        );
        assert_eq!(files(&["{b,odd}*.npy"]).unwrap(), ["b-10.npy", "b-2.npy", "odd[1].npy"]);
        assert_eq!(files(&["more", "a.csv"]).unwrap(), ["more/c.npy", "a.csv"]);
        assert_eq!(files(&["."]).unwrap(), ["a.csv", "b-10.npy", "b-2.npy", "more/c.npy", "odd[1].npy"]);
        assert_eq!(files(&["odd[1].npy"]).unwrap(), ["odd[1].npy"], "a file wins over a pattern");
        assert!(files(&["b-{2..4}.npy"]).unwrap_err().to_string().contains("b-3.npy: no such file"));
        assert!(files(&["z*"]).unwrap_err().to_string().contains("there is no file that is read"));
    }

    #[test]
    fn one_name_or_a_list() {
        let read = |text: &str| {
            let table: Result<std::collections::BTreeMap<String, Paths>, _> = toml::from_str(text);
            table.map(|table| table["path"].clone()).map_err(|error| error.to_string())
        };
        let one = read("path = \"a\"").unwrap();
        assert_eq!((toml::Value::try_from(&one).unwrap().as_str(), one.is_empty()), (Some("a"), false));
        let two = read("path = [\"a\", \"b\"]").unwrap();
        assert_eq!(toml::Value::try_from(&two).unwrap().as_array().map(Vec::len), Some(2));
        assert!(read("path = []").unwrap().is_empty() && read("path = \"\"").unwrap().is_empty());
        assert!(read("path = 7").unwrap_err().contains("a file, a folder or a pattern"));
    }
}

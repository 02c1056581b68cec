//! The documentation as its readers have it: every page is in the book, and every link, anchor and file that it names is there.

use crate::support::root;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Pages outside of docs.
const OTHERS: [&str; 7] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "examples/torchscript/README.md",
    "packaging/README.md",
];

/// Folders of the repository: what begins with one of them is a file's name.
const FOLDERS: [&str; 10] = [
    ".ci/",
    "benches/",
    "crates/",
    "docs/",
    "examples/",
    "packaging/",
    "pipelines/",
    "python/",
    "scripts/",
    "tests/",
];

/// A page: its path from the root, and its text.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block: its language, and what is in it.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// Returns all pages.
pub fn pages() -> Vec<Page> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| Path::new("docs").join(name));
    let paths = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let mut paths: Vec<PathBuf> = paths.chain(OTHERS.map(PathBuf::from)).collect();
    paths.sort();
    let read = |path: PathBuf| Page { text: std::fs::read_to_string(root().join(&path)).unwrap(), path };
    paths.into_iter().map(read).collect()
}

impl Page {
    /// Returns the text without fenced blocks, and the blocks.
    pub fn parts(&self) -> (String, Vec<Block>) {
        let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), false);
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), open) {
                (Some(language), false) => {
                    blocks.push(Block { language: language.into(), text: String::new() })
                }
                (Some(_), true) => {}
                (None, true) => blocks.last_mut().unwrap().text += &format!("{line}\n"),
                (None, false) => prose += &format!("{line}\n"),
            }
            open ^= line.trim_start().starts_with("```");
        }
        assert!(!open, "{}: a block is not closed", self.path.display());
        (prose, blocks)
    }

    /// Returns what stands between backticks in the prose.
    pub fn spans(&self) -> Vec<String> {
        let spaced = |span: &str| span.split_whitespace().collect::<Vec<_>>().join(" ");
        self.parts().0.split('`').skip(1).step_by(2).map(spaced).collect()
    }

    /// Returns the targets of links and images.
    fn links(&self) -> Vec<String> {
        let prose: String = self.parts().0.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_string());
        targets.filter(|target| !target.contains("://")).collect()
    }

    /// Returns the names that links can lead to: those that GitHub and mdBook give to headings.
    fn anchors(&self) -> BTreeSet<String> {
        let prose = self.parts().0;
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Returns the path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads out", path.display()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut faults = Vec::new();
    let mut links = 0;
    for page in &pages {
        for link in page.links() {
            let (file, heading) = link.split_once('#').map_or((&*link, None), |(f, h)| (f, Some(h)));
            let target = match file {
                "" => page.path.clone(),
                file => plain(&page.path.parent().unwrap().join(file)),
            };
            let of = pages.iter().find(|page| page.path == target);
            // The book makes another name of a page that it does not have.
            let outside = page.path.starts_with("docs") && !target.starts_with("docs");
            let lost = outside && target.extension().is_some_and(|ending| ending == "md");
            let known = heading.is_none_or(|heading| of.is_some_and(|page| page.anchors().contains(heading)));
            if lost || !known || !root().join(&target).exists() {
                faults.push(format!("{}: {link}", page.path.display()));
            }
            links += 1;
        }
    }
    assert!(links > 150, "{links} links");
    assert_eq!(faults, [""; 0]);
}

#[test]
fn every_page_of_docs_is_in_the_book_once() {
    let pages = pages();
    let summary = pages.iter().find(|page| page.path.ends_with("SUMMARY.md")).unwrap();
    let mut named = summary.links();
    named.sort();
    let there = pages.iter().filter(|page| page.path.starts_with("docs"));
    let there = there.map(|page| page.path.file_name().unwrap().to_str().unwrap().to_string());
    let there: Vec<String> = there.filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(named, there);
}

#[test]
fn files_that_are_named_are_there() {
    let mut faults = Vec::new();
    for page in pages().iter().filter(|page| !page.path.ends_with("CHANGELOG.md")) {
        let shell = page.parts().1.into_iter().filter(|block| block.language == "sh").map(|block| block.text);
        for text in page.spans().into_iter().chain(shell) {
            let words = text.split(|c: char| c.is_whitespace() || "\"'`()=,;:".contains(c));
            for word in words.map(|word| word.trim_start_matches("./").trim_end_matches('.')) {
                // A word in capitals, a pattern or an ellipsis stands for something.
                let name = word.split("::").next().unwrap();
                let stands_for = name.contains(['*', '<', '{', '…', '$']) || name.contains("NAME");
                let is_file = FOLDERS.iter().any(|folder| name.starts_with(folder)) && !stands_for;
                if is_file && !root().join(name).exists() {
                    faults.push(format!("{}: {name}", page.path.display()));
                }
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn the_readme_is_short_and_pictures_are_small() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150);
    let shown: BTreeSet<PathBuf> = pages()
        .iter()
        .flat_map(|page| page.links().into_iter().map(|link| plain(&page.path.parent().unwrap().join(link))))
        .filter(|path| path.starts_with("docs/images"))
        .collect();
    let folder = std::fs::read_dir(root().join("docs/images")).unwrap();
    let there = folder.map(|entry| Path::new("docs/images").join(entry.unwrap().file_name()));
    assert_eq!(there.collect::<BTreeSet<PathBuf>>(), shown);
    let size = |path: &Path| std::fs::metadata(root().join(path)).unwrap().len();
    assert!(size(Path::new("docs/images/page.png")) <= 150_000);
    let all: u64 = shown.iter().map(|path| size(path)).sum();
    assert!(all <= 600_000, "{all} bytes of pictures");
}

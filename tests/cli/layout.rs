//! The rules of the source tree: which package and folder may use what, no circles, short files.

use sluicebox_core::report::pipeline::PIPELINE;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A package, the packages that it may use, and the outer crates that only packages with the crate in
/// their row may use.
struct Package {
    name: &'static str,
    uses: &'static [&'static str],
    alone: &'static [&'static str],
}

const PACKAGES: [Package; 6] = [
    Package { name: "core", uses: &[], alone: &["nvml_wrapper"] },
    Package {
        name: "stream",
        uses: &["core"],
        alone: &[
            "rdkafka",
            "fjall",
            "npyz",
            "zip",
            "zstd",
            "liblzma",
            "encoding_rs",
            "object_store",
            "tar",
            "apache_avro",
            "ureq",
            "parquet",
            "arrow_array",
            "arrow_ipc",
            "glob",
        ],
    },
    Package { name: "learn", uses: &["core"], alone: &["tch", "zip", "safetensors"] },
    Package {
        name: "observe",
        uses: &["core"],
        alone: &["rusqlite", "plotters", "prost", "tracing_subscriber", "ureq"],
    },
    Package {
        name: "client",
        uses: &["core", "stream", "observe"],
        alone: &["ratatui", "ureq", "clap", "ctrlc"],
    },
    Package {
        name: "",
        uses: &["core", "stream", "learn", "observe", "client"],
        alone: &["timely", "differential_dataflow", "axum", "hyper", "clap", "tch", "ureq"],
    },
];

/// Folders of the root package and the folders of it that each may use.
const FOLDERS: [(&str, &[&str]); 7] = [
    ("cluster", &[]),
    ("engine", &[]),
    ("serve", &[]),
    ("job", &["engine", "serve"]),
    ("run", &["cluster", "engine", "serve", "job"]),
    ("compare", &["engine", "job", "run"]),
    ("commands", &["cluster", "compare", "engine", "job", "run", "serve"]),
];

/// Where the root package may use libtorch.
const TCH: [&str; 5] = ["engine/metrics/", "engine/checkpoint", "serve/predictor.rs", "run/", "compare/"];

/// Where the true classes of a stream may be read.
const REVEALS: [&str; 5] = [
    "src/engine/metrics/readback.rs",
    "src/engine/metrics/evaluator.rs",
    "crates/sluicebox-stream/src/microbatch/late_labels.rs",
    "crates/sluicebox-stream/src/microbatch/blind_classifier.rs",
    "crates/sluicebox-stream/src/scenario/mod.rs",
];

/// A source file.
struct File {
    /// Path below the project's folder.
    path: String,
    /// Module path within its package, without `crate`; empty for `lib.rs`.
    module: String,
    /// Everything.
    text: String,
    /// Code before the unit tests, without comments.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source(package: &str) -> PathBuf {
    match package {
        "" => root().join("src"),
        name => root().join(format!("crates/sluicebox-{name}/src")),
    }
}

fn library(package: &str) -> String {
    match package {
        "" => "sluicebox".into(),
        name => format!("sluicebox_{name}"),
    }
}

fn files(package: &str) -> Vec<File> {
    let mut found = Vec::new();
    collect(&source(package), &source(package), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(base: &Path, folder: &Path, found: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(base, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let inner = path.strip_prefix(base).unwrap().with_extension("");
            let module = inner.to_str().unwrap().replace('/', "::");
            let module = module.trim_end_matches("::mod");
            let module = if ["lib", "mod"].contains(&module) { "" } else { module };
            let code = code_of(&text[..unit_tests(&text)]);
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
            found.push(File { path, module: module.into(), text, code });
        }
    }
}

/// Returns where the unit tests of a file begin.
fn unit_tests(text: &str) -> usize {
    const TEST: &str = "#[cfg(test)]\n";
    let mut marks = text.match_indices(TEST).map(|(at, _)| at);
    let begins =
        |at: &usize| text[at + TEST.len()..].lines().next().is_some_and(|line| line.ends_with("mod tests {"));
    marks.find(begins).unwrap_or(text.len())
}

/// Returns the code in a source text: no comments, and strings without what is in them.
fn code_of(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let raw =
            rest.strip_prefix('r').filter(|_| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw.filter(|raw| raw[hashes..].starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = raw[hashes + 1..].find(&end).unwrap();
            1 + hashes + 1 + length + end.len()
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.unwrap() + 2
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    code
}

/// Returns the paths in `code` that begin with `first`, such as `tch::Tensor`; a group in braces becomes one
/// path per member.
fn paths<'c>(code: &'c str, first: &'c str) -> impl Iterator<Item = String> + 'c {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(first).flat_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let rest = &code[at + first.len()..];
        if before.is_some_and(|c| word(c) || c == ':') || !rest.starts_with("::") {
            return Vec::new();
        }
        let end = rest.find(|c: char| !word(c) && c != ':').unwrap_or(rest.len());
        let path = rest[2..end].trim_end_matches(':').to_string();
        match rest[end..].strip_prefix('{').and_then(|group| group.split('}').next()) {
            Some(group) => group
                .split(',')
                .map(|member| member.split_whitespace().next().unwrap_or(""))
                .filter(|member| !member.is_empty())
                .map(|member| match (path.as_str(), member) {
                    (path, "self") => path.to_string(),
                    ("", member) => member.to_string(),
                    (path, member) => format!("{path}::{member}"),
                })
                .collect(),
            None => vec![path],
        }
    })
}

fn names(code: &str, name: &str) -> bool {
    paths(code, name).next().is_some()
}

/// Returns the module that a path within the package leads to.
fn module_of<'m>(modules: &BTreeSet<&'m str>, path: &str) -> Option<&'m str> {
    let mut path = path;
    loop {
        if let Some(module) = modules.get(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// Returns which modules of a package each of its modules imports.
fn imports(files: &[File]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module.as_str()).collect();
    let mut graph = BTreeMap::new();
    for file in files.iter().filter(|file| !file.module.is_empty() && file.module != "main") {
        let own = file.module.as_str();
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let below = |base: &str, path: String| if base.is_empty() { path } else { format!("{base}::{path}") };
        let mut found: Vec<String> = paths(&file.code, "crate").collect();
        for path in paths(&file.code, "super") {
            let (mut base, mut path) = (parent, path.as_str());
            while let Some(rest) = path.strip_prefix("super::") {
                (base, path) = (base.rsplit_once("::").map_or("", |(base, _)| base), rest);
            }
            found.push(below(base, path.into()));
        }
        found.extend(paths(&file.code, "self").map(|path| below(own, path)));
        for module in &modules {
            if let Some(child) = module.strip_prefix(own).and_then(|rest| rest.strip_prefix("::"))
                && names(&file.code, child)
            {
                found.push(module.to_string());
            }
        }
        let found = found.iter().filter_map(|path| module_of(&modules, path));
        graph.insert(own, found.filter(|module| *module != own && !module.is_empty()).collect());
    }
    graph
}

/// Returns a circle in a graph, if there is one.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn go(
        node: &str,
        graph: &BTreeMap<String, BTreeSet<String>>,
        trail: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(at) = trail.iter().position(|other| other == node) {
            return Some(trail[at..].to_vec());
        }
        if !done.insert(node.to_string()) {
            return None;
        }
        trail.push(node.to_string());
        let next = graph.get(node).into_iter().flatten();
        let found = next.map(|next| go(next, graph, trail, done)).find(Option::is_some).flatten();
        trail.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|node| go(node, graph, &mut Vec::new(), &mut done))
}

#[test]
fn a_package_uses_only_the_packages_below_it() {
    for package in &PACKAGES {
        for file in files(package.name) {
            for other in PACKAGES.iter().filter(|other| other.name != package.name) {
                // The command is a crate of its own and uses the library of its package.
                let may = package.uses.contains(&other.name);
                let named = names(&file.code, &library(other.name));
                assert!(may || !named, "{} names {}", file.path, library(other.name));
            }
        }
    }
}

#[test]
fn an_outer_crate_is_used_where_its_row_says() {
    let crates: BTreeSet<&str> = PACKAGES.iter().flat_map(|package| package.alone).copied().collect();
    for package in &PACKAGES {
        for file in files(package.name) {
            for outer in crates.iter().filter(|outer| !package.alone.contains(outer)) {
                assert!(!names(&file.code, outer), "{} uses {outer}", file.path);
            }
        }
    }
    for file in files("") {
        let below = file.path.strip_prefix("src/").unwrap();
        let in_flow = below.starts_with("engine/flow");
        for engine in ["timely", "differential_dataflow"] {
            assert!(in_flow || !names(&file.code, engine), "{} uses {engine}", file.path);
        }
        let may = TCH.iter().any(|place| below.starts_with(place));
        assert!(may || !names(&file.code, "tch"), "{} uses tch", file.path);
    }
}

#[test]
fn folders_of_the_root_package_use_only_those_below_them() {
    let all = files("");
    for (folder, uses) in FOLDERS {
        for file in all.iter().filter(|file| file.path.starts_with(&format!("src/{folder}/"))) {
            for (other, _) in FOLDERS.iter().filter(|(other, _)| *other != folder) {
                let first = if folder == "commands" { "sluicebox" } else { "crate" };
                let named = paths(&file.code, first).any(|path| path.split("::").next() == Some(other));
                assert!(!named || uses.contains(other), "{} uses {other}", file.path);
            }
        }
    }
}

#[test]
fn no_circle_of_files() {
    for package in &PACKAGES {
        let all = files(package.name);
        let owned = |modules: &BTreeSet<&str>| modules.iter().map(|module| module.to_string()).collect();
        let graph = imports(&all).iter().map(|(module, uses)| (module.to_string(), owned(uses))).collect();
        assert_eq!(circle(&graph), None, "files of package `{}`", package.name);
    }
}

#[test]
fn no_circle_of_folders() {
    for package in &PACKAGES {
        let all = files(package.name);
        let graph = imports(&all);
        let folders: BTreeSet<&str> = graph
            .keys()
            .flat_map(|module| module.match_indices("::").map(|(at, _)| &module[..at]))
            .chain([""])
            .collect();
        for folder in folders {
            let child = |module: &str| -> Option<String> {
                let rest = if folder.is_empty() {
                    module
                } else {
                    module.strip_prefix(folder)?.strip_prefix("::")?
                };
                Some(rest.split("::").next()?.to_string())
            };
            let mut between: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (from, uses) in &graph {
                for to in uses {
                    if let (Some(from), Some(to)) = (child(from), child(to))
                        && from != to
                    {
                        between.entry(from).or_default().insert(to);
                    }
                }
            }
            assert_eq!(circle(&between), None, "below `{folder}` of package `{}`", package.name);
        }
    }
}

#[test]
fn true_classes_are_read_for_reports_and_simulated_labels_only() {
    for file in PACKAGES.iter().flat_map(|package| files(package.name)) {
        let reveals = file.code.contains(".reveal()");
        assert!(!reveals || REVEALS.contains(&file.path.as_str()), "{} reads true classes", file.path);
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut lengths = Vec::new();
    for package in &PACKAGES {
        for file in files(package.name) {
            let lines = file.text.lines().count();
            assert!(lines <= 450, "{} has {lines} lines", file.path);
            assert!(file.text.starts_with("//!"), "{} does not say what it is", file.path);
            lengths.push(lines);
        }
        let folders = std::fs::read_dir(source(package.name)).unwrap();
        let folders = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
        assert!(folders <= 8, "package `{}` has {folders} folders at its top", package.name);
    }
    lengths.sort();
    assert!(lengths[lengths.len() / 2] <= 150, "the median file has {} lines", lengths[lengths.len() / 2]);
    let flow = std::fs::read_to_string(root().join("src/engine/flow/mod.rs")).unwrap();
    let build = flow.split("fn build(").nth(1).unwrap().split("\n}\n").next().unwrap();
    assert!(build.lines().count() <= 40, "the dataflow does not fit on one screen");
}

#[test]
fn nothing_reads_the_environment_or_unwraps() {
    for file in PACKAGES.iter().flat_map(|package| files(package.name)) {
        if file.path.ends_with("tests.rs") {
            continue; // unit tests in a file of their own
        }
        for line in file.code.lines() {
            assert!(!line.contains("env::var"), "{}: {line}", file.path);
            assert!(!line.contains(".unwrap()"), "{}: {line}", file.path);
        }
    }
}

#[test]
fn what_is_written_to_a_terminal_goes_through_one_place() {
    for file in PACKAGES.iter().flat_map(|package| files(package.name)) {
        for line in file.code.lines() {
            let prints = ["print!", "println!", "dbg!"].iter().any(|name| line.contains(name));
            assert!(!prints, "{}: {line}: use sluicebox_core::terminal", file.path);
        }
    }
}

#[test]
fn the_architecture_page_is_short_and_names_every_part() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(page.lines().count() <= 150);
    for package in &PACKAGES {
        assert!(package.name.is_empty() || page.contains(&format!("`sluicebox-{}`", package.name)));
        for entry in std::fs::read_dir(source(package.name)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            let known = ["lib", "main"].contains(&name.as_str()) || page.contains(&format!("`{name}"));
            assert!(known, "ARCHITECTURE.md does not name `{name}` of {}", library(package.name));
        }
    }
}

#[test]
fn drawings_of_the_pipeline_name_its_stages() {
    let stages = PIPELINE.stages.iter().map(|stage| stage.name);
    let stages: Vec<&str> = stages.filter(|name| *name != "ledger").collect();
    for file in ["ARCHITECTURE.md", "README.md", "src/lib.rs", "src/engine/flow/mod.rs"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let line = text.lines().find(|line| line.contains("source ─► batch")).unwrap();
        let drawn: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        assert_eq!(drawn, stages, "{file}");
    }
}

#[test]
fn modules_that_the_log_option_names_exist() {
    let text = std::fs::read_to_string(source("observe").join("logging/filter.rs")).unwrap();
    let table = text.split("const MODULES").nth(1).unwrap().split("];").next().unwrap();
    let targets: Vec<&str> = table.split('"').filter(|word| word.starts_with("sluicebox")).collect();
    assert!(targets.len() > 20);
    for target in targets {
        let (library, module) = target.split_once("::").unwrap();
        let package = library.strip_prefix("sluicebox").unwrap().trim_start_matches('_');
        let path = source(package).join(module.replace("::", "/"));
        assert!(path.is_dir() || path.with_extension("rs").is_file(), "there is no module {target}");
    }
}

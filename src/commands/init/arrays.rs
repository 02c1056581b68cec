//! Sets of arrays: which file holds the samples, and which their classes.

use super::arguments::Init;
use super::source_text::{SourceText, text};
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::decode::packed;
use std::path::Path;

/// Parts of the names of arrays of samples, of classes, and of those for evaluation.
const SAMPLES: [&str; 6] = ["samples", "images", "features", "data", "x", "train"];
const CLASSES: [&str; 4] = ["labels", "targets", "classes", "y"];
const TESTS: [&str; 4] = ["test", "t10k", "val", "eval"];

/// NumPy's arrays, in files of their own or in an npz.
pub fn npy(path: &Path, arguments: &Init) -> Result<SourceText> {
    let named = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let shown = if folder.as_os_str().is_empty() { ".".into() } else { folder.to_string_lossy() };
    let is_npz = named.ends_with(".npz");
    let mut names = match (is_npz, path.is_dir()) {
        (true, _) => {
            let inside = packed::names(path).map_err(|error| Error::file(path, error))?;
            inside.into_iter().map(|name| format!("{named}/{}", name.trim_end_matches(".npy"))).collect()
        }
        _ => listed(folder, &[".npy"])?,
    };
    names.sort();
    let own = (!is_npz && !path.is_dir()).then_some(named);
    let pick = |words: &[&str], test: bool| {
        names.iter().filter(|name| is_of(name, &TESTS) == test).find(|name| is_of(name, words)).cloned()
    };
    let labels = pick(&CLASSES, false).filter(|labels| Some(labels) != own.as_ref());
    let others = names.iter().find(|name| !is_of(name, &CLASSES) && !is_of(name, &TESTS)).cloned();
    let samples =
        own.or_else(|| pick(&SAMPLES, false).filter(|name| Some(name) != labels.as_ref())).or(others);
    let Some(samples) = samples else {
        return Err(Error::file(path, "no array of samples is in it, such as samples.npy"));
    };
    let mut source = SourceText::of("npy").with("path", text(&shown), "").with(
        "samples",
        text(&samples),
        "[count, features], or [count, channels, height, width]",
    );
    source = match &labels {
        Some(labels) => source.with("labels", text(labels), "[count]; -1 where the class is not known"),
        None => source.with("labels", text(""), "none: they come later, by `sluicebox label`"),
    };
    if let Some(test) = pick(&SAMPLES, true) {
        let classes = pick(&CLASSES, true);
        source = source.with("test_samples", text(&test), "for evaluation, not streamed");
        source = source.with_text("test_labels", classes.as_deref(), "");
    }
    if labels.is_none() {
        let classes = arguments.classes.len();
        let shown = if classes > 1 { classes } else { 10 };
        return Ok(source.with("classes", shown.to_string(), "how many there are"));
    }
    Ok(source.labelled(arguments.labelled))
}

/// IDX files, as of MNIST.
pub fn idx(path: &Path, arguments: &Init) -> Result<SourceText> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let shown = if folder.as_os_str().is_empty() { ".".into() } else { folder.to_string_lossy() };
    let mut names: Vec<String> = listed(folder, &["-ubyte", ".idx"])?;
    names.sort();
    let labels = |name: &str| is_of(name, &CLASSES);
    let tests = |name: &str| is_of(name, &TESTS);
    let find = |of_labels: bool, test: bool| {
        names.iter().find(|name| labels(name) == of_labels && tests(name) == test).cloned()
    };
    let own =
        (!path.is_dir()).then(|| path.file_name().map(|name| unpacked(&name.to_string_lossy()))).flatten();
    let Some(images) = own.or_else(|| find(false, false)) else {
        return Err(Error::file(path, "no IDX file of images is in it, such as train-images-idx3-ubyte"));
    };
    let Some(classes) = find(true, false) else {
        return Err(Error::file(path, "no IDX file of labels is in it, such as train-labels-idx1-ubyte"));
    };
    let mut source = SourceText::of("idx").with("path", text(&shown), "");
    source = source.with("images", text(&images), "with or without .gz").with("labels", text(&classes), "");
    let test = find(false, true).zip(find(true, true)).unwrap_or_default();
    source = source.with("test_images", text(&test.0), "for evaluation, not streamed");
    source = source.with("test_labels", text(&test.1), "");
    Ok(source.labelled(arguments.labelled))
}

/// Returns whether one of the words is a part of a name, between what is no letter.
fn is_of(name: &str, words: &[&str]) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let mut parts = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.any(|part| words.iter().any(|word| part == *word || word.strip_suffix('s') == Some(part)))
}

/// Returns the name without the ending of a packed file.
fn unpacked(name: &str) -> String {
    let packed = [".gz", ".zst", ".xz"].iter().find_map(|ending| name.strip_suffix(ending));
    packed.unwrap_or(name).into()
}

/// Returns the names of a folder's files with one of these endings, packed or not, without that of the packing.
fn listed(folder: &Path, endings: &[&str]) -> Result<Vec<String>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let found = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let names = found.filter_map(|entry| Some(unpacked(&entry.ok()?.file_name().to_string_lossy())));
    Ok(names.filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect())
}

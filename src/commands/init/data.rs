//! Which source reads the data that is there: by the names of files, and by what is in them.

use super::arguments::Init;
use super::source_text::{PER_CLASS, SourceText, column, shape, text};
use super::{arrays, json_lines};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Shape};
use sluicebox_stream::decode::{self, KNOWN_ENDINGS, Kind, Look};
use std::path::{Path, PathBuf};

/// Most entries of a folder that are looked at.
const MOST: usize = 10_000;

/// Returns the section of the source.
pub fn source(data: &str, arguments: &Init) -> Result<SourceText> {
    let path = Path::new(data);
    if path.is_dir() {
        return folder(data, path, arguments);
    }
    let is_pattern = data.contains(['*', '?', '{', '[']);
    if !is_pattern && !path.is_file() && !data.contains("://") && !data.contains(".npz/") {
        return Err(Error::file(
            path,
            "there is no such file or folder (live data: http, tcp, lines or kafka)",
        ));
    }
    match Kind::of(path) {
        Some(Kind::Csv) if !is_pattern => Ok(table(data, arguments)),
        Some(Kind::Npy) if !is_pattern => arrays::npy(path, arguments),
        Some(Kind::Idx) if !is_pattern => arrays::idx(path, arguments),
        Some(Kind::Image) => Err(Error::file(
            path,
            "that is one image: name the folder in which each class has a folder of images",
        )),
        Some(Kind::Cifar) => Err(Error::file(path, "name the folder of the CIFAR files (.bin)")),
        Some(kind) => files(data, kind, first(data, path)?.as_deref(), arguments),
        None => Err(Error::file(
            path,
            format!("the end of its name does not say what it holds (known: {KNOWN_ENDINGS})"),
        )),
    }
}

fn table(data: &str, arguments: &Init) -> SourceText {
    let labelled = arguments.labelled.unwrap_or(300);
    let mut source = SourceText::of("csv").with("path", text(data), "rows in time order");
    source = match &arguments.class_column {
        Some(name) => source.with("class_column", column(name), ""),
        None => source.remark("class_column = \"label\": by default what a header calls label, class, target or y, else the last"),
    };
    source = source.with_list("classes", &arguments.classes, "").with_list("ignore", &arguments.ignore, "");
    source.with("labelled_first", labelled.to_string(), "rows whose class the job may use from the start")
}

/// Files of one kind that are read in order.
fn files(data: &str, kind: Kind, first: Option<&Path>, arguments: &Init) -> Result<SourceText> {
    let mut source = SourceText::of("files").with("path", text(data), "read in the order of their names");
    source = match &arguments.test {
        Some(test) => source.with("test", text(test), "for evaluation, not streamed"),
        None => source.remark("test = \"test.parquet\": files for evaluation, which are not streamed"),
    };
    let found =
        first.filter(|_| kind == Kind::Ndjson).map(|path| json_lines::look(path, arguments)).transpose()?;
    let look =
        first.filter(|_| kind == Kind::Tar).map(|path| decode::look(path, &decode::Options::default()));
    let said = look.transpose()?.map(|Look { sample, .. }| sample);
    let (sizes, dtype) = match (&found, said) {
        (Some(found), _) => (found.shape.clone(), found.dtype),
        (None, Some(Ok((shape, dtype)))) => (sizes(shape), Some(dtype)),
        (None, Some(Err(reason))) if arguments.shape.is_empty() => {
            return Err(Error::file(first.unwrap_or(Path::new(data)), format!("{reason}: give --shape")));
        }
        _ => (Vec::new(), None),
    };
    let sizes = if arguments.shape.is_empty() { sizes } else { arguments.shape.clone() };
    if !sizes.is_empty() {
        let named = arguments.dtype.clone().unwrap_or_else(|| dtype.unwrap_or(Dtype::U8).name().into());
        source = source.with("shape", shape(&sizes), "of a sample").with("dtype", text(&named), "");
        if let Some(scale) = found.as_ref().and_then(|found| found.scale).filter(|_| named == "u8") {
            source = source.with(
                "scale",
                scale.to_string(),
                "from a value to the network's input: the largest is 1",
            );
        }
    }
    if kind == Kind::Tar {
        source = source.with("resize", "true", "images of another size");
    }
    let class = arguments.class_column.clone();
    if let Some(found) = found {
        source = source.with_list("features", &found.features, "keys of the values, in their order");
        if let Some(name) = class.or(found.class) {
            source =
                source.with("class_column", column(&name), "key of the label, which may be missing or null");
        }
    } else if let Some(name) = class {
        source = source.with("class_column", column(&name), "");
    }
    source = source.with_list("classes", &arguments.classes, "").with_list("ignore", &arguments.ignore, "");
    Ok(source.labelled(arguments.labelled))
}

fn folder(data: &str, path: &Path, arguments: &Init) -> Result<SourceText> {
    let mut inside = entries(path)?;
    inside.sort();
    let called = |names: &[&str]| {
        inside.iter().any(|entry| entry.file_name().is_some_and(|name| names.iter().any(|one| name == *one)))
    };
    if called(&["data_batch_1.bin", "train.bin"]) {
        let set = if called(&["train.bin"]) { "cifar-100" } else { "cifar-10" };
        let source = SourceText::of("cifar").with("path", text(data), "").with("set", text(set), "");
        return Ok(source.labelled(arguments.labelled));
    }
    let kinds: Vec<(Kind, &PathBuf)> = inside
        .iter()
        .filter(|entry| entry.is_file())
        .filter_map(|file| Some((Kind::of(file)?, file)))
        .collect();
    let has = |kind: Kind| kinds.iter().find(|(other, _)| *other == kind).map(|(_, file)| *file);
    if has(Kind::Idx).is_some() {
        return arrays::idx(path, arguments);
    }
    if has(Kind::Npy).is_some() {
        return arrays::npy(path, arguments);
    }
    for (kind, ending) in
        [(Kind::Parquet, "parquet"), (Kind::Arrow, "arrow"), (Kind::Tar, "tar"), (Kind::Ndjson, "ndjson")]
    {
        if let Some(first) = has(kind) {
            let ending = first.extension().and_then(|ending| ending.to_str()).unwrap_or(ending);
            return files(
                &format!("{}/*.{ending}", data.trim_end_matches('/')),
                kind,
                Some(first),
                arguments,
            );
        }
    }
    if let Some(csv) = has(Kind::Csv) {
        return Ok(table(&csv.to_string_lossy(), arguments));
    }
    images(data, path, &inside, arguments)
}

/// Images in folders that are called like their classes.
fn images(data: &str, path: &Path, inside: &[PathBuf], arguments: &Init) -> Result<SourceText> {
    let is_image = |file: &PathBuf| Kind::of(file) == Some(Kind::Image);
    let mut first = inside.iter().find(|entry| is_image(entry)).cloned();
    let mut classes = 0;
    for class in inside.iter().filter(|entry| entry.is_dir()) {
        if let Some(image) = entries(class)?.into_iter().find(is_image) {
            classes += 1;
            first = first.or(Some(image));
        }
    }
    let Some(first) = first else {
        let is_deeper =
            |folder: &&PathBuf| entries(folder).is_ok_and(|within| within.iter().any(|entry| entry.is_dir()));
        let deeper = inside.iter().find(is_deeper);
        let hint = deeper.map_or(String::new(), |folder| {
            format!("; the classes may be the folders in {}: name that one", folder.display())
        });
        return Err(Error::file(path, format!("no file of data is in it (known: {KNOWN_ENDINGS}){hint}")));
    };
    let look = decode::look(&first, &decode::Options::default())?;
    let found = look.sample.map_err(|reason| Error::file(&first, reason))?.0;
    let sizes = if arguments.shape.is_empty() { sizes(found) } else { arguments.shape.clone() };
    let per_class = arguments.labelled.map_or(PER_CLASS, |labelled| labelled.div_ceil(classes.max(1)).max(1));
    let mut source = SourceText::of("folder").with("path", text(data), "a folder of images for each class");
    source = source.with_text("test", arguments.test.as_deref(), "for evaluation, not streamed");
    source = source
        .with("shape", shape(&sizes), "channels, height and width: those of the first image")
        .with("dtype", text(arguments.dtype.as_deref().unwrap_or("u8")), "")
        .with("resize", "true", "images of another size")
        .with_list("classes", &arguments.classes, "");
    if classes > 0 {
        source =
            source.with("labelled_per_class", per_class.to_string(), "images whose folder the job may know");
    } else {
        source.notes.push(format!("{data} has no folders of classes: labels come later (sluicebox label)"));
    }
    Ok(source
        .with("order", text("shuffled"), "of what lies there from the start: it lies class by class")
        .with("follow", "false", "true: new images are learned from for ever"))
}

fn sizes(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::Vector { features } => vec![features],
        Shape::Image { channels, height, width } => vec![channels, height, width],
    }
}

/// Returns the first file of a pattern, or the file itself; none of a URL, which is not looked at.
fn first(data: &str, path: &Path) -> Result<Option<PathBuf>> {
    if path.is_file() || data.contains("://") {
        return Ok(Some(path).filter(|path| path.is_file()).map(Path::to_path_buf));
    }
    let files = sluicebox_stream::source::files_of(data)?;
    Ok(files.into_iter().next())
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| Error::file(path, error);
    let found = std::fs::read_dir(path).map_err(unreadable)?.take(MOST);
    found.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable)).collect()
}

//! The TorchScript file format, and the one change made to a file in memory.
//!
//! libtorch's C interface names a module's parameters but not its buffers. Both are needed, since the
//! running statistics lie in the flat weights too. The file is a zip archive with the source of each
//! class, which lists both; buffers listed among the parameters are named as well. The module's
//! computation does not depend on those lists.

use std::io::{Cursor, Read, Write};
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Archive entries of this size or more need the large-file format.
const LARGE: u64 = u32::MAX as u64;

/// Layers that compute otherwise in training than in evaluation, by what their code calls.
const OF_TWO_MODES: [(&str, &str); 2] = [("batch_norm", "batch norm"), ("dropout(", "dropout")];

/// Returns the archive with every buffer listed as a parameter, and which of its layers compute otherwise in training
/// than in evaluation; or what is wrong with it.
pub fn with_buffers_named(bytes: &[u8]) -> Result<(Vec<u8>, Vec<&'static str>), String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let mut changed = ZipWriter::new(Cursor::new(Vec::with_capacity(bytes.len())));
    let mut classes = 0;
    let mut layers = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
        let name = entry.name().to_string();
        let options = FileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(entry.size() >= LARGE);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| format!("{name}: {error}"))?;
        if name.contains("/code/") && name.ends_with(".py") {
            let text = String::from_utf8(content).map_err(|error| format!("{name}: {error}"))?;
            let found = OF_TWO_MODES.iter().filter(|(call, _)| text.contains(call));
            layers.extend(found.map(|(_, layer)| *layer));
            content = listed(&text).into_bytes();
            classes += 1;
        }
        changed.start_file(&name, options).map_err(|error| error.to_string())?;
        changed.write_all(&content).map_err(|error| error.to_string())?;
    }
    if classes == 0 {
        return Err("it holds weights but no code".into());
    }
    layers.sort_unstable();
    layers.dedup();
    let changed = changed.finish().map(Cursor::into_inner).map_err(|error| error.to_string())?;
    Ok((changed, layers))
}

/// Moves the names in each class's `__buffers__` to the `__parameters__` before it.
fn listed(source: &str) -> String {
    let mut lines: Vec<String> = source.lines().map(String::from).collect();
    let mut parameters = None;
    for index in 0..lines.len() {
        let line = lines[index].trim_start();
        if line.starts_with("__parameters__ = [") {
            parameters = Some(index);
        }
        let buffers = line.strip_prefix("__buffers__ = [").and_then(|rest| rest.strip_suffix(']'));
        if let (Some(buffers), Some(parameters)) = (buffers.map(String::from), parameters) {
            let list: &mut String = &mut lines[parameters];
            list.insert_str(list.len() - 1, &buffers);
            lines[index] = lines[index].replace(&buffers, "");
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_listed_as_parameters() {
        let source = "class Norm(Module):\n  __parameters__ = [\"weight\", ]\n  __buffers__ = [\"mean\", \
                      \"count\", ]\n  weight : Tensor\nclass Other(Module):\n  __parameters__ = []\n  \
                      __buffers__ = []\n";
        let expected = "class Norm(Module):\n  __parameters__ = [\"weight\", \"mean\", \"count\", ]\n  \
                        __buffers__ = []\n  weight : Tensor\nclass Other(Module):\n  __parameters__ = []\n  \
                        __buffers__ = []\n";
        assert_eq!(listed(source), expected);
    }

    #[test]
    fn what_is_no_archive_is_told() {
        assert!(with_buffers_named(b"nothing").is_err());
    }
}

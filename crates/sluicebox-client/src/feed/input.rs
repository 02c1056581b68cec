//! Inputs of the feeder: files, folders and stdin.

use sluicebox_core::error::{Error, Result};
use sluicebox_stream::decode::{Kind, is_hidden, named, packed};
use sluicebox_stream::{remote, shard_list};
use std::path::{Path, PathBuf};

/// Where samples are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, a list of files in braces, or all files in a folder and in the folders in it whose names give a known
    /// format, sorted by path.
    File(PathBuf),
    /// Stdin.
    Stdin(Kind),
}

impl Input {
    /// Returns an error if the input does not exist.
    pub fn check(&self) -> Result<()> {
        self.files().map(|_| ())
    }

    /// Returns the files of this input; none for stdin.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let Input::File(path) = self else { return Ok(Vec::new()) };
        if let Some(list) = path.to_str().filter(|name| !path.exists() && shard_list::is_list(name)) {
            let names = shard_list::names(list).map_err(Error::Request)?;
            let files = names.into_iter().map(|name| Input::File(name.into()).files());
            return Ok(files.collect::<Result<Vec<_>>>()?.concat());
        }
        if remote::is_url(path) {
            return elsewhere(path);
        }
        if packed::is_in_zip(path) {
            return Ok(vec![path.clone()]);
        }
        if !std::fs::metadata(path).map_err(|error| Error::file(path, error))?.is_dir() {
            return Ok(vec![path.clone()]);
        }
        let mut files = Vec::new();
        gather(path, &mut Vec::new(), &mut files)?;
        files.sort();
        match files.is_empty() {
            true => {
                Err(Error::file(path, "no file in this folder has a known extension, such as .npy or .csv"))
            }
            false => Ok(files),
        }
    }
}

/// Returns the file at a URL, or the files of a folder of an object store.
fn elsewhere(path: &Path) -> Result<Vec<PathBuf>> {
    if Kind::of(path).is_some() {
        return Ok(vec![path.to_path_buf()]);
    }
    let listed = remote::list(path).map_err(|(error, _)| Error::file(path, error))?;
    let mut files: Vec<PathBuf> = listed.into_iter().map(|file| path.join(file.name)).collect();
    files.retain(|path| Kind::of(path).is_some());
    files.sort();
    match files.is_empty() {
        true => Err(Error::file(path, "it is no file of a known kind, and no folder with such files")),
        false => Ok(files),
    }
}

/// Gathers the files of a folder; `above` are the folders around it.
fn gather(folder: &Path, above: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<()> {
    let fault = |error| Error::file(folder, error);
    let real = folder.canonicalize().map_err(fault)?;
    if above.contains(&real) {
        return Err(Error::file(folder, "this is a link to a folder that it lies in"));
    }
    above.push(real);
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.file_name().is_some_and(|name| is_hidden(&name.to_string_lossy())) {
            continue;
        }
        if path.is_dir() {
            gather(&path, above, files)?;
        } else if Kind::of(&path).is_some() && path.is_file() {
            files.push(path);
        }
    }
    above.pop();
    Ok(())
}

/// Returns the class of an image that lies in a folder with a class's name.
pub fn class_of_folder(image: &Path, classes: &[String]) -> Option<String> {
    let folder = if remote::is_url(image) { image.to_path_buf() } else { std::path::absolute(image).ok()? };
    let name = folder.parent()?.file_name()?.to_str()?.to_string();
    named(classes, &name).map(|_| name).filter(|_| Kind::of(image) == Some(Kind::Image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_shards_is_read_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a-00.tar", "a-01.tar", "b{1}.tar", "b{1,2}.tar"] {
            std::fs::write(at(name), "").unwrap();
        }
        let files = |name: &str| Input::File(at(name)).files();
        assert_eq!(files("a-{01..00}.tar").unwrap(), [at("a-01.tar"), at("a-00.tar")]);
        assert_eq!(files("b{1}.tar").unwrap(), [at("b{1}.tar")]);
        assert_eq!(files("b{1,2}.tar").unwrap(), [at("b{1,2}.tar")], "a file that is called so");
        let missing = files("a-{00..02}.tar").unwrap_err().to_string();
        assert!(missing.contains("a-02.tar"), "{missing}");
        assert!(files("a-{0..1000000}.tar").unwrap_err().to_string().contains("more than 100000"));
    }

    #[test]
    fn folders_in_a_folder_are_read_and_may_name_a_class() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["cat", "b", "b/dog"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in [
            "._x.png",
            "cat/._2.png",
            "x.png",
            "cat/2.png",
            "cat/1.png",
            "b/dog/3.JPG",
            "b/dog/4.npy",
            "b/notes.txt",
        ] {
            std::fs::write(at(name), "").unwrap();
        }
        let files = Input::File(folder.path().into()).files().unwrap();
        let wanted = ["b/dog/3.JPG", "b/dog/4.npy", "cat/1.png", "cat/2.png", "x.png"];
        assert_eq!(files, wanted.map(at));
        let classes = ["cat", "dog"].map(String::from);
        let found: Vec<Option<String>> = files.iter().map(|path| class_of_folder(path, &classes)).collect();
        let name = |name: &str| Some(name.to_string());
        assert_eq!(found, [name("dog"), None, name("cat"), name("cat"), None]);
        // A link to a folder above would never end.
        std::os::unix::fs::symlink(folder.path(), at("b/loop")).unwrap();
        let endless = Input::File(folder.path().into()).files().unwrap_err().to_string();
        assert!(endless.contains("b/loop: this is a link to a folder that it lies in"), "{endless}");
    }
}

//! The files of a folder and of the folders in it, and which of them cannot be read.

use crate::decode::{Kind, Unread, class_name, is_hidden};
use crate::remote::{self, Listed};
use crate::source::class_names;
use crate::source::folder::settings::Settings;
use sluicebox_core::error::{Error, Result};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

/// Names of folders that are parts of a data set, in lower case.
const PARTS: [&str; 9] =
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"];
/// Most folders within one another.
const DEEPEST: usize = 16;

/// What a folder holds.
#[derive(Default)]
pub struct Files {
    /// Names of files that may hold samples, in order: `a.png`, `cat/b.png`.
    pub names: Vec<String>,
    /// The others.
    pub unread: Unread,
    /// Times when the files were last written, where they are whole as soon as they are there: in an object store.
    pub written: Option<HashMap<String, SystemTime>>,
}

/// Lists the files of the stream: those in the folder that are not in the folder for evaluation, and not the job's `own`.
pub fn streamed(options: &Settings, own: &[PathBuf]) -> Result<Files> {
    Ok(of_stream(options, own, list(&options.path)?))
}

/// Leaves out the files in the folder for evaluation, and those that the job itself writes.
pub fn of_stream(options: &Settings, own: &[PathBuf], mut files: Files) -> Files {
    let below = |test: &&PathBuf| test.starts_with(&options.path) && **test != options.path;
    if let Some(test) = options.test.as_ref().filter(below) {
        files.names.retain(|name| !options.path.join(name).starts_with(test));
    }
    if let Ok(folder) = absolute(&options.path)
        && !remote::is_url(&options.path)
        && own.iter().any(|own| own.starts_with(&folder))
    {
        files.names.retain(|name| !own.iter().any(|own| folder.join(name).starts_with(own)));
    }
    files
}

/// Returns the names of the folders in the folder of the stream that hold files, which are its classes where the job
/// names none.
pub fn folders_of_classes(options: &Settings, own: &[PathBuf]) -> Result<Vec<String>> {
    let names = streamed(options, own)?.names;
    let mut classes: Vec<String> =
        names.iter().filter_map(|name| Some(name.split_once('/')?.0.to_string())).collect();
    classes.iter_mut().for_each(|class| *class = class_name::shown(class).into_owned());
    classes.sort();
    classes.dedup();
    let count = classes.len();
    let is_part = |class: &String| PARTS.contains(&&*class.to_lowercase());
    if count >= 2 && classes.iter().all(is_part) {
        let reason = format!(
            "its folders are called {}, which are parts of a data set and no classes: set source.path to the one of the \
             stream (and source.test to the one for evaluation), or name source.classes",
            class_names::shown(&classes)
        );
        return Err(Error::file(&options.path, reason));
    }
    if count >= 2 {
        class_names::warn_of_odd(&options.path, &classes);
        tracing::info!(
            "{}: {count} classes, by its folders: {}",
            options.path.display(),
            class_names::shown(&classes)
        );
        return Ok(classes);
    }
    let found = classes.first().map_or("no folder".into(), |one| format!("one folder (`{one}`)"));
    let reason = format!(
        "it holds {found} with files that are read, and source.classes is not set; name the classes, or set \
         source.path to the folder that holds one folder for each class"
    );
    Err(Error::file(&options.path, reason))
}

/// Lists the files in a folder and in all folders below it, at most 16 deep. Names that begin with a dot are left
/// out, and so is what macOS puts beside files.
pub fn list(folder: &Path) -> Result<Files> {
    if remote::is_url(folder) {
        return elsewhere(folder).map_err(|(error, _)| Error::file(folder, error));
    }
    let mut files = Files::default();
    let fault = |error| Error::file(folder, error);
    let own = std::fs::metadata(folder).map_err(fault)?;
    for entry in entries(folder).map_err(fault)? {
        add(folder, "", entry, &mut vec![(own.dev(), own.ino())], &mut files)?;
    }
    files.names.sort();
    Ok(files)
}

/// Lists the files in a folder of an object store. A failure says as well whether it may pass.
pub fn elsewhere(folder: &Path) -> std::result::Result<Files, (std::io::Error, bool)> {
    let mut files = Files::default();
    let mut written = HashMap::new();
    for Listed { name, modified } in remote::list(folder)? {
        let hidden = name.split('/').any(is_hidden);
        match Kind::of(Path::new(&name)) {
            _ if hidden => {}
            Some(_) => {
                files.names.push(name.clone());
                written.insert(name, modified);
            }
            None => files.unread.add(&name),
        }
    }
    files.names.sort();
    Ok(Files { written: Some(written), ..files })
}

/// Adds an entry of the folder `within`, whose own folders are `above`.
fn add(
    folder: &Path,
    within: &str,
    (name, is_folder): (String, bool),
    above: &mut Vec<(u64, u64)>,
    files: &mut Files,
) -> Result<()> {
    let name = format!("{within}{name}");
    if !is_folder {
        match Kind::of(Path::new(&name)) {
            Some(_) => files.names.push(name),
            None => files.unread.add(&name),
        }
        return Ok(());
    }
    let path = folder.join(&name);
    let read = std::fs::metadata(&path).and_then(|own| Ok(((own.dev(), own.ino()), entries(&path)?)));
    let (own, inner) = match read {
        Ok(read) => read,
        // Deleted meanwhile, or not readable, like `lost+found`.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(());
        }
        Err(error) => return Err(Error::file(path, error)),
    };
    // A link to a folder above leads in a circle.
    if above.contains(&own) {
        return Ok(());
    }
    if above.len() > DEEPEST {
        return Err(Error::file(path, format!("folders lie more than {DEEPEST} deep")));
    }
    above.push(own);
    for entry in inner {
        add(folder, &format!("{name}/"), entry, above, files)?;
    }
    above.pop();
    Ok(())
}

fn entries(folder: &Path) -> std::io::Result<Vec<(String, bool)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_folder = match kind.is_symlink() {
            true => std::fs::metadata(entry.path()).is_ok_and(|target| target.is_dir()),
            false => kind.is_dir(),
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_hidden(&name) {
            entries.push((name, is_folder));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_folders_with_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let options = "path = \"\"\nshape = [1]\ndtype = \"u8\"";
        let options: Settings = toml::from_str(options).unwrap();
        let test = Some(folder.path().join("test"));
        let options = Settings { path: folder.path().into(), test, ..options };
        write("a.png");
        write("test/owl/a.png");
        write("ant/2021/a.png");
        let refused = folders_of_classes(&options, &[]).unwrap_err().to_string();
        assert!(refused.contains("one folder (`ant`)") && refused.contains("source.classes"), "{refused}");
        write("bee/deep/er/b.jpg");
        write("bee/c.webp");
        write("notes/read.me");
        write("__MACOSX/bee/c.webp");
        assert_eq!(folders_of_classes(&options, &[]).unwrap(), ["ant", "bee"]);
        write("cafe\u{301}/a.png");
        write("caf\u{e9}/b.png");
        assert_eq!(folders_of_classes(&options, &[]).unwrap(), ["ant", "bee", "caf\u{e9}"]);
        let parts = Settings { path: folder.path().join("parts"), ..options };
        write("parts/train/ant/a.png");
        write("parts/Val/ant/a.png");
        let refused = folders_of_classes(&parts, &[]).unwrap_err().to_string();
        assert!(refused.contains("called Val, train, which are parts of a data set"), "{refused}");
    }

    #[test]
    fn folders_within_folders_are_read_and_other_files_counted() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["a.png", "train/cat/b.jpg", "train/dog/deep/c.csv.gz", "d.heic", "train/e.HEIC", "f", ".g.png"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("train/up")).unwrap();
        let options = "path = \"\"\nshape = [1]\ndtype = \"u8\"\nclasses = []";
        let options: Settings = toml::from_str(options).unwrap();
        let below = |test: &str| {
            let test = Some(folder.path().join(test));
            streamed(&Settings { path: folder.path().into(), test, ..options.clone() }, &[]).unwrap().names
        };
        assert_eq!(below("train/dog"), ["a.png", "train/cat/b.jpg"], "held-out samples are not streamed");
        assert_eq!(below("").len(), 3);
        let files = list(folder.path()).unwrap();
        assert_eq!(files.names, ["a.png", "train/cat/b.jpg", "train/dog/deep/c.csv.gz"]);
        let unread = files.unread.to_string();
        assert!(unread.starts_with("3 files are not read (2 heic, 1 without an ending)"), "{unread}");
        std::fs::create_dir_all(folder.path().join("x/".repeat(DEEPEST + 2))).unwrap();
        assert!(list(folder.path()).err().unwrap().to_string().contains("more than 16 deep"));
    }
}

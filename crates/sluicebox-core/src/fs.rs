//! Files that are replaced as a whole.

use std::fs::{File, Permissions};
use std::io::{Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces the file at `path` with one that holds `bytes`, or creates it.
///
/// The new file is written beside the old one, flushed to disk and renamed. After a crash, `path` holds the old
/// content or the new one, never a part of either. Once this returns, a power cut does not bring the old one back.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("plan.json");
/// sluicebox_core::fs::replace(&path, b"{}")?;
/// sluicebox_core::fs::replace(&path, b"[]")?;
/// assert_eq!(std::fs::read(&path)?, b"[]");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Any error of the file system; `path` is then unchanged, unless only the last flush of its folder failed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    // The process's umask applies, as to any other new file; the default would be readable by its owner only.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Appends all of `bytes` to a file that is open for appending, or none of them: what was written before an
/// error is cut off again, as far as that is possible.
pub fn append(file: &mut File, bytes: &[u8]) -> Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(bytes);
    if written.is_err() {
        let _ = file.set_len(before); // the first error says more
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for content in ["one", "another"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("none/x"), b"").is_err());
    }
}

//! A small disk that can be full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file system of its own in a folder, if this user may mount one.
pub struct Disk {
    folder: PathBuf,
    is_own: bool,
}

impl Disk {
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m", "sluicebox-test"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        let is_own = mount.is_ok_and(|status| status.success());
        if !is_own {
            println!("the disk is never full: this user may not mount a small one");
        }
        Self { folder: folder.to_path_buf(), is_own }
    }

    /// Fills the disk; returns whether it is full.
    pub fn fill(&self) -> bool {
        if !self.is_own {
            return false;
        }
        let mut filler = File::create(self.filler()).unwrap();
        let mut bytes = 1 << 20;
        while bytes > 0 {
            if filler.write_all(&vec![1; bytes]).is_err() {
                bytes /= 2;
            }
        }
        true
    }

    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_own {
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        }
    }
}

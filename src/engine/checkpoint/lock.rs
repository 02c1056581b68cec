//! Locks of folders: one process at a time has a folder.

use std::fs::{File, TryLockError};
use std::io::Result;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time after which a lock is taken for that of another process that has the folder. Who looks whether a folder is in use
/// holds its lock for a moment, and so does a program that is being started while a job of the same process ends.
const PATIENCE: Duration = Duration::from_secs(1);
/// Interval between looks at the lock.
const LOOK: Duration = Duration::from_millis(10);

/// Locks the folder at `path` until the returned file is dropped; None if another process has it.
pub fn lock(path: &Path) -> Result<Option<File>> {
    let file = File::create(path.join("lock"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns whether a process has the folder at `path`.
pub fn is_in_use(path: &Path) -> bool {
    let lock = File::open(path.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_does_not_keep_a_folder_from_anybody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_in_use(folder.path()));
        let looks = lock(folder.path()).unwrap().unwrap();
        looks.unlock().unwrap();
        looks.lock_shared().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(10 * LOOK);
                drop(looks);
            });
            assert!(lock(folder.path()).unwrap().is_some());
        });
        let has = lock(folder.path()).unwrap();
        assert!(has.is_some() && is_in_use(folder.path()) && lock(folder.path()).unwrap().is_none());
    }
}

//! Files that are somewhere else: in object stores (`s3://`, `gs://`, `az://`) and on web servers (`https://`,
//! `http://`). Credentials, regions and endpoints are those of the environment, under the names that the stores' own
//! tools use (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
//!
//! A file is read as a stream, at most 4 MiB ahead, or by ranges. A request that fails for a time is repeated, a broken
//! stream goes on where it broke; after five minutes without a byte the file cannot be reached. The requests are made in
//! one thread of their own.

mod fault;
mod listing;
mod location;
mod ranges;
mod stream;
mod thread;

pub use fault::check_reached;
pub use listing::{Listed, list};
pub use location::{file_name, is_url, refused};
pub use ranges::Ranges;
pub use stream::stream;

use location::Location;
use object_store::ObjectStoreExt;
use std::io;
use std::path::Path;

/// Returns the size of a file, here or elsewhere, in bytes.
pub fn size(path: &Path) -> io::Result<u64> {
    if !is_url(path) {
        return Ok(std::fs::metadata(path)?.len());
    }
    let location = Location::of(path)?;
    let head = thread::wait(async { location.store.head(&location.key).await })?;
    Ok(head.map_err(|error| fault::Fault::of(&location, &error))?.size)
}

/// Returns whether a path, here or elsewhere, is that of a file. Fails if that cannot be found out.
pub fn is_file(path: &Path) -> io::Result<bool> {
    if !is_url(path) {
        return Ok(path.is_file());
    }
    match size(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

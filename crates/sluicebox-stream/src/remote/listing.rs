//! The files of a folder of an object store: objects whose keys begin with the folder's and a slash.

use crate::remote::fault::Fault;
use crate::remote::location::{Location, listable};
use crate::remote::thread;
use std::io;
use std::path::Path;
use std::time::SystemTime;
use tokio_stream::StreamExt;

/// Most files of a folder.
const MOST_FILES: usize = 10_000_000;

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name below the folder: `cat/a.png`.
    pub name: String,
    /// Time when it was last written.
    pub modified: SystemTime,
}

/// Lists the files in a folder and in all folders below it, in no order. The second part says whether a request that
/// failed may succeed later.
pub fn list(folder: &Path) -> Result<Vec<Listed>, (io::Error, bool)> {
    let lasting = |error: io::Error| (error, false);
    let location = Location::of(folder).map_err(lasting)?;
    listable(location.scheme).map_err(|reason| lasting(io::Error::other(reason)))?;
    let prefix = match location.key.as_ref() {
        "" => String::new(),
        key => format!("{key}/"),
    };
    let listing = async {
        let mut found = Vec::new();
        let mut objects = location.store.list(Some(&location.key));
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| Fault::of(&location, &error))?;
            let key = object.location.as_ref();
            let Some(name) = key.strip_prefix(&prefix).filter(|name| !name.is_empty()) else { continue };
            if found.len() == MOST_FILES {
                return Err(Fault::lasting(&format!("it holds more than {MOST_FILES} files")));
            }
            found.push(Listed { name: name.into(), modified: object.last_modified.into() });
        }
        Ok(found)
    };
    let found = thread::wait(listing).map_err(lasting)?;
    found.map_err(|fault: Fault| (io::Error::from(fault.clone()), fault.passing))
}

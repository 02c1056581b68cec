//! Which job to watch: an address or a state folder, as given on the command line.

use crate::watch::folder::Folder;
use crate::watch::job_view::JobView;
use crate::watch::remote::Remote;
use sluicebox_core::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Address used by default.
pub const USUAL: &str = "127.0.0.1:7878";

/// The job to watch, as given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// An address or a state folder.
    pub named: String,
    /// The token of the job's server.
    pub token: Option<String>,
    /// File (PEM) with certificates to trust instead of the default ones.
    pub authority: Option<PathBuf>,
}

impl Place {
    /// Opens the state folder or prepares a client of the address. Sends nothing to a server yet.
    pub fn open(&self) -> Result<Box<dyn JobView>> {
        let named = self.named.as_str();
        if Path::new(named).is_dir() {
            return Ok(Box::new(Folder::open(Path::new(named))?));
        }
        if !is_address(named) {
            let reason = format!(
                "`{named}` is neither an existing state folder nor an address such as {USUAL} or \
                 https://host:7878"
            );
            return Err(Error::Request(reason));
        }
        Ok(Box::new(Remote::open(named, self.token.clone(), self.authority.as_deref())?))
    }
}

/// Returns whether `named` is `host:port` or has an HTTP scheme.
fn is_address(named: &str) -> bool {
    let plain = named.strip_prefix("http://").or(named.strip_prefix("https://"));
    plain.is_some_and(|rest| !rest.is_empty())
        || named.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_folders_are_told_apart() {
        for address in ["127.0.0.1:7878", "localhost:1", "[::1]:7878", "http://host", "https://host:1/"] {
            assert!(is_address(address), "{address}");
        }
        for other in ["state", "state/run:1", "host:", ":7878", "host:99999", "http://", "ftp://host"] {
            assert!(!is_address(other), "{other}");
        }
        let place = Place { named: "no/such/folder".into(), ..Place::default() };
        let error = place.open().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains("no/such/folder") && error.contains("state folder") && error.contains("address")
        );
    }
}

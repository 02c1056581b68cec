//! URLs of files and folders, and the stores that they belong to.

use crate::remote::thread;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Stores that are kept open; each has its connections.
const MOST_STORES: usize = 64;
/// Longest time without a byte from a server, after which a request fails.
const SILENCE: Duration = Duration::from_secs(30);

static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);

/// Where a file or a folder is.
#[derive(Clone)]
pub struct Location {
    /// URL as it was given.
    pub url: String,
    /// Its beginning: `s3`, `https`.
    pub scheme: Scheme,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Key in the store.
    pub key: Key,
}

/// Kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
    /// A web server.
    Web,
}

/// Returns whether a path is a URL.
///
/// ```
/// use sluicebox_stream::remote::is_url;
/// use std::path::Path;
///
/// assert!(is_url(Path::new("s3://bucket/key")) && is_url(&Path::new("https://host/").join("a.tar")));
/// assert!(!is_url(Path::new("/s3://bucket/key")) && !is_url(Path::new("s3:/bucket")));
/// ```
pub fn is_url(path: &Path) -> bool {
    scheme(path).is_some()
}

fn scheme(path: &Path) -> Option<(&str, &str)> {
    let (scheme, rest) = path.to_str()?.split_once("://")?;
    let is_one = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    is_one.then_some((scheme, rest))
}

/// Returns the last part of a path or of a URL, without a query.
pub fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    match scheme(path) {
        Some(("http" | "https", _)) => Some(name.split(['?', '#']).next()?.to_string()),
        _ => Some(name.into_owned()),
    }
}

/// A URL in its parts.
struct Parts {
    scheme: Scheme,
    /// What its store is known by: everything but the key.
    base: String,
    key: Key,
}

impl Parts {
    fn of(path: &Path) -> Result<Self, String> {
        let url = path.to_string_lossy().into_owned();
        let (name, rest) = scheme(path).ok_or_else(|| format!("`{url}` is no URL"))?;
        let scheme = match name {
            "s3" | "s3a" => Scheme::S3,
            "gs" => Scheme::Google,
            "az" | "azure" => Scheme::Azure,
            "http" | "https" => Scheme::Web,
            other => {
                let reason = "cannot be read; s3://, gs://, az://, https:// and http:// can";
                return Err(format!("`{other}://` {reason}"));
            }
        };
        let invalid = |error: object_store::path::Error| format!("no key of a file: {error}");
        if scheme == Scheme::Web {
            let mut parsed = url::Url::parse(&url).map_err(|error| format!("no URL: {error}"))?;
            let key = Key::from_url_path(parsed.path()).map_err(invalid)?;
            parsed.set_path("");
            parsed.set_fragment(None);
            return Ok(Self { scheme, base: parsed.to_string(), key });
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("`{name}://` is followed by no name of a bucket"));
        }
        Ok(Self { scheme, base: format!("{name}://{bucket}"), key: Key::parse(key).map_err(invalid)? })
    }
}

/// Returns why a path is no place that can be read, if it is a URL and none; nothing is asked for. A folder must be in a
/// store that lists its files.
pub fn refused(path: &Path, is_listed: bool) -> Option<String> {
    match (is_url(path), is_listed) {
        (false, _) => None,
        (true, false) => Parts::of(path).err(),
        (true, true) => Parts::of(path).map_or_else(Some, |parts| listable(parts.scheme).err()),
    }
}

/// Refuses what does not say which files a folder holds.
pub fn listable(scheme: Scheme) -> Result<(), String> {
    match scheme {
        Scheme::Web => {
            Err("a web server does not say which files a folder holds; name the files, with a source that \
                            takes them"
                .into())
        }
        _ => Ok(()),
    }
}

impl Location {
    /// Finds the store of a URL.
    pub fn of(path: &Path) -> io::Result<Self> {
        let Parts { scheme, base, key } = Parts::of(path).map_err(io::Error::other)?;
        let store = store(scheme, base)?;
        Ok(Self { url: path.to_string_lossy().into_owned(), scheme, store, key })
    }
}

fn store(scheme: Scheme, base: String) -> io::Result<Arc<dyn ObjectStore>> {
    let mut stores = STORES.lock();
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(&base) {
        return Ok(store.clone());
    }
    thread::set_up()?;
    let store = build(scheme, &base).map_err(|error| {
        io::Error::other(format!("{error}; see docs/object-stores.md for what the environment must hold"))
    })?;
    if stores.len() < MOST_STORES {
        stores.insert(base, store.clone());
    }
    Ok(store)
}

fn build(scheme: Scheme, base: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    use ClientConfigKey::{ReadTimeout, Timeout};
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(10), ..BackoffConfig::default() },
        max_retries: 6,
        retry_timeout: Duration::from_secs(120),
    };
    // A stream takes as long as the job takes to read it; silence is what ends it.
    let (whole, silence) = ("36500 days", format!("{} s", SILENCE.as_secs()));
    Ok(match scheme {
        Scheme::S3 => {
            let builder = AmazonS3Builder::from_env().with_url(base).with_retry(retry);
            let builder = builder.with_config(AmazonS3ConfigKey::Client(Timeout), whole);
            Arc::new(builder.with_config(AmazonS3ConfigKey::Client(ReadTimeout), silence).build()?)
        }
        Scheme::Google => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(base).with_retry(retry);
            let builder = builder.with_config(GoogleConfigKey::Client(Timeout), whole);
            Arc::new(builder.with_config(GoogleConfigKey::Client(ReadTimeout), silence).build()?)
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(base).with_retry(retry);
            let builder = builder.with_config(AzureConfigKey::Client(Timeout), whole);
            Arc::new(builder.with_config(AzureConfigKey::Client(ReadTimeout), silence).build()?)
        }
        Scheme::Web => {
            let options = ClientOptions::new().with_allow_http(true).with_timeout_disabled();
            let options = options.with_read_timeout(SILENCE);
            let builder = HttpBuilder::new().with_url(base).with_retry(retry);
            Arc::new(builder.with_client_options(options).build()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_without_a_query() {
        let name = |path: &str| file_name(Path::new(path)).unwrap();
        assert_eq!(name("https://host/a/b.tar?download=true#x"), "b.tar");
        assert_eq!(name("s3://bucket/a?.tar"), "a?.tar");
        assert_eq!(name("/a/b.tar?c"), "b.tar?c");
    }

    #[test]
    fn what_is_no_place_is_told() {
        let told = |url: &str| Location::of(Path::new(url)).err().unwrap().to_string();
        assert!(told("ftp://host/x").contains("`ftp://` cannot be read; s3://"));
        assert!(told("s3:///x").contains("no name of a bucket"));
        assert!(told("s3://bucket/a//b").contains("no key of a file"));
        assert!(told("https://[/x").contains("no URL"));
        let location = Location::of(Path::new("https://host:1/a%20b/c.tar?sig=1")).unwrap();
        assert_eq!(location.key.as_ref(), "a b/c.tar");
    }
}

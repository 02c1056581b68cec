//! Why a file elsewhere cannot be read, in words that say what to do, and whether that may pass.

use crate::remote::location::{Location, Scheme};
use object_store::Error;
use parking_lot::Mutex;
use sluicebox_core::error;
use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::path::Path;

/// Longest text of a server that a message quotes, in characters.
const LONGEST_QUOTE: usize = 300;
/// Files of which it is kept that they could not be reached.
const MOST_KEPT: usize = 1000;

static UNREACHABLE: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// A failed request.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Description, with what to do.
    pub text: String,
    /// Whether the same request may succeed later.
    pub passing: bool,
    /// Whether there is no such file.
    pub missing: bool,
    /// Whether the job may not read it, which says nothing of the file.
    pub refused: bool,
}

impl Fault {
    /// Describes the error of a request.
    pub fn of(location: &Location, error: &Error) -> Self {
        let said = chain(error);
        let status = match error {
            Error::NotFound { .. } => Some(404),
            Error::PermissionDenied { .. } => Some(403),
            Error::Unauthenticated { .. } => Some(401),
            _ => status(&said),
        };
        // Who has no credentials asks a server of the cloud's own machines for some, which is not there.
        let no_credentials = said.contains("169.254.");
        let (what, passing) = match (error, status) {
            _ if no_credentials => {
                (format!("there are no credentials; {}", credentials(location.scheme)), false)
            }
            (Error::NotSupported { .. }, _) => {
                ("the server gives no parts of files, only whole ones".to_string(), false)
            }
            (_, Some(status)) => answered(location.scheme, status),
            (Error::Generic { .. } | Error::JoinError { .. }, None) => (String::new(), true),
            _ => (String::new(), false),
        };
        let said = quoted(&said);
        let text = if what.is_empty() { said } else { format!("{what} [{said}]") };
        let refused = matches!(status, Some(300..=403)) || no_credentials;
        Self { text, passing, missing: status == Some(404), refused }
    }

    /// Describes a fault without an error.
    pub fn lasting(text: &str) -> Self {
        Self { text: text.into(), passing: false, missing: false, refused: false }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        let kind = if fault.missing { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
        io::Error::new(kind, fault.text)
    }
}

/// Fails if a file could not be reached or may not be read when its last reading ended: then it is not known to be bad.
pub fn check_reached(path: &Path) -> error::Result<()> {
    let kept = UNREACHABLE.lock();
    match kept.as_ref().and_then(|kept| kept.get(&*path.to_string_lossy())) {
        Some(reason) => Err(error::Error::file(path, format!("it cannot be reached: {reason}"))),
        None => Ok(()),
    }
}

/// Keeps how the reading of a file ended.
pub fn keep(location: &Location, fault: Option<&Fault>) {
    let mut kept = UNREACHABLE.lock();
    let kept = kept.get_or_insert_default();
    match fault.filter(|fault| (fault.passing || fault.refused) && kept.len() < MOST_KEPT) {
        Some(fault) => drop(kept.insert(location.url.clone(), fault.text.clone())),
        None => drop(kept.remove(&location.url)),
    }
}

/// Says what to do about the status of an answer, and whether it may pass.
fn answered(scheme: Scheme, status: u16) -> (String, bool) {
    let text = match (status, scheme) {
        (404, Scheme::Web) => "the server has no such file (404); check the URL".into(),
        (404, _) => "there is no such object or bucket (404); check the names and the region".into(),
        (403, _) => format!("access is denied (403); {}", credentials(scheme)),
        (401, _) => format!("credentials are needed (401); {}", credentials(scheme)),
        (400, _) => format!("the request is refused (400); {}", credentials(scheme)),
        (301 | 307, Scheme::S3) => "the bucket is in another region; set AWS_REGION".into(),
        (408 | 429 | 500.., _) => return (format!("the server answers {status}, again and again"), true),
        _ => format!("the server answers {status}"),
    };
    (text, false)
}

fn credentials(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        Scheme::Google => {
            "set GOOGLE_APPLICATION_CREDENTIALS to the file of the account, or GOOGLE_SKIP_SIGNATURE=true for a public \
             bucket"
        }
        Scheme::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public \
             container"
        }
        Scheme::Web => "the URL must hold what the server asks for, as signed URLs do",
    }
}

/// Returns the texts of an error and of its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Returns the status that a server answered, as the text of an error gives it.
fn status(text: &str) -> Option<u16> {
    if text.contains("redirect without LOCATION") {
        return Some(301);
    }
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

//! Settings of the feeder.

use crate::feed::input::Input;
use crate::feed::rate::Rate;
use sha2::{Digest, Sha256};
use sluicebox_core::sample::{Dtype, Shape};
use sluicebox_stream::decode;
use sluicebox_stream::remote;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the feeder.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The job: `host:port`.
    pub address: String,
    /// The samples to send.
    pub inputs: Vec<Input>,
    /// Format options that file names do not give.
    pub decode: decode::Options,
    /// Leave bad records out instead of failing.
    pub skip_bad: bool,
    /// Send the labels of samples along with them.
    pub labels: bool,
    /// Samples per second; none: as fast as possible.
    pub rate: Option<Rate>,
    /// Start again at the end of the input, for ever.
    pub repeat: bool,
    /// Client id under which the job counts the samples; none: made from host and file names.
    pub client_id: Option<String>,
    /// The job's token.
    pub token: Option<String>,
    /// Certificates (PEM) to trust; with them, the connection uses TLS.
    pub tls_ca: Option<PathBuf>,
    /// Samples per frame.
    pub batch: Option<usize>,
    /// Shape that the job must expect; none: not checked.
    pub shape: Option<Shape>,
    /// Dtype that the job must expect; none: not checked.
    pub dtype: Option<Dtype>,
    /// Time for which an unreachable or silent job is retried.
    pub retry_for: Duration,
}

/// Returns a client id that the same command on the same machine produces again. Input from stdin
/// or with `repeat` gets a new id each time.
pub fn client_id(settings: &Settings) -> String {
    let mut digest = Sha256::new();
    let mut first = "stdin".to_string();
    for input in settings.inputs.iter().rev() {
        if let Input::File(path) = input {
            let whole = match remote::is_url(path) {
                true => path.clone(),
                false => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            };
            digest.update(whole.as_os_str().as_encoded_bytes());
            digest.update([0]);
            first = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
    }
    let once = settings.repeat || settings.inputs.iter().any(|input| matches!(input, Input::Stdin(_)));
    if once {
        digest.update(rand::random::<u64>().to_le_bytes());
    }
    let hash: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = format!("{host}-{first}").chars().filter(|c| !c.is_control()).take(100).collect();
    format!("{name}-{hash}")
}

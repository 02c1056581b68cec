//! What a job that listens has beside its dataflow: the log in its state folder, the gate to
//! it, and a runtime for listeners. All of it ends with this.

use crate::access::Access;
use crate::error::{Error, Result};
use crate::intake::Intake;
use crate::job::Job;
use crate::log::Log;
use crate::predictor::Predictor;
use crate::samples::Format;
use crate::server::{self, Server};
use crate::source::Live;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Listeners get so long to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A job's outside.
pub struct Outside {
    /// What sources and the server are given.
    pub live: Live,
    server: Option<Server>,
    runtime: Option<Runtime>,
}

/// Where the server listens in a job that has an `http` source and does not say.
const LISTEN: &str = "127.0.0.1:7878";

impl Outside {
    /// Opens the log in the folder `state`, or one that is forgotten at the end where there is
    /// no such folder.
    pub fn open(job: &Job, format: &Format, state: Option<&Path>, token: Option<String>) -> Result<Self> {
        let log = match state {
            Some(state) => Log::open(&state.join("log"), &identity(job, format), &job.log)?,
            None => Log::temporary(&job.log)?,
        };
        let cannot = |error| Error::Engine(format!("cannot start listeners: {error}"));
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().thread_name("listen");
        let runtime = builder.build().map_err(cannot)?;
        let token = match (token, &job.server.token_file) {
            (None, Some(path)) => Some(read_token(path)?),
            (token, _) => token,
        };
        let certificate = job.server.cert.clone().zip(job.server.key.clone());
        let live = Live {
            intake: Arc::new(Intake::new(log, format.clone(), job.sources.len() as u16)?),
            runtime: runtime.handle().clone(),
            access: Arc::new(Access::new(token, certificate)),
        };
        Ok(Self { live, server: None, runtime: Some(runtime) })
    }

    /// Where the job's server is to listen, if it is to have one.
    pub fn listens_at<'a>(&self, job: &'a Job) -> Option<&'a str> {
        let fed = self.live.intake.http.get().map(|_| LISTEN);
        job.server.listen.as_deref().or(fed)
    }

    /// Starts the server. Predictions are `predictor`'s.
    pub fn serve(&mut self, address: &str, predictor: Predictor) -> Result<()> {
        let server = server::start(&self.live, address, Some(predictor))?;
        let scheme = if self.live.access.certificate.is_some() { "https" } else { "http" };
        tracing::info!("listening at {scheme}://{}", server.address);
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        self.live.intake.log().close();
    }
}

/// The token that a file holds.
pub fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::file(path, format!("cannot read the token: {error}")))?;
    match text.trim() {
        "" => Err(Error::file(path, "is empty, but a token is needed")),
        token => Ok(token.to_string()),
    }
}

/// Whose a log is: it holds samples of one look, from sources in one order.
fn identity(job: &Job, format: &Format) -> String {
    let kinds: Vec<&str> = job.sources.iter().map(|stream| stream.spec.kind.as_str()).collect();
    format!(
        "{} {} in classes {} from {} with seed {}",
        format.shape,
        format.dtype.name(),
        format.classes.join(", "),
        kinds.join(", "),
        job.seed
    )
}

//! Endpoints of a job: a tokio runtime for listeners and, if samples or labels come from outside, the
//! write-ahead log and the ingest gate. All of them end when [`Endpoints`] is dropped.

use crate::serve::http as server;
use crate::serve::http::{Served, Server};
use crate::serve::predictor::Predictor;
use crate::serve::settings::Server as Settings;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_observe::status::JobStatus;
use sluicebox_stream::accepting::raise_open_files;
use sluicebox_stream::auth::{Access, Refusals, read_token};
use sluicebox_stream::decode::Form;
use sluicebox_stream::ingest::Ingest;
use sluicebox_stream::ingest::IngestContext;
use sluicebox_stream::wal::settings::LogSettings;
use sluicebox_stream::wal::{Expected, Wal};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Time that listeners have to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Endpoints of a job.
pub struct Endpoints {
    /// Ingest gate and runtime for the sources; none if nothing is ingested.
    pub live: Option<IngestContext>,
    /// The ingest gate, if its log is kept in a state folder.
    kept: Option<Arc<Ingest>>,
    access: Arc<Access>,
    refusals: Refusals,
    server: Option<Server>,
    runtime: Option<Runtime>,
}

/// Default address of the server, if a source needs one.
pub const LISTEN: &str = "127.0.0.1:7878";

/// Name of the write-ahead log's folder in the state folder.
pub const LOG: &str = "log";

/// Write-ahead log of a job in which samples or labels come from outside.
pub struct IngestPlan<'a> {
    /// `[log]`.
    pub log: &'a LogSettings,
    /// The job that the log belongs to: a log of another one is refused.
    pub identity: &'a str,
    /// Number of the job's sources.
    pub sources: u16,
    /// What the state knows of the log.
    pub expected: Expected,
    /// The ingest gate's section of the checkpoint, if there is one.
    pub saved: Option<&'a [u8]>,
}

impl Endpoints {
    /// Starts the runtime. With `ingest`, opens the write-ahead log in the folder `state`, or a temporary one
    /// if there is no such folder.
    pub fn open(
        settings: &Settings,
        format: &Format,
        ingest: Option<IngestPlan<'_>>,
        state: Option<&Path>,
        token: Option<String>,
    ) -> Result<Self> {
        raise_open_files();
        let ingest = ingest.map(|plan| {
            let IngestPlan { expected, sources, .. } = plan;
            let log = match state {
                Some(state) => Wal::open_expecting(&state.join(LOG), plan.identity, plan.log, expected)?,
                None => Wal::temporary(plan.log)?,
            };
            match (plan.saved, expected.saved) {
                (Some(section), Some(ends)) => {
                    Ingest::resume(log, format.clone(), sources, section, ends.needed)
                }
                _ => Ingest::new(log, format.clone(), sources),
            }
        });
        let ingest = ingest.transpose()?.map(Arc::new);
        let cannot = |error| Error::Engine(format!("cannot start listeners: {error}"));
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().thread_name("listen");
        let runtime = builder.build().map_err(cannot)?;
        let token = match (token, &settings.token_file) {
            (None, Some(path)) => Some(read_token(path)?),
            (token, _) => token,
        };
        let certificate = settings.cert.clone().zip(settings.key.clone());
        let access = Arc::new(Access::new(token, certificate));
        let refusals = ingest.as_ref().map_or_else(Refusals::default, |ingest| ingest.refusals.clone());
        let kept = ingest.clone().filter(|_| state.is_some());
        let handle = runtime.handle().clone();
        let live = ingest.map(|ingest| IngestContext { ingest, runtime: handle, access: access.clone() });
        Ok(Self { live, kept, access, refusals, server: None, runtime: Some(runtime) })
    }

    /// Returns the address of the job's server, if it needs one.
    pub fn listens_at<'a>(&self, settings: &'a Settings) -> Option<&'a str> {
        let fed = self.live.as_ref().and_then(|live| live.ingest.http.get()).map(|_| LISTEN);
        settings.listen.as_deref().or(fed)
    }

    /// Starts the server. It shows the job status `status` and answers prediction requests with `predictor`.
    pub fn serve(
        &mut self,
        address: &str,
        (format, form): (Format, Form),
        predictor: Predictor,
        status: Arc<JobStatus>,
    ) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let served = Served {
            status,
            format,
            form: Arc::new(form),
            ingest: self.kept.clone(),
            predictor: Some(predictor),
            others: Vec::new(),
            access: self.access.clone(),
            refusals: self.refusals.clone(),
        };
        let named = |error| Error::Request(format!("server.listen: {error}"));
        let server = server::start(runtime.handle(), address, served).map_err(named)?;
        let scheme = if self.access.certificate.is_some() { "https" } else { "http" };
        let token = if self.access.needs_token() { " (needs the token)" } else { "" };
        tracing::info!("listening at {scheme}://{}", server.address);
        let (mut page, mut elsewhere) = (server.address, "");
        if page.ip().is_unspecified() {
            page.set_ip(if page.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
            elsewhere = ", or on other machines the same with this one's name";
        }
        tracing::info!("to watch the job, open {scheme}://{page}/{token}{elsewhere}");
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        if let Some(live) = &self.live {
            live.ingest.log().close();
        }
    }
}

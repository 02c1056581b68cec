//! A server that shows a job that does not run, from its state folder.

use crate::serve::http as server;
use crate::serve::http::{Served, Server};
use crate::serve::other_run::OtherRun;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_observe::status::JobStatus;
use sluicebox_stream::auth::{Access, Refusals};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The server and its runtime. Both end when this is dropped.
pub struct Ended {
    server: Option<Server>,
    _runtime: Runtime,
}

impl Ended {
    /// Shows `status` at `address`, and `others` to lay over its charts.
    pub fn serve(
        address: &str,
        token: Option<String>,
        status: JobStatus,
        others: Vec<OtherRun>,
    ) -> Result<Self> {
        let cannot = |error| Error::Engine(format!("cannot start the server: {error}"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
        // No route takes samples of a job that does not run, so they need no format.
        let classes = status.about.classes.clone();
        let format = Format { shape: Shape::Vector { features: 0 }, dtype: Dtype::U8, scale: 1.0, classes };
        let served = Served {
            status: Arc::new(status),
            format,
            form: Arc::default(),
            ingest: None,
            predictor: None,
            others,
            access: Arc::new(Access::new(token, None)),
            refusals: Refusals::default(),
        };
        let server = server::start(runtime.handle(), address, served)?;
        Ok(Self { server: Some(server), _runtime: runtime })
    }

    /// Returns the address of the page.
    pub fn url(&self) -> String {
        self.server.as_ref().map_or_else(String::new, |server| format!("http://{}/", server.address))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

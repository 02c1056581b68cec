//! HTTP client of a running job's server, used by `label` and `watch`.

use serde::Serialize;
use serde_json::Value;
use sluicebox_core::error::{Error, Result};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Client of one job's server, with its address and token.
pub struct Client {
    agent: Agent,
    address: String,
    token: Option<String>,
}

/// Response of a server.
pub struct HttpReply {
    /// HTTP status.
    pub status: StatusCode,
    /// The body.
    pub text: String,
}

impl Client {
    /// Creates a client of the server at `address`, such as `http://127.0.0.1:7878`; `http://` may
    /// be left out. `authority` is a file (PEM) with the certificates to trust instead of the
    /// default ones. A request that takes longer than `patience` fails.
    pub fn new(
        address: &str,
        token: Option<String>,
        authority: Option<&Path>,
        patience: Duration,
    ) -> Result<Self> {
        let mut config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience));
        if let Some(path) = authority {
            let text = std::fs::read(path).map_err(|error| Error::file(path, error))?;
            let items =
                parse_pem(&text).collect::<Result<Vec<_>, _>>().map_err(|error| Error::file(path, error))?;
            let certificates = items.into_iter().filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            });
            let roots = RootCerts::from(certificates);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let scheme = if address.contains("://") { "" } else { "http://" };
        let address = format!("{scheme}{}", address.trim_end_matches('/'));
        check(&address).map_err(|reason| Error::Request(format!("{address}: {reason}")))?;
        Ok(Self { agent: config.build().into(), address, token })
    }

    /// Returns the server's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends GET for `path`, such as `/report.json`.
    pub fn get(&self, path: &str) -> Result<HttpReply, ureq::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        answer(request.call()?)
    }

    /// Sends POST to `path` with `body` as JSON.
    pub fn post(&self, path: &str, body: impl Serialize) -> Result<HttpReply, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        answer(request.send_json(body)?)
    }
}

impl HttpReply {
    /// Returns the server's reason for refusing a request.
    pub fn reason(&self) -> String {
        let reply: Value = serde_json::from_str(&self.text).unwrap_or_default();
        reply["error"].as_str().map_or_else(|| format!("the server answers {}", self.status), String::from)
    }
}

fn answer(mut response: Response<ureq::Body>) -> Result<HttpReply, ureq::Error> {
    Ok(HttpReply { status: response.status(), text: response.body_mut().read_to_string()? })
}

/// Rejects an address that is malformed or does not resolve: a retry would not help.
fn check(address: &str) -> Result<(), String> {
    let uri: Uri = address.parse().map_err(|error| format!("not an address: {error}"))?;
    let usual = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err("an address begins with http:// or https://".into()),
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = (host, uri.port_u16().unwrap_or(usual)).to_socket_addrs();
    found.map(drop).map_err(|error| error.to_string())
}

//! Access from outside: token and TLS, the same for every listener; and counts of refusals.

use parking_lot::Mutex;
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Requirements of a listener for its clients.
#[derive(Default)]
pub struct Access {
    token: Option<String>,
    /// Certificate chain and private key (PEM), if everything is served over TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Access {
    /// Admits clients with `token`; without a token, every client on this machine.
    pub fn new(token: Option<String>, certificate: Option<(PathBuf, PathBuf)>) -> Self {
        Self { token, certificate }
    }

    /// Refuses an address that other machines can reach, unless a token is required.
    pub fn may_listen(&self, address: SocketAddr) -> Result<()> {
        if address.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        let reason = format!(
            "{address} can be reached from other machines: set a token (SLUICEBOX_TOKEN or \
             server.token_file), or listen at 127.0.0.1"
        );
        Err(Error::Request(reason))
    }

    /// Returns whether a token is required.
    pub fn needs_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns the TLS acceptor; None if connections are plain.
    pub fn acceptor(&self) -> Result<Option<TlsAcceptor>> {
        let Some((chain, key)) = &self.certificate else { return Ok(None) };
        let certificates = certificates(chain)?;
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, "private key", &error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private));
        let fault =
            |error| Error::file(key, format!("cannot serve {} with this key: {error}", chain.display()));
        Ok(Some(TlsAcceptor::from(Arc::new(config.map_err(fault)?))))
    }

    /// Returns whether to admit a client with `token`. Takes the same time for every wrong token.
    pub fn admits(&self, token: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(wanted) => token.is_some_and(|given| bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))),
        }
    }
}

/// Counts of refusals by reason. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Refusals {
    /// Counts one refusal.
    pub fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    /// Returns all counts so far.
    pub fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// Reads the certificates of a PEM file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable(path, "certificate", &error))?;
    match certificates.is_empty() {
        true => Err(unreadable(path, "certificate", &pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

/// Returns what begins TLS at host:port `address`, and the name that its certificate must have. Only the certificates in the file
/// `trusted` (PEM) are.
pub fn connector(address: &str, trusted: &Path) -> Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted)? {
        roots.add(certificate).map_err(|error| Error::file(trusted, error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::file(trusted, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
    let name = ServerName::try_from(host);
    let name = name.map_err(|error| Error::request(format!("{address}: {error}")))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn unreadable(path: &Path, what: &str, error: &pem::Error) -> Error {
    let reason = match error {
        pem::Error::Io(error) => format!("cannot read the {what}: {error}"),
        pem::Error::NoItemsFound => format!("there is no {what} in this file; it must be PEM"),
        other => format!("the {what} is not valid PEM: {other}"),
    };
    Error::file(path, reason)
}

/// Returns the token in a file.
pub fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::file(path, format!("cannot read the token: {error}")))?;
    match text.trim() {
        "" => Err(Error::file(path, "is empty, but a token is needed")),
        token => Ok(token.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_without_a_token() {
        let open = Access::default();
        assert!(open.may_listen("127.0.0.1:1".parse().unwrap()).is_ok());
        assert!(open.may_listen("[::1]:1".parse().unwrap()).is_ok());
        let refused = open.may_listen("0.0.0.0:1".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("token"), "{refused}");
        assert!(open.admits(None) && open.admits(Some("whatever")));
        let closed = Access::new(Some("secret".into()), None);
        assert!(closed.may_listen("0.0.0.0:1".parse().unwrap()).is_ok());
        assert!(closed.admits(Some("secret")));
        assert!(!closed.admits(Some("secreT")) && !closed.admits(Some("")) && !closed.admits(None));
    }

    #[test]
    fn certificates_are_checked_before_anybody_comes() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let chain = file("chain.pem", &made.cert.pem());
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let foreign = file("foreign.pem", &other.signing_key.serialize_pem());
        let acceptor = |chain: &Path, key: &Path| {
            Access::new(None, Some((chain.to_path_buf(), key.to_path_buf()))).acceptor()
        };
        assert!(Access::default().acceptor().unwrap().is_none());
        assert!(acceptor(&chain, &key).unwrap().is_some());
        let refused = |chain: &Path, key: &Path| acceptor(chain, key).err().unwrap().to_string();
        assert!(refused(&chain, &foreign).contains("foreign.pem: cannot serve"));
        assert!(refused(&chain, &chain).contains("chain.pem: there is no private key"));
        assert!(refused(&key, &key).contains("key.pem: there is no certificate"));
        assert!(refused(&folder.path().join("none"), &key).contains("cannot read the certificate"));
    }
}

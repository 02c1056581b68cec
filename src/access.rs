//! Who may come in from outside, and how: the token and TLS, the same for every listener.

use crate::error::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use subtle::ConstantTimeEq;

/// What a listener asks of its clients.
#[derive(Default)]
pub struct Access {
    token: Option<String>,
    /// Certificate chain and private key (PEM), where everything is served over TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Access {
    /// Access for those who have `token`, or for everybody on this machine.
    pub fn new(token: Option<String>, certificate: Option<(PathBuf, PathBuf)>) -> Self {
        Self { token, certificate }
    }

    /// Refuses to listen at an address that others reach, unless a token is asked for.
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

    /// Whether a token is asked for.
    pub fn needs_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a client that shows `token` may come in. Takes the same time for every wrong one.
    pub fn admits(&self, token: Option<&str>) -> bool {
        match &self.token {
            None => true,
            Some(wanted) => token.is_some_and(|given| bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))),
        }
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
}

//! Proof that a process has the cluster's token, without sending it: HMAC-SHA256 (RFC 2104) with the token as the key over the
//! prover's role, both sides' nonces, and what it says. A nonce is never used twice, so nothing can be replayed; a proof in one
//! role is none in the other.

use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use sluicebox_core::error::{Error, Result};
use tokio_rustls::rustls::crypto::ring::default_provider;

/// A random number of one handshake.
pub type Nonce = [u8; 32];

/// The cluster's token as a key. Without a token everybody has the same key.
pub struct Secret(Key);

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Process 0.
    Head,
    /// Another process.
    Other,
}

impl Secret {
    /// Creates the secret of a token.
    pub fn new(token: Option<&str>) -> Self {
        Self(Key::new(HMAC_SHA256, token.unwrap_or_default().as_bytes()))
    }

    /// Returns the proof in a handshake with these nonces (the head's first) by whoever says `words`.
    pub fn prove(&self, role: Role, nonces: [&Nonce; 2], words: &[u8]) -> Vec<u8> {
        sign(&self.0, &told(role, nonces, words)).as_ref().to_vec()
    }

    /// Returns whether `proof` is that of somebody who has the token. Takes the same time for every wrong proof.
    pub fn admits(&self, role: Role, nonces: [&Nonce; 2], words: &[u8], proof: &[u8]) -> bool {
        verify(&self.0, &told(role, nonces, words), proof).is_ok()
    }
}

fn told(role: Role, nonces: [&Nonce; 2], words: &[u8]) -> Vec<u8> {
    let role: &[u8] = if role == Role::Head { b"sluicebox head\0" } else { b"sluicebox process\0" };
    [role, nonces[0], nonces[1], words].concat()
}

/// Draws a nonce.
///
/// # Errors
/// [`Error::Engine`] if the system has no random numbers.
pub fn nonce() -> Result<Nonce> {
    let mut nonce = [0; 32];
    let drawn = default_provider().secure_random.fill(&mut nonce);
    drawn.map(|()| nonce).map_err(|_| Error::Engine("the system gives no random numbers".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_role_nonces_and_words_are_a_proof() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());
        assert_ne!(one, other);
        let secret = Secret::new(Some("secret"));
        let proof = secret.prove(Role::Other, [&one, &other], b"words");
        assert!(secret.admits(Role::Other, [&one, &other], b"words", &proof));
        assert!(!secret.admits(Role::Head, [&one, &other], b"words", &proof), "reflected");
        assert!(!secret.admits(Role::Other, [&one, &one], b"words", &proof), "replayed");
        assert!(!secret.admits(Role::Other, [&one, &other], b"word", &proof), "changed");
        assert!(!secret.admits(Role::Other, [&one, &other], b"words", &[]));
        for token in [None, Some("Secret"), Some("")] {
            assert!(!Secret::new(token).admits(Role::Other, [&one, &other], b"words", &proof));
        }
    }
}

//! The broker's side of SASL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// What a client must show.
#[derive(Clone)]
pub enum Sasl {
    /// User and password.
    Plain(&'static str, &'static str),
    /// User and password, by SCRAM-SHA-256.
    Scram(&'static str, &'static str),
    /// A token.
    Token(String),
}

/// One client's exchange.
pub struct Session {
    sasl: Sasl,
    /// First message of the client without its header, and the broker's answer.
    first: Option<(String, String)>,
}

const SALT: &[u8] = b"salt of the test";
const ROUNDS: u32 = 4096;

impl Session {
    pub fn new(sasl: Sasl) -> Self {
        Self { sasl, first: None }
    }

    pub fn mechanism(&self) -> &'static str {
        match self.sasl {
            Sasl::Plain(..) => "PLAIN",
            Sasl::Scram(..) => "SCRAM-SHA-256",
            Sasl::Token(_) => "OAUTHBEARER",
        }
    }

    /// Takes a message of the client; returns the answer, and whether the client is known now.
    pub fn next(&mut self, said: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let refused = |is_right: bool| match is_right {
            true => Ok((Vec::new(), true)),
            false => Err("Authentication failed: Invalid username or password".to_string()),
        };
        match &self.sasl {
            Sasl::Plain(user, password) => refused(said == format!("\0{user}\0{password}").as_bytes()),
            Sasl::Token(token) => {
                refused(String::from_utf8_lossy(said).contains(&format!("auth=Bearer {token}\u{1}")))
            }
            Sasl::Scram(user, password) => {
                let said = String::from_utf8_lossy(said).into_owned();
                let part = |name: &str, of: &str| {
                    of.split(',')
                        .find_map(|part| part.strip_prefix(name).map(String::from))
                        .unwrap_or_default()
                };
                let Some((bare, answer)) = self.first.clone() else {
                    let bare = said.strip_prefix("n,,").unwrap_or_default().to_string();
                    let nonce = format!("{}broker", part("r=", &bare));
                    let answer = format!("r={nonce},s={},i={ROUNDS}", STANDARD.encode(SALT));
                    self.first = Some((bare, answer.clone()));
                    return Ok((answer.into_bytes(), false));
                };
                let (without_proof, proof) = said.rsplit_once(",p=").unwrap_or_default();
                let whole = format!("{bare},{answer},{without_proof}");
                let salted = salted(password.as_bytes());
                let client_key = hmac(&salted, b"Client Key");
                let signature = hmac(&Sha256::digest(client_key), whole.as_bytes());
                let expected: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
                let is_right = part("n=", &bare) == *user && STANDARD.encode(expected) == proof;
                let shown = hmac(&hmac(&salted, b"Server Key"), whole.as_bytes());
                refused(is_right).map(|_| (format!("v={}", STANDARD.encode(shown)).into_bytes(), true))
            }
        }
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let padded = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([padded(0x36), text.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).into()
}

/// Returns the key of a password: PBKDF2 of one block.
fn salted(password: &[u8]) -> [u8; 32] {
    let mut round = hmac(password, &[SALT, &1u32.to_be_bytes()].concat());
    let mut sum = round;
    for _ in 1..ROUNDS {
        round = hmac(password, &round);
        sum.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

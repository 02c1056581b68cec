//! How two processes greet each other: versions, then the proof of the token and the request of the newcomer, then the answer of
//! the head with its own proof.

use crate::cluster::proof::{Role, Secret, nonce};
use crate::cluster::record::{self, PREAMBLE};
use serde::{Deserialize, Serialize};
use std::io::{self, Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Version that all processes must have.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a newcomer says of itself; what it leaves out, it has from the head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub process: Option<usize>,
    /// Number of processes.
    pub processes: Option<usize>,
    /// Number of workers of all processes.
    pub workers: Option<usize>,
    /// SHA-256 of the job file that it was given.
    pub job: Option<String>,
}

/// Why a newcomer is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, as the newcomer reads it.
    pub reason: String,
    /// Whether it may be right soon.
    pub passing: bool,
}

#[derive(Serialize, Deserialize)]
struct Greeting {
    version: String,
    nonce: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Claim {
    /// [`Request`] as JSON, as it was proved.
    request: String,
    proof: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Welcome { process: usize, proof: Vec<u8> },
    Refused(Refusal),
}

/// Why the head has not heard a newcomer out.
pub enum Unheard {
    /// It speaks something else.
    Stranger(String),
    /// It was told why it is refused.
    Refused(String),
    /// The connection has ended.
    Lost(Error),
}

/// Why the head gives no number.
#[derive(Debug)]
pub enum Denied {
    /// It says why, or this process sees it.
    Refused(Refusal),
    /// The connection has ended, or nobody answers.
    Lost(Error),
}

/// A newcomer that has the token, and waits for its answer.
pub struct Heard {
    /// What it asks for.
    pub request: Request,
    nonces: [[u8; 32]; 2],
}

/// Hears a newcomer out.
pub async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
) -> Result<Heard, Unheard> {
    record::preamble(stream).await.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => Unheard::Stranger(error.to_string()),
        _ => Unheard::Lost(error),
    })?;
    let lost = Unheard::Lost;
    let own = nonce().map_err(|error| lost(Error::other(error)))?;
    stream.write_all(PREAMBLE).await.map_err(lost)?;
    record::write(stream, &Greeting { version: VERSION.into(), nonce: own }).await.map_err(lost)?;
    let greeting: Greeting = record::read(stream).await.map_err(lost)?;
    if greeting.version != VERSION {
        return Err(refuse(stream, other_version("this is", &greeting.version, "process 0 is")).await);
    }
    let claim: Claim = record::read(stream).await.map_err(lost)?;
    let nonces = [own, greeting.nonce];
    if !secret.admits(Role::Other, [&own, &greeting.nonce], claim.request.as_bytes(), &claim.proof) {
        return Err(refuse(stream, OTHER_TOKEN.into()).await);
    }
    let request = serde_json::from_str(&claim.request).map_err(|error| lost(error.into()))?;
    Ok(Heard { request, nonces })
}

const OTHER_TOKEN: &str =
    "process 0 has another token: give all processes the same (--token-file or SLUICEBOX_TOKEN)";

fn other_version(one: &str, version: &str, other: &str) -> String {
    format!("{one} sluicebox {version}, but {other} {VERSION}: run the same version everywhere")
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, reason: String) -> Unheard {
    let refused = Answer::Refused(Refusal { reason: reason.clone(), passing: false });
    let _ = record::write(stream, &refused).await; // it may have gone
    record::part(stream).await;
    Unheard::Refused(reason)
}

impl Heard {
    /// Answers the newcomer: it has a number, or is refused.
    pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        secret: &Secret,
        answer: Result<usize, Refusal>,
    ) -> io::Result<()> {
        let [own, other] = &self.nonces;
        match answer {
            Ok(process) => {
                let proof = secret.prove(Role::Head, [own, other], &process.to_le_bytes());
                record::write(stream, &Answer::Welcome { process, proof }).await
            }
            Err(refusal) => {
                record::write(stream, &Answer::Refused(refusal)).await?;
                record::part(stream).await;
                Ok(())
            }
        }
    }
}

/// Greets the head, and returns this process's number.
///
/// # Errors
/// Why it gives none.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    secret: &Secret,
    request: &Request,
) -> Result<usize, Denied> {
    let lost = Denied::Lost;
    let lasting = |reason: String| Denied::Refused(Refusal { reason, passing: false });
    let own = nonce().map_err(|error| lasting(error.to_string()))?;
    stream.write_all(PREAMBLE).await.map_err(lost)?;
    record::write(stream, &Greeting { version: VERSION.into(), nonce: own }).await.map_err(lost)?;
    record::preamble(stream).await.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => lasting(format!("nobody awaits processes there: it says {error}")),
        _ => lost(error),
    })?;
    let greeting: Greeting = record::read(stream).await.map_err(lost)?;
    if greeting.version != VERSION {
        return Err(lasting(other_version("process 0 is", &greeting.version, "this is")));
    }
    let request = serde_json::to_string(request).map_err(|error| lasting(error.to_string()))?;
    let nonces = [&greeting.nonce, &own];
    let proof = secret.prove(Role::Other, nonces, request.as_bytes());
    record::write(stream, &Claim { request, proof }).await.map_err(lost)?;
    match record::read(stream).await.map_err(lost)? {
        Answer::Refused(refusal) => Err(Denied::Refused(refusal)),
        Answer::Welcome { process, proof } => {
            match secret.admits(Role::Head, nonces, &process.to_le_bytes(), &proof) {
                true => Ok(process),
                false => Err(lasting(OTHER_TOKEN.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn met(here: &str, there: &str) -> (Result<usize, String>, Result<(), String>) {
        let (mut head, mut other) = tokio::io::duplex(4096);
        let (here, there) = (Secret::new(Some(here)), Secret::new(Some(there)));
        let request = Request { process: Some(3), ..Request::default() };
        let head = async move {
            match hear(&mut head, &here).await {
                Ok(heard) => {
                    let process = heard.request.process.unwrap();
                    heard.answer(&mut head, &here, Ok(process)).await.map_err(|error| error.to_string())
                }
                Err(Unheard::Refused(reason) | Unheard::Stranger(reason)) => Err(reason),
                Err(Unheard::Lost(error)) => Err(error.to_string()),
            }
        };
        let asking =
            async move { ask(&mut other, &there, &request).await.map_err(|denied| format!("{denied:?}")) };
        tokio::join!(asking, head)
    }

    #[tokio::test]
    async fn who_has_the_token_is_let_in_and_nobody_else() {
        assert_eq!(met("one", "one").await, (Ok(3), Ok(())));
        let (refused, told) = met("one", "other").await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("another token") && refused.contains("passing: false"), "{refused}");
        assert!(told.unwrap_err().contains("another token"));
    }

    #[tokio::test]
    async fn a_stranger_is_no_process() {
        let (mut head, mut other) = tokio::io::duplex(4096);
        other.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let secret = Secret::new(None);
        let Err(Unheard::Stranger(said)) = hear(&mut head, &secret).await else { panic!("it was heard") };
        assert!(said.contains("GET / HTTP/1.1"), "{said}");
        let (mut head, mut other) = tokio::io::duplex(4096);
        head.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let refused = format!("{:?}", ask(&mut other, &secret, &Request::default()).await.unwrap_err());
        assert!(refused.contains("HTTP/1.1 400") && refused.contains("passing: false"), "{refused}");
    }
}

//! What librdkafka reports of its connections, and which setting may be wrong. The context of its clients.

use crate::kafka_token::Tokens;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Parts of reasons, and what to do where they occur. The first that occurs counts.
const REMEDIES: [(&str, &str); 11] = [
    (
        "PLAINTEXT broker",
        "this port of the broker has no TLS: give one that has, or set security.protocol to plaintext or sasl_plaintext",
    ),
    (
        "certificate verify failed",
        "the broker's certificate is not of an authority in ssl.ca.location, or has expired, or is for another host name \
         than source.brokers has",
    ),
    (
        "client SSL authentication might be required",
        "if the broker wants a certificate, set ssl.certificate.location and ssl.key.location",
    ),
    ("alert", "the broker refused the certificate of ssl.certificate.location, or wants one"),
    ("might require SASL", "the broker may want SASL: set security.protocol to sasl_ssl or sasl_plaintext"),
    ("SSL listener", "if this port of the broker has TLS, set security.protocol to ssl or sasl_ssl"),
    // The same, from a broker that resets the connection.
    (
        "in state APIVERSION_QUERY",
        "if this port of the broker has TLS, set security.protocol to ssl or sasl_ssl",
    ),
    (
        "No provider for SASL mechanism",
        "set sasl.mechanism to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; Kerberos (GSSAPI) is not built in",
    ),
    ("SASL mechanism", "set sasl.mechanism to one that the broker has"),
    ("SASL authentication", "check sasl.mechanism, sasl.username and sasl.password"),
    // A broker without TLS that resets the connection.
    ("in state SSL_HANDSHAKE", "this port of the broker has no TLS, or it refuses the client's certificate"),
];

/// Returns a reason with what to do about it, if that is known.
fn with_remedy(reason: &str) -> String {
    match REMEDIES.iter().find(|(part, _)| reason.contains(part)) {
        Some((_, remedy)) => format!("{reason}; {remedy}"),
        None => reason.to_string(),
    }
}

/// Returns why librdkafka does not take its settings. The values stay out of it: they may be secret.
pub fn unusable(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) if key.is_empty() => with_remedy(reason),
        KafkaError::ClientConfig(_, reason, key, _) => format!("{key}: {}", with_remedy(reason)),
        KafkaError::ClientCreation(reason) => with_remedy(reason),
        other => other.to_string(),
    }
}

/// How much a report says of why a connection fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    /// That all brokers are down.
    That,
    /// What the log has, which is no error to librdkafka: it connects again.
    Something,
    /// The error.
    Why,
}

/// Client context that keeps the last error that librdkafka reported, and fetches tokens.
#[derive(Default)]
pub struct LastError {
    reason: Mutex<Option<(Says, String)>>,
    tokens: Option<Tokens>,
}

impl LastError {
    /// Creates a context whose client shows itself by tokens, if there is a source of them.
    pub fn new(tokens: Option<Tokens>) -> Self {
        Self { reason: Mutex::default(), tokens }
    }

    /// Returns the last reported error, or the text of `error`.
    pub fn reason(&self, error: &KafkaError) -> String {
        self.last().unwrap_or_else(|| match error.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => error.to_string(),
        })
    }

    /// Returns the last reported error.
    pub fn last(&self) -> Option<String> {
        self.reason.lock().as_ref().map(|(_, reason)| reason.clone())
    }

    fn note(&self, says: Says, reason: &str) {
        let mut known = self.reason.lock();
        if known.as_ref().is_none_or(|(before, _)| *before <= says) {
            *known = Some((says, with_remedy(reason)));
        }
    }

    /// Returns a new token.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref().ok_or("no token endpoint is set")?;
        tokens.fetch().map_err(|reason| {
            self.note(Says::Why, &reason);
            reason.into()
        })
    }
}

impl ClientContext for LastError {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        let is_all = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        self.note(if is_all { Says::That } else { Says::Why }, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, part: &str, line: &str) {
        if part == "FAIL" {
            self.note(Says::Something, line);
        }
        match level {
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", "{part} {line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", "{part} {line}")
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", "{part} {line}"),
            _ => tracing::error!(target: "librdkafka", "{part} {line}"),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token()
    }
}

impl ConsumerContext for LastError {}

//! Tokens by which a client of a Kafka cluster shows itself (SASL OAUTHBEARER): fetched from an OpenID Connect endpoint by
//! the client's id and secret. librdkafka could do it too, but would need libcurl.

use crate::kafka_web::{LARGEST_ANSWER, agent};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rdkafka::client::OAuthToken;
use serde::Deserialize;
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::Agent;

/// Time that a token lasts where the endpoint does not say.
const USUAL_LIFE_S: u64 = 300;
/// Longest text of an endpoint that a message quotes, in characters.
const LONGEST_REASON: usize = 300;

/// Source of tokens.
pub struct Tokens {
    agent: Agent,
    endpoint: String,
    client: String,
    secret: String,
    scope: Option<String>,
}

/// Answer of a token endpoint.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Claims of a token of which the client's name is one.
#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Tokens {
    /// Takes its settings out of those of librdkafka, if these ask for tokens.
    pub fn take(settings: &mut BTreeMap<String, String>) -> Result<Option<Self>> {
        let mechanism = settings.get("sasl.mechanism").or_else(|| settings.get("sasl.mechanisms"));
        if mechanism.is_none_or(|mechanism| mechanism != "OAUTHBEARER") {
            return Ok(None);
        }
        let method = settings.remove("sasl.oauthbearer.method");
        if method.as_deref() != Some("oidc") {
            return Err(Error::request("sasl.mechanism = OAUTHBEARER needs sasl.oauthbearer.method = oidc"));
        }
        let mut needed = |key: &str| {
            let missing = || Error::Request(format!("sasl.mechanism = OAUTHBEARER needs {key}"));
            settings.remove(key).ok_or_else(missing)
        };
        let endpoint = needed("sasl.oauthbearer.token.endpoint.url")?;
        let client = needed("sasl.oauthbearer.client.id")?;
        let secret = needed("sasl.oauthbearer.client.secret")?;
        let scope = settings.remove("sasl.oauthbearer.scope");
        let authority = settings.remove("https.ca.location").map(PathBuf::from);
        Ok(Some(Self { agent: agent(authority.as_deref())?, endpoint, client, secret, scope }))
    }

    /// Fetches a token; takes 10 s at most.
    pub fn fetch(&self) -> Result<OAuthToken, String> {
        let fault = |reason: &dyn std::fmt::Display| {
            format!(
                "no token from {} (sasl.oauthbearer.token.endpoint.url): {reason}; check sasl.oauthbearer.client.id, \
                 sasl.oauthbearer.client.secret and sasl.oauthbearer.scope",
                self.endpoint
            )
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let basic = STANDARD.encode(format!("{}:{}", self.client, self.secret));
        let request = self.agent.post(&self.endpoint).header("Authorization", format!("Basic {basic}"));
        let mut answer = request.send_form(form).map_err(|error| fault(&error))?;
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| fault(&error))?;
        if !answer.status().is_success() {
            let told: String = text.chars().take(LONGEST_REASON).collect();
            return Err(fault(&format_args!("{} {told}", answer.status())));
        }
        let Answer { access_token: token, expires_in } =
            serde_json::from_str(&text).map_err(|_| fault(&"its answer holds no access_token"))?;
        let life = Duration::from_secs(expires_in.unwrap_or(USUAL_LIFE_S));
        let principal_name = subject(&token).unwrap_or_else(|| self.client.clone());
        Ok(OAuthToken { token, principal_name, lifetime_ms: (now + life).as_millis() as i64 })
    }
}

/// Returns the subject of a token, if it is a JWT.
fn subject(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.sub)
}

//! Connection to the brokers of a Kafka cluster: librdkafka settings from a job and from a file of
//! secrets. Shared by source and sink.

use crate::kafka_errors::{self, LastError};
use crate::kafka_token::Tokens;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// librdkafka settings in a job: a table, in which `a.b = 1` and `"a.b" = 1` are the same.
pub type Properties = toml::Table;

/// Settings that are secret. A job is printed, shown by its server and kept in checkpoints.
const SECRETS: [&str; 11] = [
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.jaas.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "schema.registry.basic.auth.user.info",
    "schema.registry.bearer.auth.token",
];
/// Beginning of the settings of a schema registry, as Java's clients name them.
const REGISTRY: &str = "schema.registry.";
/// Settings of a schema registry, without that beginning.
const OF_REGISTRY: [&str; 4] = ["url", "basic.auth.user.info", "bearer.auth.token", "ssl.ca.location"];
/// Beginnings of settings of tokens, which are not librdkafka's here.
const OF_TOKENS: [&str; 2] = ["sasl.oauthbearer.", "https."];

/// What a client of a cluster is made of.
pub struct Connection {
    /// Settings of librdkafka.
    pub config: ClientConfig,
    /// Context of the client.
    pub context: LastError,
    /// Settings of the schema registry, without the beginning of their names.
    pub registry: BTreeMap<String, String>,
}

/// Returns the fault of `properties`, if any: a list, a date, a secret, a setting that the job itself decides, or one that
/// there is not.
pub fn faults(properties: &Properties, decided: &[&str]) -> Option<String> {
    let mut flat = Vec::new();
    if let Err(key) = flatten("", properties, &mut flat) {
        return Some(format!("`{key}` is neither text nor a number nor true nor false"));
    }
    if let Some((key, _)) = flat.iter().find(|(key, _)| SECRETS.contains(&key.as_str())) {
        return Some(format!(
            "`{key}` is a secret, and the job is printed and kept: put the line {key}=… into a file, and name that as \
             properties_file"
        ));
    }
    if let Some((key, _)) = flat.iter().find(|(key, _)| decided.contains(&key.as_str())) {
        return Some(format!("`{key}` is set by the job's other options"));
    }
    flat.iter().find_map(|(key, value)| unknown(key, value))
}

/// Returns the fault of one setting, if it is none or cannot have this value.
fn unknown(key: &str, value: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix(REGISTRY) {
        let known = OF_REGISTRY.map(|name| format!("{REGISTRY}{name}")).join(", ");
        return (!OF_REGISTRY.contains(&name)).then(|| format!("unknown setting `{key}` (known: {known})"));
    }
    if OF_TOKENS.iter().any(|of_tokens| key.starts_with(of_tokens)) {
        return None;
    }
    let mut one = ClientConfig::new();
    one.set(key, value).create_native_config().err().map(|error| kafka_errors::unusable(&error))
}

/// Returns whether `properties` say where the schema registry is.
pub fn names_registry(properties: &Properties) -> bool {
    let mut flat = Vec::new();
    let _ = flatten("", properties, &mut flat); // what is wrong with them is told elsewhere
    flat.iter().any(|(key, _)| key.strip_prefix(REGISTRY) == Some("url"))
}

/// Returns the connection of a client of `brokers`. The `key=value` lines of `file` take precedence, so that the job need
/// not contain secrets.
pub fn connection(brokers: &str, properties: &Properties, file: Option<&PathBuf>) -> Result<Connection> {
    let mut flat = Vec::new();
    flatten("", properties, &mut flat).map_err(|key| {
        Error::Request(format!("properties: `{key}` is neither text nor a number nor true nor false"))
    })?;
    if let Some(file) = file {
        flat.extend(read(file)?);
    }
    let of_registry = |key: &str| key.starts_with(REGISTRY);
    if let Some(fault) =
        flat.iter().filter(|(key, _)| of_registry(key)).find_map(|(key, value)| unknown(key, value))
    {
        return Err(Error::Request(fault));
    }
    let mut settings: BTreeMap<String, String> = flat.into_iter().collect();
    let context = LastError::new(Tokens::take(&mut settings)?);
    let mut registry = BTreeMap::new();
    settings.retain(|key, value| match key.strip_prefix(REGISTRY) {
        Some(name) => {
            registry.insert(name.to_string(), std::mem::take(value));
            false
        }
        None => true,
    });
    let mut config = ClientConfig::new();
    settings.into_iter().for_each(|(key, value)| {
        config.set(key, value);
    });
    config.set("bootstrap.servers", brokers).set("client.id", "sluicebox");
    config.set_log_level(RDKafkaLogLevel::Info); // the log says why a broker hangs up
    Ok(Connection { config, context, registry })
}

fn flatten(path: &str, table: &Properties, flat: &mut Vec<(String, String)>) -> Result<(), String> {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&key, inner, flat)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            toml::Value::Datetime(_) | toml::Value::Array(_) => return Err(key),
        };
        flat.push((key, text));
    }
    Ok(())
}

/// Reads the `key=value` lines of a properties file as used by Kafka's own tools.
fn read(file: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::file(file, format!("cannot read the Kafka properties: {error}")))?;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(Error::file(file, format!("line {}: expected key=value", at + 1)));
        };
        found.push((key.trim().to_string(), value.trim().to_string()));
    }
    Ok(found)
}

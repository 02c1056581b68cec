//! Connection to the brokers of a Kafka cluster: librdkafka settings from a job and from a file of
//! secrets, and the last error that librdkafka reported. Shared by source and sink.

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use sluicebox_core::error::{Error, Result};
use std::path::{Path, PathBuf};

/// librdkafka settings in a job: a table, in which `a.b = 1` and `"a.b" = 1` are the same.
pub type Properties = toml::Table;

/// Returns the fault of `properties`, if any: a list, a date, or a setting that the job itself decides.
pub fn faults(properties: &Properties, decided: &[&str]) -> Option<String> {
    let mut flat = Vec::new();
    if let Err(key) = flatten("", properties, &mut flat) {
        return Some(format!("`{key}` is neither text nor a number nor true nor false"));
    }
    let taken = flat.iter().find(|(key, _)| decided.contains(&key.as_str()));
    taken.map(|(key, _)| format!("`{key}` is set by the job's other options"))
}

/// Returns the settings for a client of `brokers`. The `key=value` lines of `file` take precedence,
/// so that the job need not contain secrets.
pub fn config(brokers: &str, properties: &Properties, file: Option<&PathBuf>) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    let mut flat = Vec::new();
    flatten("", properties, &mut flat).map_err(|key| {
        Error::Request(format!("properties: `{key}` is neither text nor a number nor true nor false"))
    })?;
    if let Some(file) = file {
        flat.extend(read(file)?);
    }
    flat.into_iter().for_each(|(key, value)| {
        config.set(key, value);
    });
    config.set("bootstrap.servers", brokers).set("client.id", "sluicebox");
    Ok(config)
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

/// Client context that keeps the last error that librdkafka reported.
#[derive(Default)]
pub struct LastError {
    reason: Mutex<Option<String>>,
}

impl LastError {
    /// Returns the last reported error, or the text of `error`.
    pub fn reason(&self, error: &KafkaError) -> String {
        let reason = self.reason.lock();
        reason.clone().unwrap_or_else(|| match error.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => error.to_string(),
        })
    }

    /// Returns the last reported error.
    pub fn last(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    fn set(&self, reason: String) {
        *self.reason.lock() = Some(reason);
    }
}

impl ClientContext for LastError {
    fn error(&self, _error: KafkaError, reason: &str) {
        self.set(reason.to_string());
    }
}

impl ConsumerContext for LastError {}

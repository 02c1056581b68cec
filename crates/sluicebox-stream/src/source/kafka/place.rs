//! Where in a message something is: in its value, or around it.

use rdkafka::message::{BorrowedHeaders, Headers};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Beginning of a place that is a header.
const HEADER: &str = "header:";

/// Where the id or the label of a sample is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// In the value, by its key there.
    #[default]
    Value,
    /// The key of the message, as text.
    Key,
    /// The header of this name, as text; of several the last.
    Header(String),
}

impl schemars::JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(value|key|header:.+)$" })
    }
}

impl Place {
    /// Returns its name in messages.
    pub fn told(&self) -> String {
        match self {
            Place::Header(name) => format!("header `{name}`"),
            other => other.to_string(),
        }
    }

    /// Returns whether it is in the value, which is the default.
    pub fn is_value(&self) -> bool {
        *self == Place::Value
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Value => f.write_str("value"),
            Place::Key => f.write_str("key"),
            Place::Header(name) => write!(f, "{HEADER}{name}"),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix(HEADER)) {
            ("value", _) => Ok(Place::Value),
            ("key", _) => Ok(Place::Key),
            (_, Some(name)) if !name.is_empty() => Ok(Place::Header(name.into())),
            _ => Err(format!("`{text}` is not \"value\", \"key\" or \"header:NAME\"")),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

/// What is around the value of a message.
#[derive(Clone, Copy, Default)]
pub struct Envelope<'m> {
    /// Its key.
    pub key: Option<&'m [u8]>,
    /// Its headers.
    pub headers: Option<&'m BorrowedHeaders>,
}

impl Envelope<'_> {
    /// Returns the text at a place around the value; none if there is none, or null. The error says what is wrong with
    /// it.
    pub fn text(&self, place: &Place) -> Result<Option<&str>, String> {
        let found = match place {
            Place::Value => None,
            Place::Key => self.key,
            Place::Header(name) => {
                let headers = self.headers.into_iter().flat_map(Headers::iter);
                headers.filter(|header| header.key == name).last().and_then(|header| header.value)
            }
        };
        let text = found.map(std::str::from_utf8).transpose();
        text.map_err(|error| format!("the {} is not UTF-8: {error}", place.told()))
    }
}

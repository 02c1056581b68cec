//! The JSON Schema of a job file, made of the tables that read it: editors complete keys from it, and the reference of
//! all keys is rendered from it.

use crate::job::sections::Top;
use crate::job::sinks::SINKS;
use serde_json::{Map, Value, json};
use sluicebox_core::config::registry::Registry;
use sluicebox_core::config::schema::of;
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model::MODELS;
use sluicebox_learn::model::start::Start;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_stream::source::SOURCES;

/// What the schema says of the weight of a source.
const WEIGHT: &str = "Share of this source in each step, relative to the other sources. 0: only its labelled and \
                      held-out samples are used.";

/// A section of a job file.
pub struct Described {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its schema.
    pub schema: Value,
}

/// Returns the schema of a job file. American spellings, which a job may use, are not in it.
pub fn schema() -> Value {
    let mut whole = of::<Top>();
    // The default depends on the machine.
    if let Some(threads) = whole["properties"]["threads"].as_object_mut() {
        threads.remove("default");
    }
    let stream = kinds(&SOURCES, None, Map::from_iter([("weight".to_string(), weight())]));
    let several = json!({ "type": "array", "minItems": 1, "items": stream });
    let properties = &mut whole["properties"];
    let mut add = |name: &str, about: &str, mut schema: Value| {
        schema["description"] = about.trim().into();
        properties[name] = schema;
    };
    add("source", " `[source]`: one source, or several with weights.", json!({ "anyOf": [stream, several] }));
    super::described().into_iter().for_each(|section| add(section.name, section.about, section.schema));
    let sinks = json!({ "type": "array", "items": kinds(&SINKS, None, Map::new()) });
    add("sink", "`[[sink]]`: further outputs.", sinks);
    whole["required"] = json!(["source"]);
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    whole["title"] = "A job of Sluicebox".into();
    whole
}

/// Returns the names of the sections in the order of the reference, with the table that a section names its parts from.
pub fn sections() -> Vec<&'static str> {
    let own = super::described().into_iter().map(|section| section.name);
    std::iter::once("source").chain(own).chain(["sink"]).collect()
}

/// Returns the schema of a section that names a component of a table.
pub fn of_components(section: &str) -> Value {
    match section {
        "model" => kinds(&MODELS, Some("convnet"), properties_of(of::<Start>())),
        "method" => kinds(&METHODS, Some("fixmatch"), Map::new()),
        "optimiser" => kinds(&OPTIMISERS, Some("sgd"), Map::new()),
        _ => views(),
    }
}

fn views() -> Value {
    let lists = [
        ("weak", "Augmentations of the teacher's input."),
        ("labelled", "Augmentations of labelled samples for the student; by default those of `weak`."),
        ("strong", "Augmentations of unlabelled samples for the student."),
    ];
    let list = |about: &str| json!({ "type": "array", "description": about, "items": kinds(&AUGMENTATIONS, None, Map::new()) });
    let properties: Map<String, Value> =
        lists.iter().map(|(name, about)| (name.to_string(), list(about))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn weight() -> Value {
    json!({ "type": "number", "minimum": 0.0, "maximum": 1e9, "default": 1.0, "description": WEIGHT })
}

fn properties_of(schema: Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

/// Returns the schema of one row of a table: its `kind` with the options of that row, and those that all rows have.
fn kinds<B>(registry: &Registry<B>, default: Option<&str>, common: Map<String, Value>) -> Value {
    let rows = registry.entries.iter().map(|entry| {
        let mut schema = (entry.schema)();
        schema["description"] = entry.about.into();
        let mut properties = properties_of(schema.clone());
        properties.extend(common.clone());
        properties.insert("kind".into(), json!({ "const": entry.name, "type": "string" }));
        schema["properties"] = Value::Object(properties);
        let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
        if default != Some(entry.name) {
            required.push("kind".into());
        }
        schema["required"] = required.into();
        schema
    });
    json!({ "oneOf": rows.collect::<Vec<Value>>() })
}

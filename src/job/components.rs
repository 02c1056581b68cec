//! The schemas of what a section can name: one for each row of a table.

use serde_json::{Map, Value, json};
use sluicebox_core::config::registry::Registry;
use sluicebox_core::config::schema::of;
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model::MODELS;
use sluicebox_learn::model::start::Start;
use sluicebox_learn::optimiser::OPTIMISERS;

/// A section of a job file.
pub struct Described {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its schema.
    pub schema: Value,
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
        (
            "medium",
            "Weaker ones of unlabelled samples, for methods that want both; by default the first of `strong`.",
        ),
    ];
    let list = |about: &str| json!({ "type": "array", "description": about, "items": kinds(&AUGMENTATIONS, None, Map::new()) });
    let properties: Map<String, Value> =
        lists.iter().map(|(name, about)| (name.to_string(), list(about))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn properties_of(schema: Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

/// Returns the schema of one row of a table: its `kind` with the options of that row, and those that all rows have.
pub fn kinds<B>(registry: &Registry<B>, default: Option<&str>, common: Map<String, Value>) -> Value {
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

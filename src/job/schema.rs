//! The JSON Schema of a job file, made of the tables that read it: editors complete keys from it, and the reference of
//! all keys is rendered from it.

use crate::job::components::kinds;
use crate::job::sections::Top;
use crate::job::sinks::SINKS;
use serde_json::{Map, Value, json};
use sluicebox_core::config::schema::of;
use sluicebox_stream::source::SOURCES;

/// What the schema says of the weight of a source.
const WEIGHT: &str = "Share of this source in each step, relative to the other sources. 0: only its labelled and \
                      held-out samples are used.";

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

fn weight() -> Value {
    json!({ "type": "number", "minimum": 0.0, "maximum": 1e9, "default": 1.0, "description": WEIGHT })
}

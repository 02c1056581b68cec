//! The JSON Schema of settings: types, defaults and meaning from the Rust types that a job is read into, ranges from
//! the checks that they pass then.

use crate::config::document::Settings;
use crate::config::range::{Checked, checked};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::ops::Bound;

/// Words of a schema that say nothing about a job file.
const LEFT_OUT: [&str; 3] = ["$schema", "title", "format"];

/// Keys that have two names, of which a type knows one or both.
const TWO_NAMES: [[&str; 2]; 2] = [["class_column", "class"], ["id_column", "id"]];

/// Returns the schema of settings: an object without other keys.
pub fn of<S: Settings>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<S>().to_value();
    plain(&mut schema);
    let least = example(&schema);
    let reads = |value: Value| serde_json::from_value::<S>(value);
    for [one, other] in TWO_NAMES.into_iter().flat_map(|[one, other]| [[one, other], [other, one]]) {
        let mut given = least.clone();
        given[other] = "x".into();
        if schema["properties"][one].is_object()
            && schema["properties"][other].is_null()
            && reads(given).is_ok()
        {
            schema["properties"][other] = schema["properties"][one].clone();
            schema["properties"][other]["description"] = format!("Another name of `{one}`.").into();
        }
    }
    if let Ok(example) = reads(least) {
        let checks = checked(|| _ = example.faults());
        checks.iter().for_each(|check| bound(&mut schema["properties"], check));
    }
    schema
}

/// Drops what a job file does not have: `null`, names of types and of formats.
fn plain(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(words) => {
            LEFT_OUT.iter().for_each(|word| _ = words.remove(*word));
            if let Some(Value::Object(properties)) = words.get_mut("properties") {
                properties.values_mut().for_each(plain); // here the words are names of keys
            }
            words
                .iter_mut()
                .filter(|(word, _)| *word != "properties" && *word != "default")
                .for_each(|(_, inner)| plain(inner));
            without_null(words);
        }
        _ => {}
    }
}

fn without_null(words: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = words.get_mut("type") {
        types.retain(|name| name != "null");
        if let [single] = &types[..] {
            let single = single.clone();
            words.insert("type".into(), single);
        }
    }
    if let Some(Value::Array(values)) = words.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if words.get("default") == Some(&Value::Null) {
        words.remove("default");
    }
    if let Some(Value::Array(choices)) = words.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if choices.len() == 1
            && let Value::Object(single) = choices.remove(0)
        {
            words.remove("anyOf");
            single.into_iter().for_each(|(word, inner)| _ = words.entry(word).or_insert(inner));
        }
    }
}

/// Returns a value that fits a schema, with the keys that must be there.
fn example(schema: &Value) -> Value {
    let choice = ["oneOf", "anyOf"].iter().find_map(|word| schema[*word].get(0));
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    match (schema["type"].as_str(), choice) {
        (None, Some(choice)) => example(choice),
        (Some("object"), _) => {
            let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            needed.map(|key| (key.to_string(), example(&schema["properties"][key]))).collect()
        }
        (Some("array"), _) => json!([example(&schema["items"])]),
        (Some("integer"), _) => json!(1),
        (Some("number"), _) => json!(1.0),
        (Some("boolean"), _) => json!(false),
        _ => json!("x"),
    }
}

/// Writes a range into the schema of its key.
fn bound(properties: &mut Value, check: &Checked) {
    let Some(Value::Object(words)) = properties.get_mut(check.key) else { return };
    let is_number = matches!(words.get("type").and_then(Value::as_str), Some("integer" | "number"));
    if !is_number {
        return;
    }
    let whole = words.get("type").is_some_and(|name| name == "integer");
    let number = |bound: f64| if whole { json!(bound as i64) } else { json!(bound) };
    match check.range.0 {
        Bound::Included(low) => _ = words.insert("minimum".into(), number(low)),
        Bound::Excluded(low) => _ = words.insert("exclusiveMinimum".into(), number(low)),
        Bound::Unbounded => {}
    }
    match check.range.1 {
        Bound::Included(high) => _ = words.insert("maximum".into(), number(high)),
        Bound::Excluded(high) => _ = words.insert("exclusiveMaximum".into(), number(high)),
        Bound::Unbounded => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::range::{above, at_least, within};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Part {
        /// A place.
        path: String,
        /// A rate.
        #[serde(default = "half")]
        rate: f64,
        /// A number, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<usize>,
    }

    fn half() -> f64 {
        0.5
    }

    impl Settings for Part {
        fn faults(&self) -> Vec<(&'static str, String)> {
            let mut faults = Vec::new();
            within(&mut faults, "rate", self.rate, above(0.0));
            within(&mut faults, "rate", self.rate, ..=1.0);
            at_least(&mut faults, "count", self.count.unwrap_or(3), 3);
            faults
        }
    }

    #[test]
    fn a_schema_has_types_defaults_meaning_and_the_ranges_that_are_checked() {
        let expected = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["path"],
            "properties": {
                "path": { "type": "string", "description": "A place." },
                "rate": {
                    "type": "number", "description": "A rate.", "default": 0.5, "exclusiveMinimum": 0.0, "maximum": 1.0
                },
                "count": { "type": "integer", "description": "A number, if there is one.", "minimum": 3 },
            },
        });
        assert_eq!(of::<Part>(), expected);
    }
}

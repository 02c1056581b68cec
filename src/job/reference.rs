//! The reference of all keys of a job file, as Markdown, rendered from its JSON Schema.

use crate::job::schema::{schema, sections};
use serde_json::{Map, Value};
use std::fmt::Write as _;

const HEAD: &str = "# All keys of a job

`sluicebox schema --reference` writes this page from the tables that read a job, and a test keeps it so. `sluicebox schema`
writes the same as JSON Schema, from which editors complete: with the TOML extension of VS Code (Even Better TOML), or any
editor that uses Taplo, put `#:schema job.schema.json` into the first line of a job after `sluicebox schema >
job.schema.json`.

A time is a text such as `\"200ms\"`, `\"5m\"` or `\"1h 30m\"`. American spellings of keys and kinds are read too
(`optimizer`, `labeled`, `color`, `regularize`, `normalize`, `standardize`); this page and the schema have the British
ones. Where there is no default, the meaning says what holds.
";
const COLUMNS: &str = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
/// Longest default that the table shows whole.
const LONGEST_DEFAULT: usize = 60;

/// Returns the reference.
pub fn reference() -> String {
    let whole = schema();
    let mut text = HEAD.to_string();
    let sections = sections();
    let mut outside = whole.clone();
    if let Some(properties) = outside["properties"].as_object_mut() {
        properties.retain(|name, _| !sections.contains(&name.as_str()));
    }
    _ = write!(text, "\n## Outside of any section\n\n{}", table(&outside));
    for name in sections {
        let section = &whole["properties"][name];
        let title = if name == "sink" { "[[sink]]".into() } else { format!("[{name}]") };
        let about = section["description"].as_str().unwrap_or_default();
        let about = about.split_once("`: ").map_or(about, |(_, about)| about);
        _ = write!(text, "\n## `{title}`\n\n{}\n", sentence(about));
        match name {
            "source" => text += &kinds(&section["anyOf"][0], name),
            "sink" => text += &kinds(&section["items"], name),
            "views" => {
                _ = write!(text, "\n{}", table(section));
                text += &kinds(&section["properties"]["weak"]["items"], "an augmentation");
            }
            _ if section["oneOf"].is_array() => text += &kinds(section, name),
            _ => _ = write!(text, "\n{}", table(section)),
        }
    }
    text
}

/// Returns a part for each kind, and first the keys that all of them have.
fn kinds(rows: &Value, what: &str) -> String {
    let rows = rows["oneOf"].as_array().map_or(&[][..], |rows| rows);
    let keys = |row: &Value| row["properties"].as_object().cloned().unwrap_or_default();
    let mut common: Map<String, Value> = rows.first().map(keys).unwrap_or_default();
    common.retain(|key, schema| {
        key != "kind" && rows.len() > 1 && rows.iter().all(|row| &row["properties"][key] == schema)
    });
    let mut text = String::new();
    if !common.is_empty() {
        let all = serde_json::json!({ "properties": common });
        _ = write!(text, "\nWhatever the kind:\n\n{}", table(&all));
    }
    for row in rows {
        let needs_kind = row["required"].as_array().is_some_and(|keys| keys.iter().any(|key| key == "kind"));
        let usual = if needs_kind { "" } else { " (the default)" };
        let name = row["properties"]["kind"]["const"].as_str().unwrap_or_default();
        let about = sentence(row["description"].as_str().unwrap_or_default());
        let title = if what == "an augmentation" { format!("{what}: ") } else { String::new() };
        _ = write!(text, "\n### {title}`kind = \"{name}\"`{usual}\n\n{about}\n");
        let mut own = row.clone();
        if let Some(properties) = own["properties"].as_object_mut() {
            properties.retain(|key, _| key != "kind" && !common.contains_key(key));
            if !properties.is_empty() {
                _ = write!(text, "\n{}", table(&own));
            }
        }
    }
    text
}

/// Returns the table of an object's keys.
fn table(object: &Value) -> String {
    let mut text = COLUMNS.to_string();
    rows(object, "", &mut text);
    text
}

fn rows(object: &Value, path: &str, text: &mut String) {
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, schema) in object["properties"].as_object().into_iter().flatten() {
        let default = match schema.get("default") {
            Some(default) => shown(default),
            None if required.contains(&key.as_str()) => "must be given".into(),
            None => String::new(),
        };
        let cells = [format!("`{path}{key}`"), kind(schema), default, range(schema), meaning(schema)];
        _ = writeln!(
            text,
            "| {} |",
            cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | ")
        );
        let inner = choices(schema).into_iter().find(|choice| choice["properties"].is_object());
        if let Some(inner) = inner {
            rows(inner, &format!("{path}{key}."), text);
        }
    }
}

/// Returns the alternatives of a schema, itself if it has none.
fn choices(schema: &Value) -> Vec<&Value> {
    let found = ["anyOf", "oneOf"].iter().find_map(|word| schema[*word].as_array());
    found.map_or_else(|| vec![schema], |all| all.iter().flat_map(choices).collect())
}

/// Returns the type in words.
fn kind(schema: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for choice in choices(schema) {
        let word = match (choice.get("const"), choice["enum"].as_array(), choice["type"].as_str()) {
            (Some(value), ..) => format!("`{value}`"),
            (_, Some(values), _) => {
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
            }
            (_, _, Some("array")) => format!("list of {}", plural(&kind(&choice["items"]))),
            (_, _, Some("object")) => "table".into(),
            (_, _, Some("string")) => "text".into(),
            (_, _, Some("integer")) => "whole number".into(),
            (_, _, Some("boolean")) => "true or false".into(),
            (_, _, Some(name)) => name.into(),
            _ => "any".into(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}

fn plural(word: &str) -> String {
    match word {
        "text" | "whole number" | "number" | "table" => format!("{word}s"),
        _ if word.contains("`kind`") || word.is_empty() => "tables".into(),
        other => other.into(),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.len() > LONGEST_DEFAULT {
        true => "…".into(),
        false => format!("`{text}`"),
    }
}

/// Returns the range in words.
fn range(schema: &Value) -> String {
    let number =
        |word: &str| schema.get(word).map(|bound| bound.to_string().trim_end_matches(".0").to_string());
    let low = number("minimum").map(|low| format!("{low} or more"));
    let low = low.or_else(|| number("exclusiveMinimum").map(|low| format!("above {low}")));
    let high = number("maximum").map(|high| format!("{high} or less"));
    let high = high.or_else(|| number("exclusiveMaximum").map(|high| format!("below {high}")));
    [low, high].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns what a key means, and what its values mean where they say so.
fn meaning(schema: &Value) -> String {
    let mut text = sentence(schema["description"].as_str().unwrap_or_default());
    for choice in choices(schema) {
        if let (Some(value), Some(about)) = (choice.get("const"), choice["description"].as_str()) {
            _ = write!(text, " `{value}`: {}", sentence(about));
        }
    }
    text.trim().into()
}

fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase().to_string()).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

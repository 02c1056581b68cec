//! What Hugging Face `datasets` writes into a schema: the names of classes.

use arrow_schema::Schema;
use serde_json::Value;

/// Largest description that is read, in bytes.
const LARGEST: usize = 4 << 20;
/// Most classes.
const MOST: usize = 100_000;

/// A column of classes: its name and those of the classes, in the order of their numbers.
pub type ClassLabel = (String, Vec<String>);

/// Returns the columns of classes that the schema describes.
pub fn class_labels(schema: &Schema) -> Vec<ClassLabel> {
    let described = schema.metadata.get("huggingface").filter(|text| text.len() <= LARGEST);
    let described = described.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let features = described.as_ref().and_then(|described| described["info"]["features"].as_object());
    let labels = features.into_iter().flatten().filter_map(|(column, feature)| {
        let names = feature["names"].as_array().filter(|_| feature["_type"] == "ClassLabel")?;
        let names: Option<Vec<String>> =
            names.iter().take(MOST).map(|name| name.as_str().map(String::from)).collect();
        Some((column.clone(), names?))
    });
    labels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Fields;
    use std::collections::HashMap;

    #[test]
    fn names_of_classes_in_their_order() {
        let schema = |text: &str| {
            let metadata = HashMap::from([("huggingface".to_string(), text.to_string())]);
            Schema::new_with_metadata(Fields::empty(), metadata)
        };
        let text = r#"{"info": {"features": {"image": {"_type": "Image"}, "label":
            {"names": ["cat", "ant"], "_type": "ClassLabel"}}}}"#;
        let found = [("label".to_string(), vec!["cat".to_string(), "ant".to_string()])];
        assert_eq!(class_labels(&schema(text)), found);
        for other in ["", "[]", "{\"info\": 7}", r#"{"info": {"features": {"label": {"names": [1]}}}}"#] {
            assert_eq!(class_labels(&schema(other)), []);
        }
    }
}

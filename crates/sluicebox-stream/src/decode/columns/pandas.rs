//! What pandas writes into a schema: which columns are its index.

use arrow_schema::Schema;
use serde_json::Value;

/// Largest description that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// Returns the names of the columns that are the index of a table: those without a name of their own, and those that
/// the schema describes as such.
pub fn index(schema: &Schema) -> Vec<String> {
    let described = schema.metadata.get("pandas").filter(|text| text.len() <= LARGEST);
    let described = described.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let named = described.as_ref().and_then(|described| described["index_columns"].as_array());
    // An index that only counts is an object, and no column.
    let named = named.into_iter().flatten().filter_map(|column| column.as_str().map(String::from));
    let unnamed = schema.fields().iter().filter(|field| field.name().starts_with("__index_level_"));
    named.chain(unnamed.map(|field| field.name().clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};
    use std::collections::HashMap;

    #[test]
    fn the_columns_of_the_index() {
        let schema = |text: &str| {
            let metadata = HashMap::from([("pandas".to_string(), text.to_string())]);
            let fields = ["x", "k", "__index_level_1__"].map(|name| Field::new(name, DataType::Int64, true));
            Schema::new_with_metadata(fields.to_vec(), metadata)
        };
        let text = r#"{"index_columns": ["k", {"kind": "range", "start": 0}], "columns": []}"#;
        assert_eq!(index(&schema(text)), ["k", "__index_level_1__"]);
        for other in ["", "[]", "{\"index_columns\": 7}"] {
            assert_eq!(index(&schema(other)), ["__index_level_1__"]);
        }
    }
}

//! What Arrow says of a column of tensors: the sizes of each.

use arrow_schema::Field;
use serde_json::Value;

/// Name of the type.
const NAME: &str = "arrow.fixed_shape_tensor";
/// Most axes.
const MOST: usize = 3;

/// Returns the sizes of the tensors in a column, if it holds tensors; the error says why they cannot be read.
pub fn sizes(field: &Field) -> Result<Option<Vec<usize>>, String> {
    let said = |key: &str| field.metadata().get(key).map(String::as_str);
    if said("ARROW:extension:name") != Some(NAME) {
        return Ok(None);
    }
    let name = field.name();
    let described =
        said("ARROW:extension:metadata").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let numbers = |key: &str| {
        let numbers = described.as_ref()?.get(key)?.as_array()?.iter();
        numbers.map(|number| usize::try_from(number.as_u64()?).ok()).collect::<Option<Vec<usize>>>()
    };
    let sizes = numbers("shape").ok_or_else(|| format!("column `{name}` holds tensors of unknown shape"))?;
    if numbers("permutation").is_some_and(|order| !order.into_iter().eq(0..sizes.len())) {
        return Err(format!(
            "column `{name}` holds tensors with their axes permuted; store them in the order of the axes"
        ));
    }
    match sizes.len() {
        1..=MOST => Ok(Some(sizes)),
        axes => Err(format!("column `{name}` holds tensors of {axes} axes; from 1 to {MOST} are read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::DataType;

    #[test]
    fn sizes_are_those_of_the_type() {
        let read = |name: &str, metadata: &str| {
            let metadata = [("ARROW:extension:name", name), ("ARROW:extension:metadata", metadata)];
            let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
            let inner = Field::new("item", DataType::Float32, true).into();
            sizes(
                &Field::new("v", DataType::FixedSizeList(inner, 6), true)
                    .with_metadata(std::collections::HashMap::from(metadata)),
            )
        };
        assert_eq!(read(NAME, r#"{"shape":[2,3]}"#), Ok(Some(vec![2, 3])));
        assert_eq!(read(NAME, r#"{"shape":[2,3],"permutation":[0,1]}"#), Ok(Some(vec![2, 3])));
        assert_eq!(read("arrow.uuid", ""), Ok(None));
        for (metadata, says) in [
            (r#"{"shape":[2,3],"permutation":[1,0]}"#, "`v` holds tensors with their axes permuted"),
            (r#"{"shape":[1,1,2,3]}"#, "4 axes"),
            ("{", "unknown shape"),
        ] {
            assert!(read(NAME, metadata).unwrap_err().contains(says), "{metadata}");
        }
    }
}

//! What JSON says of a sample whose values are elsewhere: its class and its id, under the keys that the job names.

use crate::decode::json;
use crate::decode::keys::Keys;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sluicebox_core::sample_id::SampleId;
use std::fmt;
use std::sync::Once;

/// Keys that often hold the class.
const LIKE_A_CLASS: [&str; 7] = ["label", "class", "cls", "target", "category", "class_name", "y"];
/// The first class under another key is said; a log with one line per sample would help nobody.
static TOLD: Once = Once::new();

/// What was said.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// The class as written.
    pub class: Option<String>,
    /// The id.
    pub id: Option<SampleId>,
}

impl Said {
    /// Reads JSON. Of an object other keys are ignored, and an array, as of boxes, says nothing.
    pub fn of(text: &[u8], keys: &Keys) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
        let mut json = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
        let said = json.deserialize_any(Reading { keys });
        said.and_then(|said| json.end().map(|()| said)).map_err(|error| error.to_string())
    }
}

struct Reading<'k> {
    keys: &'k Keys,
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Said, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Said::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let (mut class, mut id, mut like) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let again = if key == self.keys.class {
                class.replace(map.next_value::<Class>()?.0).is_some()
            } else if key == self.keys.id {
                id.replace(map.next_value::<Option<SampleId>>()?).is_some()
            } else {
                map.next_value::<IgnoredAny>()?;
                let is_like = LIKE_A_CLASS.iter().any(|name| key.eq_ignore_ascii_case(name));
                like = like.or(is_like.then(|| key.clone()));
                false
            };
            if again {
                return Err(A::Error::custom(format!("`{key}` is given twice")));
            }
        }
        if let (None, Some(like)) = (&class, like) {
            TOLD.call_once(|| {
                tracing::warn!(
                    "the JSON of a sample has no `{}`, but `{like}`; if that is its class, set source.class_column = \
                     \"{like}\" (feed --class-column {like}). This is said once",
                    self.keys.class
                );
            });
        }
        Ok(Said { class: class.flatten(), id: id.flatten() })
    }
}

/// A class by name or number; null is none.
#[derive(Deserialize)]
struct Class(#[serde(deserialize_with = "json::class")] Option<String>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::table::{Column, Options};

    #[test]
    fn class_and_id_are_under_the_keys_of_the_job() {
        let options = Options { class: Some(Column::from("kind")), ..Options::default() };
        let named = Keys::without_features(&options);
        let read = |text: &str, keys: &Keys| Said::of(text.as_bytes(), keys);
        let said = |class: Option<&str>, id: Option<u64>| {
            Ok(Said { class: class.map(String::from), id: id.map(SampleId::number) })
        };
        let usual = Keys::default();
        assert_eq!(read(r#"{"label": "a", "id": 7, "boxes": [[1, 2]]}"#, &usual), said(Some("a"), Some(7)));
        assert_eq!(read(r#"{"kind": 2.0, "label": "a"}"#, &named), said(Some("2"), None));
        assert_eq!(read(r#"{"class": "a"}"#, &usual), said(None, None), "which is told");
        assert_eq!(read(r#"{"label": null}"#, &usual), said(None, None));
        for nothing in ["[]", "[1, \"b\"]", "[{\"label\": \"a\"}]", "{}"] {
            assert_eq!(read(nothing, &usual), said(None, None), "{nothing}");
        }
        for (bad, says) in [
            ("7", "expected an object"),
            ("\"a\"", "expected an object"),
            ("null", "expected an object"),
            ("", "EOF"),
            (r#"{"label": "a", "label": "b"}"#, "`label` is given twice"),
            (r#"{"label": true}"#, "expected a class"),
            (r#"{"label": "a"} {}"#, "trailing characters"),
        ] {
            assert!(read(bad, &usual).unwrap_err().contains(says), "{bad}");
        }
    }
}

//! American spellings of a job file's words: keys, section names and the values of `kind` may use them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Words with two spellings: American, and that of the job file.
const WORDS: [(&str, &str); 7] = [
    ("optimizer", "optimiser"),
    ("labeled", "labelled"),
    ("unlabeled", "unlabelled"),
    ("color", "colour"),
    ("regularize", "regularise"),
    ("normalize", "normalise"),
    ("standardize", "standardise"),
];

/// Tables whose keys are names that others gave: of columns, and of settings of Kafka.
const OF_OTHERS: [&str; 2] = ["categorical", "properties"];

/// Returns a key or a kind in the job file's own spelling: `labelled_first` for `labeled_first`.
pub fn canonical(name: &str) -> Cow<'_, str> {
    let word = |word| WORDS.iter().find(|(american, _)| *american == word).map_or(word, |(_, own)| *own);
    match WORDS.iter().any(|(american, _)| name.contains(american)) {
        true => name.split('_').map(word).collect::<Vec<_>>().join("_").into(),
        false => name.into(),
    }
}

/// A key that is given in both spellings: its first byte in the text, its dotted path and the reason.
pub type GivenTwice = (usize, String, String);

/// Respells the keys and kinds of a table and of all tables in it, but for those whose keys are names. A key that is given in
/// both spellings is added to `faults`; one of the two is dropped.
pub fn respell(table: &mut DeTable<'_>, path: &str, faults: &mut Vec<GivenTwice>) {
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    let keys: Vec<(String, usize)> =
        table.keys().map(|key| (key.get_ref().to_string(), key.span().start)).collect();
    for (key, byte) in keys {
        let own = canonical(&key).into_owned();
        if let Some(other) = written.insert(own.clone(), key.clone()) {
            let reason = format!("`{other}` and `{key}` are the same key; keep one of them");
            faults.push((byte, join(path, &own), reason));
        }
        if own != key
            && let Some((old, value)) = table.remove_entry(key.as_str())
        {
            table.insert(Spanned::new(old.span(), own.into()), value);
        }
    }
    for (key, value) in table.iter_mut() {
        let path = join(path, key.get_ref());
        match value.get_mut() {
            _ if OF_OTHERS.contains(&key.get_ref().as_ref()) => {}
            DeValue::String(kind) if key.get_ref() == "kind" => *kind = canonical(kind).into_owned().into(),
            value => respell_within(value, &path, faults),
        }
    }
}

/// Respells the tables in a value.
fn respell_within(value: &mut DeValue<'_>, path: &str, faults: &mut Vec<GivenTwice>) {
    match value {
        DeValue::Table(table) => respell(table, path, faults),
        DeValue::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                respell_within(item.get_mut(), &format!("{path}[{at}]"), faults);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::{Document, Settings};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Part {
        kind: String,
        #[serde(default)]
        labelled_first: u64,
    }

    impl Settings for Part {}

    /// Reads section `optimiser`, and the faults as text.
    fn read(text: &str, sets: &[&str]) -> (Option<Part>, Vec<String>) {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        let texts = Document::texts(text.into(), &sets).unwrap();
        let (mut document, mut root) = Document::parse("job.toml", &texts, &sets);
        let section = document.section(&mut root, "optimiser");
        let part = document.read(section);
        (part, document.faults().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn whole_words_of_a_name_are_respelled() {
        for (given, own) in [
            ("optimizer", "optimiser"),
            ("labeled_first", "labelled_first"),
            ("unlabeled_weight", "unlabelled_weight"),
            ("color", "colour"),
            ("colors", "colors"),
            ("kind", "kind"),
        ] {
            assert_eq!(canonical(given), own);
        }
    }

    #[test]
    fn both_spellings_name_one_key_at_any_depth_and_in_a_set() {
        let expected = Part { kind: "colour".into(), labelled_first: 7 };
        for (text, sets) in [
            ("[optimizer]\nkind = \"color\"\nlabeled_first = 7", &[][..]),
            ("optimiser = { kind = \"colour\", labeled_first = 7 }", &[]),
            ("[optimiser]\nkind = \"color\"\nlabelled_first = 1", &["optimizer.labeled_first=7"]),
            ("", &["optimizer.kind=color", "optimiser.labelled_first=7"]),
        ] {
            let (part, faults) = read(text, sets);
            assert_eq!((part.as_ref(), faults), (Some(&expected), vec![]), "{text} {sets:?}");
        }
    }

    #[test]
    fn names_that_others_gave_stay_as_they_are() {
        let text = "categorical = { color = [\"red\"] }\ncolor = 1";
        let mut table = DeTable::parse(text).unwrap().into_inner();
        respell(&mut table, "", &mut Vec::new());
        let DeValue::Table(columns) = table["categorical"].get_ref() else { panic!() };
        assert!(columns.contains_key("color") && table.contains_key("colour"));
    }

    #[test]
    fn both_spellings_at_once_are_a_fault_that_names_both() {
        let text = "[optimiser]\nkind = \"a\"\nlabelled_first = 1\nlabeled_first = 2";
        let (_, faults) = read(text, &[]);
        let expected = "job.toml:3: optimiser.labelled_first: `labeled_first` and `labelled_first` are the same \
                        key; keep one of them";
        assert_eq!(faults, [expected]);
        let (_, faults) = read("[optimiser]\nkind = \"a\"\n[optimizer]\nkind = \"b\"", &[]);
        assert!(faults[0].contains("`optimiser` and `optimizer` are the same key"), "{faults:?}");
    }
}

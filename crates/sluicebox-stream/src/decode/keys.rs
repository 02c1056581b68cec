//! Which key of an object is what: of JSON objects, and of records of Avro.
//!
//! A sample's values are in one array, under `values`, or each under the name of its feature. A name with a dot is
//! that of a key within an object: `place.x` is 3 in `{"place": {"x": 3}}`.

use crate::decode::missing::is_missing;
use crate::decode::table::{Column, DECLARE, Encoding, Given, Options};
use sluicebox_core::config::document::{shortened, unknown};
use sluicebox_core::sample::Format;
use std::collections::HashMap;

/// Names that tables use for a class; as keys they must be named.
const CLASS_NAMES: [&str; 3] = ["class", "target", "y"];
/// Most keys that a message lists.
const MOST_LISTED: usize = 30;

/// Meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// All values, as an array.
    Values,
    /// All values, as base64 of their bytes.
    Base64,
    /// The id.
    Id,
    /// The class.
    Class,
    /// The feature with this index.
    Feature(usize),
    /// An object with further keys, by the index of its name.
    Group(usize),
    /// Nothing: it is left out.
    Ignored,
}

/// Keys of an object that is a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Names of the features, in the order of the values; empty if they have none.
    pub features: Vec<String>,
    /// How each of these becomes values.
    pub encodings: Vec<Encoding>,
    /// Whether a feature may be missing.
    pub may_miss: bool,
    /// Texts that stand for a missing feature or class.
    pub missing_markers: Vec<String>,
    /// Key of the id.
    pub id: String,
    /// Key of the class.
    pub class: String,
    groups: Vec<String>,
    meanings: HashMap<String, Meaning>,
}

impl Default for Keys {
    /// Returns the keys of samples whose features have no names.
    fn default() -> Self {
        Self::new(Vec::new(), "label".into(), "id".into(), &Options::default())
    }
}

impl Keys {
    fn new(features: Vec<String>, class: String, id: String, options: &Options) -> Self {
        let ignored = &names(&options.ignore);
        // The first meaning of a name holds: a feature may be called `values`, and `id` may be ignored.
        let named = features.iter().enumerate().map(|(at, name)| (name, Meaning::Feature(at)));
        let left_out = ignored.iter().map(|name| (name, Meaning::Ignored));
        let mut meanings = HashMap::new();
        for (name, meaning) in named.chain(left_out).chain([(&class, Meaning::Class), (&id, Meaning::Id)]) {
            meanings.entry(name.clone()).or_insert(meaning);
        }
        let mut groups: Vec<String> = Vec::new();
        for name in features.iter().chain(ignored).chain([&class, &id]) {
            for (dot, _) in name.match_indices('.') {
                if !meanings.contains_key(&name[..dot]) {
                    meanings.insert(name[..dot].into(), Meaning::Group(groups.len()));
                    groups.push(name[..dot].into());
                }
            }
        }
        for (name, meaning) in [("values", Meaning::Values), ("base64", Meaning::Base64)] {
            meanings.entry(name.into()).or_insert(meaning);
        }
        let encodings = vec![Encoding::Number; features.len()];
        let (may_miss, missing_markers) = (!options.missing.is_drop(), options.missing_markers.clone());
        Self { features, encodings, may_miss, missing_markers, id, class, groups, meanings }
    }

    /// Returns the keys that options name of class and id, and none of features.
    pub fn without_features(options: &Options) -> Self {
        Self::new(Vec::new(), key(&options.class, "label"), key(&options.id, "id"), options)
    }

    /// Returns the keys that options name. Columns by place say nothing of objects, except that features by place
    /// leave those without names; the error says which option does not suit samples of `format`.
    pub fn of(options: &Options, format: &Format) -> Result<Self, String> {
        let mut features = names(&options.features);
        if features.len() < options.features.len() {
            features.clear();
        }
        let mut keys = Self::new(features, key(&options.class, "label"), key(&options.id, "id"), options);
        if keys.features.is_empty() {
            return Ok(keys);
        }
        for (column, categories) in options.categorical.declared(Some(&keys.features)) {
            let place = column.find(keys.features.len(), Some(&keys.features));
            let place = place.map_err(|_| {
                format!("column {column} is categorical, but source.features does not name it")
            })?;
            keys.encodings[place] = Encoding::declared(categories);
        }
        let (count, values) = (keys.features.len(), format.shape.len());
        match keys.encodings.iter().map(Encoding::width).sum::<usize>() {
            found if found == values => Ok(keys),
            found if found == count => Err(format!(
                "source.features names {count} features, but a sample has {values} values (source.shape)"
            )),
            found => Err(format!(
                "source.features names {count} features, which with their categories are {found} values, but a sample \
                 has {values} (source.shape)"
            )),
        }
    }

    /// Returns the fault of options by which all samples are read as objects, if they have one.
    pub fn faults(options: &Options, format: &Format) -> Option<(&'static str, String)> {
        let place = options.features.iter().find(|column| matches!(column, Column::Place(_)));
        match place {
            Some(place) => Some(("features", format!("{place} is a place: keys have names only"))),
            None if options.features.is_empty() && !options.categorical.is_empty() => {
                Some(("categorical", "source.features must name the features, too".into()))
            }
            None => Self::of(options, format).err().map(|reason| ("features", reason)),
        }
    }

    /// Returns what a key means, of which `path` is the name with that of the objects around it.
    pub fn meaning(&self, path: &str) -> Result<Meaning, String> {
        self.meanings.get(path).copied().ok_or_else(|| self.unknown(path))
    }

    /// Returns what the text under the key of a feature stands for.
    pub fn text(&self, feature: usize, text: &str) -> Result<Given, String> {
        let name = &self.features[feature];
        match &self.encodings[feature] {
            _ if is_missing(&self.missing_markers, text.as_bytes()) => Ok(Given::Missing),
            Encoding::Number => {
                Err(format!("`{name}` is the text {:?} where a number should be; {DECLARE}", shortened(text)))
            }
            encoding => encoding.category(text, format_args!("`{name}`")),
        }
    }

    /// Returns the name of a key within an object.
    pub fn within(&self, group: Option<usize>, key: &str) -> String {
        group.map_or_else(|| key.to_string(), |group| format!("{}.{key}", self.groups[group]))
    }

    fn unknown(&self, path: &str) -> String {
        let known: Vec<&str> = match self.features.is_empty() {
            true => vec!["values", "base64", &self.id, &self.class],
            false => self.features.iter().map(String::as_str).chain([&*self.id, &*self.class]).collect(),
        };
        let told = match known.len() {
            0..=MOST_LISTED => unknown("key", path, &known),
            count => format!("unknown key `{}`: it is none of the {count} known ones", shortened(path)),
        };
        let class = CLASS_NAMES.contains(&path);
        match (class, self.features.is_empty()) {
            (true, _) => format!("{told}; if it is the class, set source.class_column = \"{path}\""),
            (false, true) => format!(
                "{told}; to give features by name, set source.features = [\"NAME\", …], and source.ignore for other keys"
            ),
            (false, false) => format!("{told}; source.ignore = [\"NAME\"] leaves keys out"),
        }
    }
}

fn key(column: &Option<Column>, usual: &str) -> String {
    column.as_ref().and_then(name).unwrap_or_else(|| usual.to_string())
}

fn name(column: &Column) -> Option<String> {
    match column {
        Column::Name(name) => Some(name.clone()),
        Column::Place(_) => None,
    }
}

fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    #[test]
    fn a_name_with_a_dot_is_of_a_key_within_an_object() {
        let format =
            Format { shape: Shape::Vector { features: 3 }, dtype: Dtype::F32, scale: 1.0, classes: vec![] };
        let columns = |names: &[&str]| names.iter().map(|name| Column::from(*name)).collect::<Vec<_>>();
        let options = Options {
            features: columns(&["a.x", "a.b.y", "values"]),
            class: Some("target".into()),
            ignore: columns(&["a.z", "when"]),
            ..Options::default()
        };
        let keys = Keys::of(&options, &format).unwrap();
        assert_eq!(
            (keys.meaning("a"), keys.meaning("a.x")),
            (Ok(Meaning::Group(0)), Ok(Meaning::Feature(0)))
        );
        assert_eq!(keys.meaning(&keys.within(Some(1), "y")), Ok(Meaning::Feature(1)));
        assert_eq!(keys.meaning("values"), Ok(Meaning::Feature(2)));
        assert_eq!(
            ["target", "id", "a.z", "when"].map(|key| keys.meaning(key).unwrap()),
            [Meaning::Class, Meaning::Id, Meaning::Ignored, Meaning::Ignored]
        );
        assert!(keys.meaning("label").unwrap_err().contains("source.ignore"));
        let fewer = Format { shape: Shape::Vector { features: 2 }, ..format.clone() };
        assert!(Keys::of(&options, &fewer).unwrap_err().contains("names 3 features, but a sample has 2"));
        let both = Options { features: columns(&["a.x", "a", "b"]), ..Options::default() };
        assert_eq!(Keys::of(&both, &format).unwrap().meaning("a"), Ok(Meaning::Feature(1)));
        let by_place = Options { features: vec![Column::Place(0); 3], ..options };
        assert!(Keys::of(&by_place, &format).unwrap().features.is_empty());
    }
}

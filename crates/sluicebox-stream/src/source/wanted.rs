//! How many samples of a set are labelled at the start.

use serde::{Deserialize, Serialize};

/// The option `labelled`: so many samples in all, or all whose class is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", expecting = "this must be a number of samples, or \"all\"")]
pub enum InAll {
    /// Every sample whose class is known: the set is used as it is labelled.
    All,
    /// So many, of the classes as they come.
    #[serde(untagged)]
    Count(usize),
}

impl InAll {
    /// Returns the fault of the option `labelled`, if there is one.
    pub fn fault(given: Option<InAll>) -> Option<(&'static str, String)> {
        (given == Some(InAll::Count(0))).then(|| ("labelled", "0 is too few: it must be 1 or more".into()))
    }
}

/// How many samples are labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// So many of each class, or as many as a class has: `labelled_per_class`.
    PerClass(usize),
    /// So many in all, of the classes as they come, or all: `labelled`.
    InAll(InAll),
}

impl Wanted {
    /// Returns what the two options of a source ask for: `labelled` takes the place of `labelled_per_class`.
    pub fn new(per_class: usize, in_all: Option<InAll>) -> Self {
        in_all.map_or(Wanted::PerClass(per_class), Wanted::InAll)
    }

    /// Returns whether one more sample of a class is wanted, of which there are `of_class` among `all`.
    pub fn wants(self, of_class: usize, all: usize) -> bool {
        match self {
            Wanted::PerClass(wanted) => of_class < wanted,
            Wanted::InAll(InAll::Count(wanted)) => all < wanted,
            Wanted::InAll(InAll::All) => true,
        }
    }

    /// Returns what is short in a set where all of the samples that were `found` of each class are labelled.
    pub fn shortage(self, found: &[usize], classes: &[String]) -> Option<String> {
        let all: usize = found.iter().sum();
        match self {
            Wanted::PerClass(wanted) => {
                let mut short = found.iter().zip(classes).filter(|(found, _)| **found < wanted);
                let (found, class) = short.next()?;
                let others = match short.count() {
                    0 => String::new(),
                    more => format!(" ({more} other classes have too few as well)"),
                };
                Some(format!(
                    "has {found} samples of class {class}{others}, but source.labelled_per_class is {wanted}"
                ))
            }
            Wanted::InAll(InAll::Count(wanted)) => (all < wanted)
                .then(|| format!("has {all} samples of a known class, but source.labelled is {wanted}")),
            Wanted::InAll(InAll::All) => {
                let missing = found.iter().position(|found| *found == 0)?;
                Some(format!("has no sample of class {}", classes[missing]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_all() {
        let read = |text: &str| {
            let table: Result<std::collections::BTreeMap<String, InAll>, _> = toml::from_str(text);
            table.map(|table| table["labelled"]).map_err(|error| error.to_string())
        };
        assert_eq!(read("labelled = 500"), Ok(InAll::Count(500)));
        assert_eq!(read("labelled = \"all\""), Ok(InAll::All));
        assert!(read("labelled = \"some\"").unwrap_err().contains("a number of samples, or \"all\""));
        assert_eq!(toml::Value::try_from(InAll::All).unwrap().as_str(), Some("all"));
        assert!(InAll::fault(Some(InAll::Count(0))).is_some() && InAll::fault(None).is_none());
    }

    #[test]
    fn what_is_short_is_told() {
        let classes = ["ant", "bee", "cat"].map(String::from);
        let short = |wanted: Wanted, found: [usize; 3]| wanted.shortage(&found, &classes);
        let few = short(Wanted::PerClass(5), [5, 3, 0]).unwrap();
        assert!(few.starts_with("has 3 samples of class bee (1 other"), "{few}");
        assert_eq!(short(Wanted::PerClass(3), [5, 3, 3]), None);
        assert!(short(Wanted::InAll(InAll::All), [5, 3, 0]).unwrap().contains("no sample of class cat"));
        assert_eq!(short(Wanted::InAll(InAll::Count(8)), [5, 3, 0]), None);
    }
}

//! Names of classes that were found in the data: their order, how the log shows them, and what is odd about them.

use std::collections::BTreeMap;
use std::path::Path;

/// Most names that are shown.
const MOST_SHOWN: usize = 20;
/// Most odd names that are told of.
const MOST_ODD: usize = 5;
/// Names that often say that no class is known, in lower case.
const UNKNOWN: [&str; 12] = [
    "-1",
    "none",
    "nil",
    "unknown",
    "unlabeled",
    "unlabelled",
    "missing",
    "undefined",
    "-",
    "--",
    ".",
    "\\n",
];
/// Names that often are those of a column, in lower case.
const HEADERS: [&str; 3] = ["label", "class", "target"];

/// Puts names in numerical order if all are numbers, else in text order.
pub fn sort(names: &mut [String]) {
    names.sort();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(a.cmp(b)));
    }
}

/// Returns the number that a name is, if it is one.
pub fn number(name: &str) -> Option<f64> {
    name.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns the names as the log shows them: at most 20, and how many more there are.
pub fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_SHOWN);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

/// Warns of names that may be no classes, or two names of one.
pub fn warn_of_odd(path: &Path, names: &[String]) {
    for doubt in odd(names).into_iter().take(MOST_ODD) {
        tracing::warn!("{}: {doubt}", path.display());
    }
}

/// Says what is odd about the names.
fn odd(names: &[String]) -> Vec<String> {
    let mut alike: BTreeMap<String, &String> = BTreeMap::new();
    let mut doubts = Vec::new();
    for name in names {
        let lower = name.to_lowercase();
        if UNKNOWN.contains(&&*lower) {
            doubts.push(format!(
                "`{name}` is taken as a class; if it says that the class is not known, put it into \
                 source.missing_markers, or in a folder set source.classes to the others"
            ));
        }
        if HEADERS.contains(&&*lower) {
            doubts.push(format!(
                "`{name}` is taken as a class, but may be the name of its column: set source.header or source.classes"
            ));
        }
        let key = number(name).map_or(lower, |number| number.to_string());
        if let Some(other) = alike.insert(key, name) {
            doubts.push(format!(
                "the classes `{other}` and `{name}` are taken as two; if they are one, write them alike in the data"
            ));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_order_and_texts_in_theirs() {
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            sort(&mut names);
            names
        };
        assert_eq!(sorted(&["10", "9", "-1.5"]), ["-1.5", "9", "10"]);
        assert_eq!(sorted(&["10", "9", "b"]), ["10", "9", "b"]);
        let odd = |names: &[&str]| odd(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(odd(&["1", "10", "cat", "Dog"]), [""; 0]);
        for (names, says) in [
            (["None", "cat"], "`None` is taken as a class; if it says that the class is not known"),
            (["-1", "1"], "`-1` is taken as a class"),
            (["cat", "label"], "`label` is taken as a class, but may be the name of its column"),
            (["Cat", "cat"], "the classes `Cat` and `cat` are taken as two"),
            (["01", "1"], "the classes `01` and `1` are taken as two"),
        ] {
            let found = odd(&names);
            assert!(found.len() == 1 && found[0].starts_with(says), "{names:?}: {found:?}");
        }
        let many: Vec<String> = (0..22).map(|name| name.to_string()).collect();
        assert!(shown(&many).ends_with("18, 19 and 2 more") && shown(&many[..2]) == "0, 1");
    }
}

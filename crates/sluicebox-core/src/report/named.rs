//! Rows of a report: numbers with a name.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Numbers of one class, operator, worker, source, phase or reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Named<M> {
    /// Its name.
    pub name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub meters: M,
}

/// Makes names unique: two sources of kind `csv` become `csv` and `csv #2`.
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut distinct = Vec::new();
    let mut taken = HashSet::new();
    for name in names {
        let others = (2..).map(|times: u64| format!("{name} #{times}"));
        let free = std::iter::once(name.to_string()).chain(others).find(|name| taken.insert(name.clone()));
        distinct.extend(free);
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_name_is_told_apart() {
        assert_eq!(distinct(["csv", "tcp", "csv"].into_iter()), ["csv", "tcp", "csv #2"]);
    }
}

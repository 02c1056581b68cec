//! Columns of categories, as a job declares them: a list of columns whose categories the file is read for, or each
//! column with its categories, or with a number of values that they are hashed into.
//!
//! ```toml
//! categorical = ["protocol"]
//! categorical = { protocol = ["icmp", "tcp", "udp"], service = 32 }
//! ```

use crate::decode::table::column::Column;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Largest number of values that a column may become.
pub const MOST_VALUES: usize = 10_000;

/// Columns whose values are categories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Categorical {
    /// These columns, whose categories are found.
    Found(Vec<Column>),
    /// These columns, by name or place, with their categories.
    Declared(BTreeMap<String, Categories>),
}

/// Categories of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Categories {
    /// These; each is a value of its own.
    Named(Vec<String>),
    /// Whatever comes, hashed into so many values.
    Hashed(usize),
}

impl Default for Categorical {
    fn default() -> Self {
        Categorical::Found(Vec::new())
    }
}

impl Categories {
    /// Returns the number of values that they become.
    pub fn width(&self) -> usize {
        match self {
            Categories::Named(names) => names.len(),
            Categories::Hashed(width) => *width,
        }
    }

    fn fault(&self) -> Option<String> {
        let width = self.width();
        if !(1..=MOST_VALUES).contains(&width) {
            return Some(format!("{width} values; a column becomes from 1 to {MOST_VALUES}"));
        }
        let Categories::Named(names) = self else { return None };
        let mut known = BTreeSet::new();
        let twice = names.iter().find(|name| !known.insert(name.as_str()))?;
        Some(format!("the category `{twice}` is named twice"))
    }
}

impl Categorical {
    /// Returns whether no column is named.
    pub fn is_empty(&self) -> bool {
        match self {
            Categorical::Found(columns) => columns.is_empty(),
            Categorical::Declared(columns) => columns.is_empty(),
        }
    }

    /// Returns the columns whose categories are to be found.
    pub fn to_find(&self) -> &[Column] {
        match self {
            Categorical::Found(columns) => columns,
            Categorical::Declared(_) => &[],
        }
    }

    /// Returns the columns that are declared with their categories: by name where one of `names` is that, else by place.
    pub fn declared<'s>(
        &'s self,
        names: Option<&'s [String]>,
    ) -> impl Iterator<Item = (Column, &'s Categories)> {
        let columns = match self {
            Categorical::Found(_) => None,
            Categorical::Declared(columns) => Some(columns.iter()),
        };
        columns.into_iter().flatten().map(move |(name, categories)| {
            let is_name = names.is_some_and(|names| names.contains(name));
            (if is_name { Column::Name(name.clone()) } else { Column::from(name.as_str()) }, categories)
        })
    }

    /// Returns the number of values that the declared columns become, beyond one each.
    pub fn more(&self) -> usize {
        self.declared(None).map(|(_, categories)| categories.width().saturating_sub(1)).sum()
    }

    /// Returns what is wrong with the declared columns.
    pub fn fault(&self) -> Option<String> {
        self.declared(None)
            .find_map(|(column, categories)| Some(format!("column {column}: {}", categories.fault()?)))
    }

    /// Returns the fault of columns whose categories would have to be found in a stream that cannot be read before it
    /// begins.
    pub fn not_found(&self) -> Option<(&'static str, String)> {
        let column = self.to_find().first()?;
        let name = column.to_string();
        let name = name.trim_matches('`');
        Some((
            "categorical",
            format!(
                "the stream cannot be read before it begins to find the categories of column {column}: list them, \
                 categorical = {{ \"{name}\" = [\"…\", \"…\"] }}, or give the number of values to hash them into, \
                 categorical = {{ \"{name}\" = 32 }}"
            ),
        ))
    }
}

impl<'de> Deserialize<'de> for Categorical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrTable)
    }
}

struct ListOrTable;

impl<'de> Visitor<'de> for ListOrTable {
    type Value = Categorical;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of columns, or a table of columns with their categories")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Categorical, A::Error> {
        let mut columns = Vec::new();
        while let Some(column) = items.next_element()? {
            columns.push(column);
        }
        Ok(Categorical::Found(columns))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Categorical, A::Error> {
        let mut columns = BTreeMap::new();
        while let Some((name, categories)) = items.next_entry()? {
            columns.insert(name, categories);
        }
        Ok(Categorical::Declared(columns))
    }
}

impl<'de> Deserialize<'de> for Categories {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesOrCount)
    }
}

struct NamesOrCount;

impl<'de> Visitor<'de> for NamesOrCount {
    type Value = Categories;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of categories, or the number of values to hash them into")
    }

    fn visit_i64<E: Error>(self, width: i64) -> Result<Categories, E> {
        Ok(Categories::Hashed(usize::try_from(width).unwrap_or_default()))
    }

    fn visit_u64<E: Error>(self, width: u64) -> Result<Categories, E> {
        Ok(Categories::Hashed(usize::try_from(width).unwrap_or(usize::MAX)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Categories, A::Error> {
        let mut names = Vec::new();
        while let Some(Category(name)) = items.next_element()? {
            names.push(name);
        }
        Ok(Categories::Named(names))
    }
}

/// A category: a text, or a number or a boolean as one.
struct Category(String);

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneCategory).map(Category)
    }
}

struct OneCategory;

impl Visitor<'_> for OneCategory {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a category: a text, a number, true or false")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.trim().to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<String, E> {
        Ok(yes.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Categorical {
        #[derive(serde::Deserialize)]
        struct Options {
            categorical: Categorical,
        }
        toml::from_str::<Options>(text).unwrap().categorical
    }

    #[test]
    fn columns_with_and_without_their_categories() {
        let found = of("categorical = [\"proto\", 3]");
        assert_eq!((found.to_find(), found.more()), (&["proto".into(), Column::Place(3)][..], 0));
        assert!(found.not_found().unwrap().1.contains("{ \"proto\" = [\"…\", \"…\"] }"));
        let declared = of("categorical = { proto = [\"tcp\", \" udp \", 6, true], 3 = 32 }");
        let named = Categories::Named(["tcp", "udp", "6", "true"].map(String::from).to_vec());
        let columns: Vec<_> = declared.declared(None).collect();
        assert_eq!(columns, [(Column::Place(3), &Categories::Hashed(32)), ("proto".into(), &named)]);
        assert_eq!((declared.more(), declared.fault(), declared.not_found()), (34, None, None));
        let names = ["3".to_string()];
        assert_eq!(declared.declared(Some(&names)).next().unwrap().0, Column::Name("3".into()));
        assert_eq!(of(&toml::to_string(&BTreeMap::from([("categorical", &declared)])).unwrap()), declared);
        assert!(Categorical::default().is_empty() && !found.is_empty());
    }

    #[test]
    fn what_is_wrong_with_categories_is_told() {
        for (text, says) in [
            ("categorical = { proto = [] }", "column `proto`: 0 values"),
            ("categorical = { proto = -3 }", "column `proto`: 0 values"),
            ("categorical = { 1 = 10001 }", "column 1: 10001 values; a column becomes from 1 to 10000"),
            ("categorical = { proto = [\"a\", \"b\", \"a\"] }", "the category `a` is named twice"),
        ] {
            let fault = of(text).fault().unwrap();
            assert!(fault.contains(says), "{fault}");
        }
    }
}

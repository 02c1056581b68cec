//! A column of a table, as a job names it: by its name in the header, or by its place.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use sluicebox_core::config::document::unknown;
use std::fmt;

/// Most columns that a message lists.
const MOST_LISTED: usize = 30;

/// A column: its name, or its place from 0; a negative place counts from the end.
///
/// ```
/// use sluicebox_stream::decode::table::Column;
///
/// let names = ["a", "b", "class"].map(String::from);
/// assert_eq!(Column::from("class").find(3, Some(&names)), Ok(2));
/// assert_eq!(Column::from("-3").find(3, None), Ok(0));
/// assert!(Column::from("c").find(3, Some(&names)).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, schemars::JsonSchema)]
#[schemars(untagged)]
pub enum Column {
    /// Its name in the header.
    Name(String),
    /// Its place.
    Place(i64),
}

impl Column {
    /// Returns the place of the column in rows of `width` columns with these names.
    pub fn find(&self, width: usize, names: Option<&[String]>) -> Result<usize, String> {
        match self {
            Column::Place(place) => {
                let from_start = if *place < 0 { place.saturating_add(width as i64) } else { *place };
                let found = usize::try_from(from_start).ok().filter(|place| *place < width);
                found.ok_or_else(|| format!("there is no column {place}: a row has {width} columns"))
            }
            Column::Name(name) => {
                let names = names.ok_or_else(|| {
                    format!(
                        "there is no header with a column `{name}`; give the column's place, from 0, or set \
                         source.header = true"
                    )
                })?;
                let same: Vec<usize> = (0..names.len()).filter(|at| names[*at] == *name).collect();
                let like = || (0..names.len()).filter(|at| names[*at].eq_ignore_ascii_case(name)).collect();
                let found: Vec<usize> = if same.is_empty() { like() } else { same };
                match found[..] {
                    [one] => Ok(one),
                    [] if names.len() > MOST_LISTED => {
                        let count = names.len();
                        Err(format!("unknown column `{name}`: it is none of the {count} in the header"))
                    }
                    [] => {
                        let known: Vec<&str> = names.iter().map(String::as_str).collect();
                        Err(unknown("column", name, &known))
                    }
                    _ => Err(format!("{} columns are called `{name}`; give the place, from 0", found.len())),
                }
            }
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Name(name) => write!(f, "`{name}`"),
            Column::Place(place) => place.fmt(f),
        }
    }
}

impl From<&str> for Column {
    /// Takes a whole number as a place and everything else as a name, as on a command line.
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Column::Name(text.into()), Column::Place)
    }
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Column::Name(name) => serializer.serialize_str(name),
            Column::Place(place) => serializer.serialize_i64(*place),
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl Visitor<'_> for Either {
    type Value = Column;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column: its name in the header, or its place from 0 (negative from the end)")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Column, E> {
        Ok(Column::Name(name.into()))
    }

    fn visit_i64<E: Error>(self, place: i64) -> Result<Column, E> {
        Ok(Column::Place(place))
    }

    fn visit_u64<E: Error>(self, place: u64) -> Result<Column, E> {
        i64::try_from(place).map(Column::Place).map_err(E::custom)
    }
}

//! How a column becomes values, of a table of text, of records by name or of typed columns: numbers as they are,
//! categories as zeros and a one.

use crate::decode::class_name::{named, shown};
use crate::decode::table::categorical::Categories;
use crate::decode::table::number::number;
use crate::decode::table::options::Options;
use sluicebox_core::config::document::shortened;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// Categories that a message lists.
const TOLD: usize = 10;
/// What to do where a text is no number.
pub const DECLARE: &str = "if it is a category, name the column in source.categorical";

/// What a record holds of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given {
    /// Nothing.
    Missing,
    /// A number.
    Number(f64),
    /// A category, by the place of its value.
    Category(usize),
}

/// How a column becomes values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// As the number that it holds.
    Number,
    /// As one value for each category: 1 for that of the row, 0 for the others.
    OneHot(Vec<String>),
    /// As so many values, of which the hash of the category chooses one to be 1.
    Hashed(usize),
}

impl Encoding {
    /// Returns the encoding of a column with these categories: one-hot if they are at most `most`.
    pub fn of(categories: Vec<String>, most: usize) -> Self {
        if categories.len() <= most { Encoding::OneHot(categories) } else { Encoding::Hashed(most) }
    }

    /// Returns the encoding of a column with declared categories.
    pub fn declared(categories: &Categories) -> Self {
        match categories {
            Categories::Named(names) => Encoding::OneHot(names.clone()),
            Categories::Hashed(width) => Encoding::Hashed(*width),
        }
    }

    /// Returns the categories of the column, if it has some.
    pub fn categories(&self) -> Option<Categories> {
        match self {
            Encoding::Number => None,
            Encoding::OneHot(names) => Some(Categories::Named(names.clone())),
            Encoding::Hashed(width) => Some(Categories::Hashed(*width)),
        }
    }

    /// Returns the number of values.
    pub fn width(&self) -> usize {
        match self {
            Encoding::Number => 1,
            Encoding::OneHot(categories) => categories.len(),
            Encoding::Hashed(width) => *width,
        }
    }

    /// Returns what a number stands for in a column, which `column` names.
    pub fn number(&self, number: f64, column: impl fmt::Display) -> Result<Given, String> {
        match self {
            Encoding::Number => Ok(Given::Number(number)),
            _ => self.category(&number.to_string(), column),
        }
    }

    /// Returns what a whole number stands for; as a category it keeps all its digits.
    pub fn whole(&self, number: i128, column: impl fmt::Display) -> Result<Given, String> {
        match self {
            Encoding::Number => Ok(Given::Number(number as f64)),
            _ => self.category(&number.to_string(), column),
        }
    }

    /// Returns what true and false stand for: 1 and 0 among numbers, and their names among categories.
    pub fn boolean(&self, yes: bool, column: impl fmt::Display) -> Result<Given, String> {
        match self {
            Encoding::Number => Ok(Given::Number(f64::from(u8::from(yes)))),
            _ => self.category(if yes { "true" } else { "false" }, column),
        }
    }

    /// Returns what a text stands for that is not missing: a category.
    pub fn category(&self, text: &str, column: impl fmt::Display) -> Result<Given, String> {
        let text = text.trim();
        match self {
            Encoding::Number => {
                let mut reason = format!("`{}` in {column} is not a finite number", shortened(text));
                if text.parse::<f64>().is_err() {
                    reason += &format!("; {DECLARE}"); // not for infinity
                }
                Err(reason)
            }
            Encoding::OneHot(categories) => named(categories, text).map(Given::Category).ok_or_else(|| {
                let told: Vec<&str> = categories.iter().take(TOLD).map(String::as_str).collect();
                let more = if categories.len() > TOLD { ", …" } else { "" };
                let (text, count, told) = (shortened(text), categories.len(), told.join(", "));
                format!("`{text}` in {column} is none of its {count} categories ({told}{more})")
            }),
            Encoding::Hashed(width) => {
                Ok(Given::Category((xxh3_64(shown(text).as_bytes()) % *width as u64) as usize))
            }
        }
    }

    /// Returns what a field of a table of text stands for.
    pub fn field(&self, field: &[u8], column: impl fmt::Display, options: &Options) -> Result<Given, String> {
        if let (Encoding::Number, Some(value)) = (self, number(field, options.decimal)) {
            return Ok(Given::Number(value));
        }
        if options.is_missing(field) {
            return Ok(Given::Missing);
        }
        match (self, std::str::from_utf8(field)) {
            (_, Ok(text)) => self.category(text, column),
            (Encoding::Number, Err(_)) => self.category(&String::from_utf8_lossy(field), column),
            (_, Err(_)) => Err(not_utf8(column)),
        }
    }

    /// Appends values: NaN if they are missing.
    pub fn push(&self, given: Given, values: &mut Vec<f64>) {
        let first = values.len();
        match given {
            Given::Number(number) => values.push(number),
            Given::Missing => values.resize(first + self.width(), f64::NAN),
            Given::Category(place) => {
                values.resize(first + self.width(), 0.0);
                values[first + place] = 1.0;
            }
        }
    }
}

/// Says that a column holds text in another encoding.
pub fn not_utf8(column: impl fmt::Display) -> String {
    format!("the text in {column} is not UTF-8; set source.encoding = \"latin-1\" if it is that")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: &Encoding, field: &str) -> Result<Vec<f64>, String> {
        let mut values = Vec::new();
        encoding.push(encoding.field(field.as_bytes(), "column 3", &Options::default())?, &mut values);
        Ok(values)
    }

    #[test]
    fn numbers_categories_and_hashes() {
        let protocols = Encoding::of(vec!["icmp".into(), "tcp".into(), "udp".into()], 3);
        assert_eq!(read(&protocols, " tcp "), Ok(vec![0.0, 1.0, 0.0]));
        assert!(read(&protocols, "?").unwrap().iter().all(|value| value.is_nan()));
        let other = read(&protocols, "gre").unwrap_err();
        assert_eq!(other, "`gre` in column 3 is none of its 3 categories (icmp, tcp, udp)");
        let years = Encoding::of(vec!["2009".into(), "2010".into()], 9);
        assert_eq!(read(&years, "2010.0"), Ok(vec![0.0, 1.0]));
        assert_eq!(read(&Encoding::Number, "2.5"), Ok(vec![2.5]));
        let text = read(&Encoding::Number, "tcp").unwrap_err();
        assert_eq!(
            text,
            "`tcp` in column 3 is not a finite number; if it is a category, name the column in source.categorical"
        );
        let hashed = Encoding::of(vec!["a".into(), "b".into(), "c".into()], 2);
        let values = read(&hashed, "anything").unwrap();
        assert_eq!((values.len(), values.iter().sum::<f64>()), (2, 1.0));
        assert_eq!(read(&hashed, "anything"), Ok(values));
    }

    #[test]
    fn typed_values_are_categories_by_their_texts() {
        let codes = Encoding::declared(&Categories::Named(
            ["6", "17", "true", "9007199254740993"].map(String::from).to_vec(),
        ));
        assert_eq!(codes.number(17.0, "it"), Ok(Given::Category(1)));
        assert_eq!(codes.boolean(true, "it"), Ok(Given::Category(2)));
        assert_eq!(codes.whole(9_007_199_254_740_993, "it"), Ok(Given::Category(3)));
        assert!(codes.number(6.5, "`code`").unwrap_err().starts_with("`6.5` in `code` is none of its 4"));
        assert_eq!(Encoding::Number.boolean(true, "it"), Ok(Given::Number(1.0)));
        assert_eq!(Encoding::declared(&Categories::Hashed(4)).width(), 4);
    }

    #[test]
    fn text_in_another_encoding_is_refused() {
        let categories = Encoding::OneHot(vec!["é".into()]);
        let error = categories.field(b"\xe9", "column 0", &Options::default()).unwrap_err();
        assert!(error.contains("column 0 is not UTF-8; set source.encoding = \"latin-1\""), "{error}");
    }
}

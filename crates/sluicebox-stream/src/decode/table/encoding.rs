//! How a column of a table becomes values: numbers as they are, categories as zeros and a one.

use crate::decode::api::named;
use crate::decode::table::number::number;
use crate::decode::table::options::Options;
use sluicebox_core::config::document::shortened;
use xxhash_rust::xxh3::xxh3_64;

/// Categories that a message lists.
const TOLD: usize = 10;

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

    /// Returns the number of values.
    pub fn width(&self) -> usize {
        match self {
            Encoding::Number => 1,
            Encoding::OneHot(categories) => categories.len(),
            Encoding::Hashed(width) => *width,
        }
    }

    /// Appends the values of a field of `column`, NaN if it is missing.
    pub fn push(
        &self,
        field: &[u8],
        column: usize,
        options: &Options,
        values: &mut Vec<f64>,
    ) -> Result<(), String> {
        if let (Encoding::Number, Some(value)) = (self, number(field, options.decimal)) {
            values.push(value);
            return Ok(());
        }
        if options.is_missing(field) {
            values.extend(std::iter::repeat_n(f64::NAN, self.width()));
            return Ok(());
        }
        let text = || std::str::from_utf8(field).map(str::trim).map_err(|_| not_utf8(column));
        let place = match self {
            Encoding::Number => {
                let text = String::from_utf8_lossy(field);
                return Err(format!("`{}` in column {column} is not a finite number", shortened(&text)));
            }
            Encoding::OneHot(categories) => named(categories, text()?).ok_or_else(|| {
                let told: Vec<&str> = categories.iter().take(TOLD).map(String::as_str).collect();
                let more = if categories.len() > TOLD { ", …" } else { "" };
                let field = String::from_utf8_lossy(field);
                let (field, count, told) = (shortened(field.trim()), categories.len(), told.join(", "));
                format!("`{field}` in column {column} is none of its {count} categories ({told}{more})")
            })?,
            Encoding::Hashed(width) => (xxh3_64(text()?.as_bytes()) % *width as u64) as usize,
        };
        let first = values.len();
        values.resize(first + self.width(), 0.0);
        values[first + place] = 1.0;
        Ok(())
    }
}

/// Says that a column holds text in another encoding.
pub fn not_utf8(column: usize) -> String {
    format!("the text in column {column} is not UTF-8; set source.encoding = \"latin-1\" if it is that")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoding: &Encoding, field: &str) -> Result<Vec<f64>, String> {
        let mut values = Vec::new();
        encoding.push(field.as_bytes(), 3, &Options::default(), &mut values).map(|()| values)
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
        assert!(read(&Encoding::Number, "tcp").unwrap_err().contains("is not a finite number"));
        let hashed = Encoding::of(vec!["a".into(), "b".into(), "c".into()], 2);
        let values = read(&hashed, "anything").unwrap();
        assert_eq!((values.len(), values.iter().sum::<f64>()), (2, 1.0));
        assert_eq!(read(&hashed, "anything"), Ok(values));
    }

    #[test]
    fn text_in_another_encoding_is_refused() {
        let mut values = Vec::new();
        let categories = Encoding::OneHot(vec!["é".into()]);
        let error = categories.push(b"\xe9", 0, &Options::default(), &mut values).unwrap_err();
        assert!(error.contains("source.encoding = \"latin-1\"") && values.is_empty(), "{error}");
    }
}

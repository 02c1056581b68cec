//! Columns of classes and ids: numbers, texts, and texts that are numbered in a dictionary.

use crate::decode::columns::numbers::Numbers;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sluicebox_core::sample_id::SampleId;
use std::borrow::Cow;

/// Maximum length of a class's name, in bytes.
const LONGEST_CLASS: usize = 256;

/// A column of names.
pub enum Names {
    /// Whole numbers.
    Numbers(Numbers),
    /// Truths, as 0 and 1.
    Truths(Numbers),
    /// Texts.
    Texts(ArrayRef),
    /// Names that are numbered.
    Dictionary(ArrayRef, Box<Names>),
    /// All are missing.
    Missing,
}

/// What two rows have in common that have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'n> {
    /// Nothing: it is missing.
    Missing,
    /// A whole number.
    Whole(i128),
    /// A text.
    Text(&'n str),
}

impl Names {
    /// Takes the names of a column; None if it holds none.
    pub fn of(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Null => Some(Names::Missing),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Names::Texts(array.clone())),
            DataType::Dictionary(_, inner) if !matches!(**inner, DataType::Dictionary(_, _)) => {
                let values = array.as_any_dictionary_opt()?.values();
                Some(Names::Dictionary(array.clone(), Box::new(Names::of(values)?)))
            }
            DataType::Boolean => Numbers::of(&**array).map(Names::Truths),
            _ => Numbers::of(&**array).map(Names::Numbers),
        }
    }

    /// Returns the text of a row, unless it is missing.
    fn text(array: &ArrayRef, row: usize) -> Option<&str> {
        if array.is_null(row) {
            return None;
        }
        match array.data_type() {
            DataType::Utf8 => array.as_string_opt::<i32>().map(|texts| texts.value(row)),
            DataType::LargeUtf8 => array.as_string_opt::<i64>().map(|texts| texts.value(row)),
            _ => array.as_string_view_opt().map(|texts| texts.value(row)),
        }
    }

    /// Returns the row of the dictionary that a row names, unless it is missing.
    fn entry(array: &ArrayRef, row: usize) -> Option<usize> {
        if array.is_null(row) {
            return None;
        }
        let keys = array.as_any_dictionary_opt()?.keys();
        usize::try_from(Numbers::of(keys)?.whole(row)?).ok()
    }

    /// Returns what a row has in common with others of the same name; None if it is a fraction.
    pub fn key(&self, row: usize) -> Option<Key<'_>> {
        match self {
            Names::Missing => Some(Key::Missing),
            Names::Numbers(numbers) | Names::Truths(numbers) if numbers.is_missing(row) => Some(Key::Missing),
            Names::Numbers(numbers) | Names::Truths(numbers) => numbers.whole(row).map(Key::Whole),
            Names::Texts(texts) => Some(Names::text(texts, row).map_or(Key::Missing, Key::Text)),
            Names::Dictionary(keys, names) => match Names::entry(keys, row) {
                None => Some(Key::Missing),
                Some(entry) => names.key(entry),
            },
        }
    }

    /// Returns what a row holds as a text, unless it is missing.
    pub fn text_of(&self, row: usize) -> Option<Cow<'_, str>> {
        match self {
            Names::Missing => None,
            Names::Numbers(numbers) | Names::Truths(numbers) => numbers.text(row).map(Cow::from),
            Names::Texts(texts) => Names::text(texts, row).map(Cow::from),
            Names::Dictionary(keys, names) => names.text_of(Names::entry(keys, row)?),
        }
    }

    /// Returns the class of a row as written, unless it is missing; `classes` names those that are numbers.
    pub fn class(&self, row: usize, classes: Option<&[String]>) -> Result<Option<String>, String> {
        let numbered = |number: String| match classes {
            None => Ok(number),
            Some(classes) => {
                let found = number.parse::<usize>().ok().and_then(|number| classes.get(number));
                let count = classes.len();
                found
                    .cloned()
                    .ok_or_else(|| format!("class {number}, but the file names only {count} classes"))
            }
        };
        match self {
            Names::Missing => Ok(None),
            Names::Numbers(numbers) | Names::Truths(numbers) => numbers.class(row)?.map(numbered).transpose(),
            Names::Texts(texts) => match Names::text(texts, row).map(str::trim) {
                Some(text) if text.len() > LONGEST_CLASS => {
                    let length = text.len();
                    Err(format!("a class name of {length} bytes; at most {LONGEST_CLASS} are taken"))
                }
                text => Ok(text.map(String::from)),
            },
            Names::Dictionary(keys, names) => match Names::entry(keys, row) {
                None => Ok(None),
                Some(entry) => names.class(entry, classes),
            },
        }
    }

    /// Returns the id of a row, unless it is missing.
    pub fn id(&self, row: usize) -> Result<Option<SampleId>, String> {
        match self {
            Names::Missing => Ok(None),
            Names::Numbers(numbers) | Names::Truths(numbers) => {
                numbers.id(row)?.map(|number| SampleId::plain(&number)).transpose()
            }
            Names::Texts(texts) => match Names::text(texts, row) {
                None | Some("") => Ok(None),
                Some(text) => SampleId::quoted(text).map(Some),
            },
            Names::Dictionary(keys, names) => match Names::entry(keys, row) {
                None => Ok(None),
                Some(entry) => names.id(entry),
            },
        }
    }
}

//! Columns of categories: texts, texts that are numbered in a dictionary, whole numbers and booleans.

use crate::decode::columns::batches::Batches;
use crate::decode::columns::guard::guarded;
use crate::decode::columns::names::Names;
use crate::decode::table::{Categories, Column, Encoding, Given, Options};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use sluicebox_core::sample::Values;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Categories of a column that are told apart; one more says that there are too many.
const MOST: usize = 10_000;
/// Longest category that is found, in bytes.
const LONGEST: usize = 1 << 10;

/// The categories of a column, as texts.
pub enum Texts {
    /// Booleans, which have names.
    Booleans(BooleanArray),
    /// Anything else that has names.
    Names(Names),
}

impl Texts {
    /// Takes the categories of a column; None if it holds none.
    pub fn of(array: &ArrayRef) -> Option<Self> {
        match array.as_boolean_opt() {
            Some(booleans) => Some(Texts::Booleans(booleans.clone())),
            None => Names::of(array).map(Texts::Names),
        }
    }

    /// Returns the text of a row, unless it is missing.
    fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match self {
            Texts::Booleans(booleans) => {
                booleans.is_valid(row).then(|| if booleans.value(row) { "true" } else { "false" }.into())
            }
            Texts::Names(names) => names.text_of(row),
        }
    }
}

/// A column of a batch that becomes a value for each category.
pub struct Encoded<'l> {
    /// Its categories.
    pub texts: Texts,
    /// How they become values.
    pub encoding: &'l Encoding,
    /// Name of the column.
    pub name: &'l str,
}

impl Encoded<'_> {
    fn given(&self, row: usize, options: &Options) -> Result<Given, String> {
        match self.texts.text(row) {
            Some(text) if !options.is_missing(text.as_bytes()) => {
                self.encoding.category(&text, format_args!("column `{}`", self.name))
            }
            _ => Ok(Given::Missing),
        }
    }

    /// Writes the categories of `rows` to their samples, of `width` values each, from value `at` on; calls `bad` for rows
    /// whose category is missing, if the options do not allow that, or is none of those that are known.
    pub fn fill(
        &self,
        rows: Range<usize>,
        samples: &mut Values,
        (at, width): (usize, usize),
        options: &Options,
        mut bad: impl FnMut(usize, String),
    ) {
        for row in rows {
            let first = row * width + at;
            match (self.given(row, options), &mut *samples) {
                (Ok(Given::Category(place)), Values::F32(values)) => values[first + place] = 1.0,
                (Ok(Given::Category(place)), Values::U8(values)) => values[first + place] = 1,
                (Ok(_), Values::F32(values)) if !options.missing.is_drop() => {
                    values[first..first + self.encoding.width()].fill(f32::NAN);
                }
                (Ok(_), _) => bad(row, format!("value {at} is missing")),
                (Err(reason), _) => bad(row, reason),
            }
        }
    }
}

/// Reads a file for the categories of columns.
pub fn found(mut batches: impl Batches, options: &Options) -> Result<BTreeMap<String, Categories>, String> {
    let schema = batches.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut columns = Vec::new();
    for column in options.categorical.to_find() {
        columns.push(column.find(names.len(), Some(&names))?);
    }
    columns.sort_unstable();
    columns.dedup();
    batches.project(&columns)?;
    let mut texts = vec![BTreeSet::new(); columns.len()];
    while let Some(batch) = batches.next()? {
        guarded(|| {
            for (at, texts) in texts.iter_mut().enumerate() {
                let name = &names[columns[at]];
                let array = batch.columns().get(at).ok_or("a part of the file has fewer columns")?;
                let column = Texts::of(array)
                    .ok_or_else(|| format!("column `{name}` holds {}: no categories", array.data_type()))?;
                for row in 0..batch.num_rows() {
                    let Some(text) = column.text(row) else { continue };
                    let text = text.trim();
                    if text.len() > LONGEST {
                        let length = text.len();
                        return Err(format!("column `{name}` holds a text of {length} bytes: no category"));
                    }
                    if texts.len() <= MOST && !options.is_missing(text.as_bytes()) && !texts.contains(text) {
                        texts.insert(text.to_string());
                    }
                }
            }
            Ok(())
        })?;
    }
    let found = columns.into_iter().zip(texts).map(|(column, texts)| {
        let (name, texts) = (names[column].clone(), texts.into_iter().collect());
        let encoding = Encoding::of(texts, options.one_hot_max);
        let categories = encoding.categories().filter(|categories| categories.width() > 0);
        categories.map(|categories| (name.clone(), categories)).ok_or_else(|| {
            format!("column `{name}` is categorical, but empty in the first file; declare its categories")
        })
    });
    found.collect()
}

/// Returns how columns become values that are declared as categories, by their places.
pub fn declared(options: &Options, names: &[String]) -> Result<BTreeMap<usize, Encoding>, String> {
    let columns = options.categorical.declared(Some(names));
    let find = |(column, categories): (Column, &Categories)| {
        Ok((column.find(names.len(), Some(names))?, Encoding::declared(categories)))
    };
    columns.map(find).collect()
}

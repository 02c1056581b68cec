//! The classes of the rows of a batch: each name is made and checked once.

use crate::decode::api::known;
use crate::decode::columns::names::{Key, Names};
use crate::decode::table::Options;
use sluicebox_core::sample::Format;
use std::collections::BTreeMap;

/// Classes of the rows of a batch.
pub struct Classes {
    /// Of each row the index of its class among `found`.
    of_row: Vec<u32>,
    /// Each class once, or why it is none.
    found: Vec<Result<Option<String>, String>>,
}

impl Classes {
    /// Takes the classes of a column; `listed` names those that are numbers.
    pub fn of(
        names: &Names,
        rows: usize,
        listed: Option<&[String]>,
        format: &Format,
        options: &Options,
    ) -> Self {
        let (mut of_row, mut found) = (Vec::with_capacity(rows), Vec::new());
        let mut places: BTreeMap<Key<'_>, u32> = BTreeMap::new();
        for row in 0..rows {
            let mut add = || {
                let class = names.class(row, listed);
                let class = class.map(|class| class.filter(|name| !options.is_missing(name.as_bytes())));
                found.push(class.and_then(|class| class.map(|name| known(format, name)).transpose()));
                found.len() as u32 - 1
            };
            of_row.push(match names.key(row) {
                Some(key) => *places.entry(key).or_insert_with(add),
                None => add(),
            });
        }
        Self { of_row, found }
    }

    /// Returns the class of a row, unless it is missing.
    pub fn class(&self, row: usize) -> Result<Option<String>, String> {
        self.found[self.of_row[row] as usize].clone()
    }
}

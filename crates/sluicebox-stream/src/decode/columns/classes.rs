//! The classes of the rows of a batch: each name is made and checked once.

use crate::decode::class_name::{class as class_of, given};
use crate::decode::columns::names::{Key, Names};
use crate::decode::table::Options;
use sluicebox_core::sample::Format;
use std::collections::BTreeMap;

/// Returns the classes that are called false and true, in any case, if there are both.
fn truths(classes: &[String]) -> Option<[String; 2]> {
    let called = |name: &str| classes.iter().find(|class| class.eq_ignore_ascii_case(name)).cloned();
    Some([called("false")?, called("true")?])
}

/// Classes of the rows of a batch.
pub struct Classes {
    /// Of each row the index of its class among `found`.
    of_row: Vec<u32>,
    /// Each class once, or why it is none.
    found: Vec<Result<Option<String>, String>>,
    /// Index of each of these in the format, if it has it.
    indices: Vec<Option<usize>>,
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
        let truths = truths(&format.classes).filter(|_| matches!(names, Names::Truths(_)));
        let listed = truths.as_ref().map(|truths| &truths[..]).or(listed);
        for row in 0..rows {
            let mut add = || {
                let class = names.class(row, listed);
                let read = |name| given(format, &options.missing_markers, name);
                found.push(class.and_then(|class| Ok(class.map(read).transpose()?.flatten())));
                found.len() as u32 - 1
            };
            of_row.push(match names.key(row) {
                Some(key) => *places.entry(key).or_insert_with(add),
                None => add(),
            });
        }
        let index = |class: &Result<Option<String>, String>| {
            class.as_ref().ok()?.as_ref().and_then(|name| class_of(&format.classes, name).ok())
        };
        let indices = found.iter().map(index).collect();
        Self { of_row, found, indices }
    }

    /// Returns the index of the class of a row in the format, if it has one; None if the row has a bad class.
    pub fn index(&self, row: usize) -> Option<Option<usize>> {
        let at = self.of_row[row] as usize;
        self.found[at].is_ok().then(|| self.indices[at])
    }

    /// Returns the class of a row, unless it is missing.
    pub fn class(&self, row: usize) -> Result<Option<String>, String> {
        self.found[self.of_row[row] as usize].clone()
    }
}

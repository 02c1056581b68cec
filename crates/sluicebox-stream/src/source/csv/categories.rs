//! Columns whose values are texts: their categories, found by one reading of the file before the stream begins.

use crate::decode::table::Encoding;
use crate::source::csv::file::{Reading, Table};
use sluicebox_core::config::document::shortened;
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeSet;

/// First rows that say whether a column may hold categories.
const FIRST: usize = 100;
/// Rows from which on a column with a text of its own in most of them is no column of categories.
const ENOUGH: u64 = 40;

/// Of so many texts of a column of categories one may be a number: a shifted row puts one there.
const TEXTS_PER_NUMBER: u64 = 20;

/// A column that may hold categories.
struct Candidate {
    /// Its place among the features.
    feature: usize,
    declared: bool,
    texts: BTreeSet<String>,
    /// Rows with a text, and with a number.
    with_text: u64,
    with_number: u64,
}

/// Decides which features of a table are categories: those that the job names, and those whose values are texts where
/// they are not missing. A row in which another feature is no number brings no category.
pub fn settle(table: &mut Table) -> Result<()> {
    let fault = |reason: String| Error::file(&table.path, reason);
    let (layout, width) = (&table.layout, table.layout.width);
    let mut candidates: Vec<Candidate> = Vec::new();
    for column in table.options.categorical.to_find() {
        let place = column.find(width, layout.names.as_deref()).map_err(fault)?;
        let feature = layout.features.iter().position(|feature| *feature == place);
        let feature =
            feature.ok_or_else(|| fault(format!("column {place} is categorical, but no feature")))?;
        candidates.push(Candidate::new(feature, true));
    }
    let open = numbers(table, &candidates);
    candidates.extend(open.into_iter().map(|feature| Candidate::new(feature, false)));
    read(table, &mut candidates, FIRST)?;
    candidates.retain(Candidate::may_be);
    if candidates.is_empty() {
        return Ok(());
    }
    candidates
        .iter_mut()
        .for_each(|candidate| *candidate = Candidate::new(candidate.feature, candidate.declared));
    read(table, &mut candidates, usize::MAX)?;
    for candidate in candidates.into_iter().filter(Candidate::may_be) {
        let column = table.layout.features[candidate.feature];
        if !candidate.declared
            && candidate.with_text >= ENOUGH
            && 2 * candidate.texts.len() as u64 > candidate.with_text
        {
            let (name, example) = (table.layout.name(column), candidate.texts.first());
            let reason = format!(
                "column {name} holds a text of its own in most rows (`{}`): put it into source.ignore, or into \
                 source.categorical to have its texts hashed",
                shortened(example.map_or("", String::as_str))
            );
            return Err(Error::file(&table.path, reason));
        }
        let texts = candidate.texts.into_iter().collect();
        table.layout.encodings[candidate.feature] = Encoding::of(texts, table.options.one_hot_max);
    }
    Ok(())
}

impl Candidate {
    fn new(feature: usize, declared: bool) -> Self {
        Self { feature, declared, texts: BTreeSet::new(), with_text: 0, with_number: 0 }
    }

    fn may_be(&self) -> bool {
        self.declared || self.with_text > TEXTS_PER_NUMBER * self.with_number
    }
}

/// Returns the features that are numbers as far as is known, without the candidates.
fn numbers(table: &Table, candidates: &[Candidate]) -> Vec<usize> {
    let mut is_number: Vec<bool> =
        table.layout.encodings.iter().map(|encoding| *encoding == Encoding::Number).collect();
    candidates.iter().for_each(|candidate| is_number[candidate.feature] = false);
    (0..is_number.len()).filter(|feature| is_number[*feature]).collect()
}

/// Reads up to `most` rows; those that are not as wide as the table say nothing.
fn read(table: &Table, candidates: &mut [Candidate], most: usize) -> Result<()> {
    let mut file = Reading::of(table)?;
    let (options, mut count) = (&table.options, 0);
    let others: Vec<usize> =
        numbers(table, candidates).into_iter().map(|feature| table.layout.features[feature]).collect();
    while count < most && file.advance()? {
        count += 1;
        let row = file.rows.row();
        let numeric = |column: usize| options.is_missing(&row[column]) || options.is_number(&row[column]);
        if row.len() != table.layout.width
            || table.layout.is_header_again(row)
            || !others.iter().all(|column| numeric(*column))
        {
            continue;
        }
        for candidate in &mut *candidates {
            let field = &row[table.layout.features[candidate.feature]];
            if options.is_missing(field) {
                continue;
            }
            if !candidate.declared && options.is_number(field) {
                candidate.with_number += 1;
                continue;
            }
            let Ok(text) = std::str::from_utf8(field.trim_ascii()) else { continue };
            candidate.with_text += 1;
            // One more than are told apart says that there are too many.
            let room = candidate.texts.len() <= MOST_TEXTS.max(options.one_hot_max);
            if room && !candidate.texts.contains(text) {
                candidate.texts.insert(text.to_string());
            }
        }
    }
    Ok(())
}

/// Texts of a column that are told apart.
const MOST_TEXTS: usize = 10_000;

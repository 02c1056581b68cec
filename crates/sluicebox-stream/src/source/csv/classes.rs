//! One reading of a file that finds its classes, before the stream begins. Only good rows count: a second header or
//! a shifted row brings no class.

use crate::decode::class_name;
use crate::source::class_names::{self, number};
use crate::source::csv::file::{Reading, Table};
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;

/// Most classes of a file.
const MOST_CLASSES: usize = 10_000;
/// Classes from which on a file is suspected to have none.
const SUSPICIOUS: usize = 20;

/// What a file holds.
pub struct Found {
    /// Classes: in numerical order if all are numbers, else in text order.
    pub classes: Vec<String>,
    /// Good rows.
    pub rows: u64,
    /// Those of them that have a class.
    pub labelled: u64,
}

/// Reads a whole file.
pub fn find(table: &Table) -> Result<Found> {
    // By the number without zeros at its end, so that 1 and 1.0 are one class, and as written first.
    let mut classes: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let (mut found, mut labelled) = (0, 0);
    let mut file = Reading::of(table)?;
    let mut first_bad = None;
    while file.advance()? {
        let row = match table.layout.read(file.rows.row(), &table.options) {
            Ok(row) => row,
            Err(reason) => {
                first_bad.get_or_insert_with(|| format!("; line {}: {reason}", file.rows.line()));
                continue;
            }
        };
        found += 1;
        let is_known = |class: &String| !table.options.is_missing(class.as_bytes());
        let Some(class) = row.class.filter(is_known) else { continue };
        labelled += 1;
        let (plain, shown) = (class_name::plain(&class).into_owned(), class_name::shown(&class));
        let (written, alike) = classes.entry(plain).or_insert_with(|| (shown.clone().into_owned(), true));
        *alike &= *written == shown;
        if classes.len() > MOST_CLASSES {
            return Err(doubt(table, &format!("has over {MOST_CLASSES} values")));
        }
    }
    let fractions = classes.keys().filter(|class| class.contains('.') && number(class).is_some()).count();
    let count = classes.len();
    if count > SUSPICIOUS && 2 * fractions > count {
        return Err(doubt(table, &format!("has {count} values, most of them numbers with a fraction")));
    }
    if count > SUSPICIOUS && 2 * count as u64 > labelled {
        return Err(doubt(table, &format!("has {count} values in {labelled} rows")));
    }
    if count < 2 {
        let column = table.layout.class.map_or(String::new(), |column| table.layout.name(column));
        let reason = format!(
            "column {column} has {count} class(es) in {found} good rows, but a job needs two or more; \
             source.class names another column, source.ignore one that is not to be read{}",
            first_bad.unwrap_or_default()
        );
        return Err(Error::file(&table.path, reason));
    }
    let name = |(plain, (written, alike)): (String, (String, bool))| if alike { written } else { plain };
    let mut classes: Vec<String> = classes.into_iter().map(name).collect();
    class_names::sort(&mut classes);
    Ok(Found { classes, rows: found, labelled })
}

fn doubt(table: &Table, what: &str) -> Error {
    let column = table.layout.class.map_or(String::new(), |column| table.layout.name(column));
    let reason = format!(
        "column {column} {what}: is this the class column? Set source.class to the name or place of the right one, \
         or source.classes to all values"
    );
    Error::file(&table.path, reason)
}

//! Tables of a history and ids of their rows.
//!
//! The id of a row of `epochs` combines its level and its place on that level, so that rows of a level are
//! adjacent in the file and deleted rows free whole pages.

use crate::history::error::HistoryError;
use rusqlite::Connection;
use sluicebox_core::report::{JobMeters, Kind, Meters};
use std::collections::HashSet;
use std::time::Duration;

/// Version of this layout. New or removed meters do not change it.
const VERSION: i64 = 1;
/// Application id `SLBX`, by which `file` and this program recognise the database.
const APPLICATION: i64 = 0x534c_4258;
/// Longest wait for the lock of another process that writes or reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// A row of level k + 1 folds 2^3 rows of level k.
const FOLD_BITS: u32 = 3;
/// Bits of a row's id below its level.
const PLACE_BITS: u32 = 56;
/// Highest level: no job exceeds it.
pub const TOP: u32 = PLACE_BITS / FOLD_BITS;

/// Columns of a row besides meters.
const FIXED: &str = "id, level, epoch, last_epoch, folded, ended_ms";

/// Returns the place of `epoch` on `level`.
pub fn place(level: u32, epoch: u64) -> u64 {
    let most = (1 << PLACE_BITS) - 1;
    (epoch.saturating_sub(1) >> (FOLD_BITS * level)).min(most)
}

/// Returns the id of a row.
pub fn row(level: u32, place: u64) -> i64 {
    (i64::from(level) << PLACE_BITS) | place as i64
}

/// Returns the level of a row, from its id.
pub fn level(row: i64) -> u32 {
    (row >> PLACE_BITS) as u32
}

/// Returns the first and the last id of the rows that a row of `level` (above 0) folds.
pub fn below(level: u32, place: u64) -> (i64, i64) {
    let first = place << FOLD_BITS;
    (row(level - 1, first), row(level - 1, first + (1 << FOLD_BITS) - 1))
}

/// Returns the names of the meters, each with the prefix `before`.
fn meters(before: &str) -> impl Iterator<Item = String> {
    JobMeters::METERS.iter().map(move |meter| format!("{before}{}", meter.name))
}

/// Returns all columns of meters.
fn columns() -> Vec<String> {
    meters("").chain(meters("low_")).chain(meters("high_")).collect()
}

/// Returns the SQL that writes an epoch; parameters: id, epoch, end of the epoch, meters.
pub fn insert() -> String {
    let names: Vec<String> = meters("").collect();
    let slots: String = (4..4 + names.len()).map(|slot| format!(", ?{slot}")).collect();
    format!("REPLACE INTO epochs ({FIXED}, {}) VALUES (?1, 0, ?2, ?2, 1, ?3{slots})", names.join(", "))
}

/// Returns the SQL that writes a row that folds others; parameters: id, level, first and last id of the
/// others.
pub fn fold() -> String {
    let mean = JobMeters::METERS.iter().map(|meter| match (meter.kind, meter.name) {
        (Kind::Total, name) => format!("max({name})"),
        (Kind::Gauge, name) => format!("sum({name} * folded) / sum(iif({name} IS NULL, 0, folded))"),
    });
    let low = meters("").map(|name| format!("min(coalesce(low_{name}, {name}))"));
    let high = meters("").map(|name| format!("max(coalesce(high_{name}, {name}))"));
    let values: Vec<String> = mean.chain(low).chain(high).collect();
    format!(
        "REPLACE INTO epochs ({FIXED}, {}) \
         SELECT ?1, ?2, min(epoch), max(last_epoch), sum(folded), max(ended_ms), {} \
         FROM epochs WHERE id BETWEEN ?3 AND ?4 HAVING count(*) > 0",
        columns().join(", "),
        values.join(", ")
    )
}

/// Applies the settings that every connection needs.
pub fn settle(connection: &Connection) -> Result<(), HistoryError> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Returns the layout's version; refuses a newer or foreign database. An empty database is version 0.
pub fn version(connection: &Connection) -> Result<i64, HistoryError> {
    let ask = |what| connection.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0));
    let (version, application) = (ask("user_version")?, ask("application_id")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match version {
        0 if tables == 0 => Ok(0),
        _ if application != APPLICATION => Err(HistoryError::Foreign),
        newer if newer > VERSION => Err(HistoryError::Newer { written: newer, known: VERSION }),
        ours => Ok(ours),
    }
}

/// Creates the tables, and the columns of new meters. Columns of removed meters remain.
pub fn make(connection: &mut Connection) -> Result<(), HistoryError> {
    version(connection)?;
    // A commit survives the end of the process; a crash of the machine may lose the newest epochs only.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304;",
    )?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {VERSION};
         CREATE TABLE IF NOT EXISTS epochs (
             id INTEGER PRIMARY KEY, level INTEGER NOT NULL, epoch INTEGER NOT NULL,
             last_epoch INTEGER NOT NULL, folded INTEGER NOT NULL, ended_ms INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS details (epoch INTEGER PRIMARY KEY, json TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS about (started_ms INTEGER PRIMARY KEY, json TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS lines (
             id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, level TEXT NOT NULL,
             module TEXT NOT NULL, text TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS marks (
             id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, epoch INTEGER NOT NULL,
             step INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
         CREATE INDEX IF NOT EXISTS marks_by_kind ON marks (kind, id);"
    ))?;
    let there = there(&transaction)?;
    for column in columns().iter().filter(|column| !there.contains(*column)) {
        transaction.execute_batch(&format!("ALTER TABLE epochs ADD COLUMN {column} REAL"))?;
    }
    Ok(transaction.commit()?)
}

/// Returns the meters for which this history has columns.
pub fn known(connection: &Connection) -> Result<Vec<&'static str>, HistoryError> {
    let there = there(connection)?;
    let names = JobMeters::METERS.iter().map(|meter| meter.name);
    Ok(names.filter(|name| there.contains(*name)).collect())
}

/// Returns whether this history has marks: one of an earlier Sluicebox has none until its job goes on.
pub fn has_marks(connection: &Connection) -> Result<bool, HistoryError> {
    let ask = "SELECT count(*) FROM sqlite_schema WHERE name = 'marks'";
    Ok(connection.query_row(ask, [], |row| row.get::<_, i64>(0))? > 0)
}

/// Returns the columns of `epochs`.
fn there(connection: &Connection) -> Result<HashSet<String>, HistoryError> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info('epochs')")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_by_level_and_place() {
        assert_eq!([1, 8, 9, 64, 65].map(|epoch| place(1, epoch)), [0, 0, 1, 7, 8]);
        assert_eq!([1, 64, 65].map(|epoch| place(2, epoch)), [0, 0, 1]);
        assert_eq!(below(2, 3), (row(1, 24), row(1, 31)));
        assert_eq!(level(row(TOP, place(TOP, u64::MAX))), TOP);
        assert!(row(1, 0) > row(0, place(0, u64::MAX)));
    }

    #[test]
    fn no_two_columns_have_one_name() {
        let mut columns = columns();
        columns.extend(FIXED.split(", ").map(str::to_string));
        assert_eq!(columns.iter().collect::<HashSet<_>>().len(), columns.len());
    }
}

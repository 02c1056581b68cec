//! The file as a table.

use crate::decode::DecodeError;
use crate::decode::lines::Lines;
use crate::decode::table::{Layout, Options, Rows, Wanted};
use sluicebox_core::error::{Error, Result};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Most columns of a row.
const MOST_COLUMNS: usize = 1 << 20;

/// A file and what is known of its columns.
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// How it is read.
    pub options: Options,
    /// What its columns are.
    pub layout: Layout,
}

impl Table {
    /// Decides by the file's first row what its columns are.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let fault = |reason: String| Error::file(path, reason);
        let mut rows = open(path, &options, 0, 1)?;
        match rows.advance() {
            Ok(true) => {}
            Ok(false) => return Err(fault("there is no row in it".into())),
            Err(DecodeError::Bad { reason, .. } | DecodeError::Broken(reason)) => return Err(fault(reason)),
        }
        let layout = Layout::of(rows.row(), &options, Wanted::Classes).map_err(fault)?;
        Ok(Self { path: path.into(), options, layout })
    }
}

/// Opens the rows of a file from a byte on, where a line begins.
pub fn rows(table: &Table, byte: u64, line: u64) -> Result<Rows<Text>> {
    open(&table.path, &table.options, byte, line)
}

/// An unpacked file.
pub type Text = BufReader<Box<dyn Read>>;

fn open(path: &Path, options: &Options, byte: u64, line: u64) -> Result<Rows<Text>> {
    let text = BufReader::with_capacity(1 << 16, crate::source::api::open(path, byte)?);
    Ok(Rows::new(Lines::at(text, byte, line), options.delimiter, MOST_COLUMNS))
}

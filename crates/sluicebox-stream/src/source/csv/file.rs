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
        let layout = Layout::of(rows.row(), &options, Wanted::Classes, rows.attributes()).map_err(fault)?;
        Ok(Self { path: path.into(), options, layout })
    }
}

/// Opens the rows of a file from a byte on, where a line begins.
pub fn rows(table: &Table, byte: u64, line: u64) -> Result<Rows<Text>> {
    let rows = open(&table.path, &table.options, byte, line)?;
    Ok(if table.layout.is_arff && byte > 0 { rows.behind_arff_header() } else { rows })
}

/// One reading of a whole table: its rows behind the header. Rows that cannot be split are passed over.
pub struct Reading<'t> {
    table: &'t Table,
    /// The rows; the present one after [`Reading::advance`].
    pub rows: Rows<Text>,
    is_header: bool,
}

impl<'t> Reading<'t> {
    /// Opens the file at its beginning.
    pub fn of(table: &'t Table) -> Result<Self> {
        Ok(Self { table, rows: rows(table, 0, 1)?, is_header: table.layout.header })
    }

    /// Moves to the next row; returns false at the end.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            match self.rows.advance() {
                Ok(true) if std::mem::take(&mut self.is_header) => {}
                Ok(more) => return Ok(more),
                Err(DecodeError::Bad { .. }) => {}
                Err(DecodeError::Broken(reason)) => return Err(Error::file(&self.table.path, reason)),
            }
        }
    }
}

/// An unpacked file, as UTF-8.
pub type Text = BufReader<Box<dyn Read>>;

fn open(path: &Path, options: &Options, byte: u64, line: u64) -> Result<Rows<Text>> {
    let mut mark = [0; 2];
    let begins = crate::source::api::open(path, 0)?.read(&mut mark);
    let fault = |error: std::io::Error| Error::file(path, error);
    let wide = begins.map_err(fault)? == 2 && matches!(mark, [0xff, 0xfe] | [0xfe, 0xff]);
    let text: Box<dyn Read> = match wide || !options.encoding.is_auto() {
        false => crate::source::api::open(path, byte)?,
        true => {
            let mut text = options.encoding.utf8(crate::source::api::open(path, 0)?);
            std::io::copy(&mut text.by_ref().take(byte), &mut std::io::sink()).map_err(fault)?;
            Box::new(text)
        }
    };
    let text = BufReader::with_capacity(1 << 16, text);
    Ok(Rows::new(Lines::at(text, byte, line), options, MOST_COLUMNS))
}

//! Rows of a table file as a stream: numbers and a class, in file order, gzip or plain. A row without a class is
//! streamed as a sample that nobody has labelled. A missing feature is filled in from the rows so far, whose
//! statistics checkpoints include.

mod categories;
mod classes;
mod file;
mod position;
mod settings;

pub use settings::Settings;

use crate::decode::table::{self, Categorical, Column, Encoding, Rows};
use crate::decode::{self, DecodeError, Form, Missing, named, numbers};
use crate::source::api::{Context, ReadProgress, Source};
use crate::source::bad_records::BadRecords;
use crate::source::class_names;
use file::{Table, Text, rows};
use position::{Position, Waiting};
use settings::Transform;
use sluicebox_core::config::document::unknown;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Shape, Values};
use sluicebox_core::state::Stateful;

struct Csv {
    options: Settings,
    format: Format,
    table: Table,
    position: Position,
    rows: Option<Rows<Text>>,
    bad: BadRecords,
}

/// A good row.
struct Good {
    /// Its line.
    line: u64,
    /// Its features, NaN where one is missing.
    values: Vec<f64>,
    /// Its class, if it has one.
    class: Option<usize>,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let mut table = Table::open(&options.path, options.table())?;
    categories::settle(&mut table)?;
    let told = format!("{}: {}", options.path.display(), table.layout.told());
    let classes = match (options.classes.is_empty(), &table.layout.classes) {
        (false, _) => {
            tracing::info!("{told}");
            options.classes.clone()
        }
        (true, Some(classes)) if classes.len() > 1 => {
            tracing::info!("{told}; its header lists {} classes", classes.len());
            classes.clone()
        }
        (true, _) => {
            let found = classes::find(&table)?;
            let (rows, labelled) = (found.rows, found.labelled);
            let (count, names) = (found.classes.len(), class_names::shown(&found.classes));
            tracing::info!("{told}; {labelled} of {rows} rows have a class, one of {count}: {names}");
            class_names::warn_of_odd(&options.path, &found.classes);
            found.classes
        }
    };
    let features = table.layout.values();
    let mut csv = Csv {
        format: Format { shape: Shape::Vector { features }, dtype: Dtype::F32, scale: 1.0, classes },
        bad: BadRecords::new(options.max_bad, options.dead_letter.clone(), context),
        position: Position::new(features),
        options,
        table,
        rows: None,
    };
    csv.rewind()?;
    Ok(Box::new(csv))
}

/// Horizon of the statistics that fill in what is missing: all rows alike.
const ALL: u64 = 0;
/// Values of a row that the dead letters repeat.
const TOLD_VALUES: usize = 100;

/// Puts the last value of a feature where one is missing; the first ones stay missing.
fn fill_with_last(rows: &mut [Good]) {
    let mut last = vec![f64::NAN; rows.first().map_or(0, |row| row.values.len())];
    for row in rows {
        for (value, last) in row.values.iter_mut().zip(&mut last) {
            match value.is_nan() {
                true => *value = *last,
                false => *last = *value,
            }
        }
    }
}

impl Csv {
    /// Moves to the first row of the file.
    fn rewind(&mut self) -> Result<()> {
        (self.position.byte, self.position.line, self.rows) = (0, 1, None);
        if self.table.layout.header {
            let _ = self.next_record()?; // the header
        }
        Ok(())
    }

    /// Moves to the next row; returns false at the end, and the line and text of a row that cannot be split.
    fn next_record(&mut self) -> Result<Result<bool, DecodeError>> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            none => none.insert(rows(&self.table, self.position.byte, self.position.line)?),
        };
        let read = rows.advance();
        let fault = |reason: String| Error::file(&self.options.path, reason);
        if let Err(DecodeError::Broken(reason)) = read {
            return Err(fault(reason));
        }
        (self.position.byte, self.position.line) =
            rows.position().map_err(|error| fault(error.to_string()))?;
        Ok(read)
    }

    /// Reads the next good row; bad rows go to the dead-letter file.
    fn next_row(&mut self) -> Result<Option<Good>> {
        loop {
            let read = match self.next_record()? {
                Ok(false) => {
                    self.bad.check_all(&self.options.path, self.position.rows)?;
                    return Ok(None);
                }
                Ok(true) => self.good(),
                Err(bad) => Err(bad),
            };
            self.position.rows += 1;
            match read {
                Ok(row) => return Ok(Some(row)),
                Err(DecodeError::Bad { line, reason, text }) => self.refuse(line, &reason, &text)?,
                Err(DecodeError::Broken(reason)) => return Err(Error::file(&self.options.path, reason)),
            }
        }
    }

    /// Returns the row that was read, if it is good.
    fn good(&self) -> Result<Good, DecodeError> {
        let Some(rows) = &self.rows else { return Err(DecodeError::Broken("no row was read".into())) };
        let read = || {
            let layout = &self.table.layout;
            let mut row = layout.read(rows.row(), &self.table.options)?;
            if let Some(reason) = layout.missing(&row, rows.row(), &self.table.options) {
                return Err(reason);
            }
            let is_missing = |name: &String| self.table.options.is_missing(name.as_bytes());
            let is_class = |name: &String| !is_missing(name) || named(&self.format.classes, name).is_some();
            let class = row.class.filter(is_class).map(|name| {
                named(&self.format.classes, &name).ok_or_else(|| {
                    let known: Vec<&str> = self.format.classes.iter().take(20).map(String::as_str).collect();
                    unknown("class", &name, &known)
                })
            });
            row.values.iter_mut().for_each(|value| *value = self.options.transform.of(*value));
            // Before the row enters the statistics.
            let mut fits = Values::none(Dtype::F32);
            let mut known = row.values.iter().filter(|value| !value.is_nan());
            known.try_for_each(|value| numbers::push(&mut fits, *value))?;
            Ok(Good { line: rows.line(), values: row.values, class: class.transpose()? })
        };
        read().map_err(|reason| rows.bad(reason))
    }

    /// Appends a row's features, with the missing ones filled in. Nothing is appended if one is too large.
    fn write(&self, row: &[f64], values: &mut Values) -> Result<(), String> {
        let statistics = &self.position.statistics;
        let mut new = Values::none(Dtype::F32);
        for (feature, value) in row.iter().enumerate() {
            let value = match value.is_nan() {
                false => *value,
                true => self.options.missing.value(statistics, feature),
            };
            numbers::push(&mut new, value)?;
        }
        values.extend_from(&new, 0..new.len());
        Ok(())
    }

    /// Reads the next row of the stream, from the file's first on again if it is repeated, and counts it in the
    /// statistics. Returns its id with it.
    fn next_streamed(&mut self) -> Result<Option<(u64, Good)>> {
        if let Some(Waiting { id, line, values }) = self.position.waiting.pop_front() {
            return Ok(Some((id, Good { line, values, class: None })));
        }
        let row = match self.next_row()? {
            None if self.options.repeat => {
                self.rewind()?;
                self.next_row()?
            }
            row => row,
        };
        let Some(row) = row else { return Ok(None) };
        self.position.statistics.add(&row.values, ALL);
        self.position.next_id += 1;
        Ok(Some((self.position.next_id - 1, row)))
    }

    /// Returns the categories of the features that have some, by the column's name or place.
    fn categories(&self) -> Vec<(String, Vec<String>)> {
        let layout = &self.table.layout;
        let features = layout.features.iter().zip(&layout.encodings);
        let categories = |(column, encoding): (&usize, &Encoding)| match encoding {
            Encoding::Number => None,
            Encoding::OneHot(categories) => Some((layout.name(*column), categories.clone())),
            Encoding::Hashed(width) => Some((layout.name(*column), vec![format!("hashed into {width}")])),
        };
        features.filter_map(categories).collect()
    }

    /// Returns a position of a state, which must be of the same categories.
    fn saved(&self, state: &[u8]) -> Result<Position> {
        let (position, categories) = Position::load(state)?;
        match categories == self.categories() {
            true => Ok(position),
            false => Err(Error::file(
                &self.options.path,
                "its columns have other categories than when the state was saved; put the file back, name another \
                 --state, or start anew with --fresh",
            )),
        }
    }

    fn refuse(&mut self, line: u64, reason: &str, text: &str) -> Result<()> {
        self.bad.add(&self.options.path, line, reason, text, self.position.rows)
    }

    /// Counts a row as bad of which a value turned out to be too large.
    fn refuse_values(&mut self, row: &Good, reason: &str) -> Result<()> {
        let text: Vec<String> = row.values.iter().take(TOLD_VALUES).map(f64::to_string).collect();
        self.refuse(row.line, reason, &text.join(","))
    }
}

impl Stateful for Csv {
    fn save(&self) -> Result<Vec<u8>> {
        let position = Position { letters: self.bad.state(), ..self.position.clone() };
        position.save(&self.categories())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = self.saved(state)?;
        self.rows = None;
        self.bad.restore(self.position.letters.clone())
    }
}

impl Source for Csv {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        let wanted = self.options.labelled_first;
        let mut rows = Vec::new();
        while rows.len() < wanted {
            let Some(row) = self.next_row()? else {
                let reason = format!("has {} good rows, but source.labelled_first is {wanted}", rows.len());
                return Err(Error::file(&self.options.path, reason));
            };
            rows.push(row);
        }
        let first: Vec<Vec<f64>> = rows.iter().map(|row| row.values.clone()).collect();
        self.position.statistics.begin(&first, ALL);
        if self.options.missing == Missing::Last {
            fill_with_last(&mut rows);
        }
        let mut labelled = Labelled::none(Dtype::F32);
        for row in rows {
            let id = self.position.next_id;
            self.position.next_id += 1;
            match row.class {
                None => self.position.waiting.push_back(Waiting { id, line: row.line, values: row.values }),
                Some(class) => match self.write(&row.values, &mut labelled.values) {
                    Ok(()) => labelled.classes.push(class as i64),
                    Err(reason) => self.refuse_values(&row, &reason)?,
                },
            }
        }
        if wanted > 0 && labelled.is_empty() {
            let reason = format!(
                "none of the first {wanted} rows has a class; set source.labelled_first to more rows, or to 0"
            );
            return Err(Error::file(&self.options.path, reason));
        }
        let without = self.position.waiting.len();
        if without > 0 {
            tracing::info!(
                "{without} of the first {wanted} rows have no class: they are streamed, {} are labelled",
                labelled.len()
            );
        }
        Ok(labelled)
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let whole = samples.len() + count;
        while samples.len() < whole {
            let Some((id, row)) = self.next_streamed()? else { return Ok(ReadProgress::End) };
            match self.write(&row.values, &mut samples.values) {
                Ok(()) => {
                    samples.ids.push(id);
                    samples.truth.push(row.class);
                }
                Err(reason) => self.refuse_values(&row, &reason)?,
            }
        }
        Ok(ReadProgress::Full)
    }

    /// Returns rows from the first on, filled in with the statistics of the checkpoint. Bad rows are passed over: the
    /// job has told them.
    fn evaluation(&mut self, state: &[u8], _streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        self.position.statistics = self.saved(state)?.statistics;
        let mut labelled = Labelled::none(Dtype::F32);
        while labelled.len() < limit {
            match self.next_record()? {
                Ok(false) => break,
                Ok(true) => {}
                Err(_) => continue,
            }
            if let Ok(Good { values, class: Some(class), .. }) = self.good()
                && self.write(&values, &mut labelled.values).is_ok()
            {
                labelled.classes.push(class as i64);
            }
        }
        Ok(Some(labelled))
    }

    /// Rows by name are as the file has them, so that only those without a transform have one.
    fn form(&self) -> Option<Form> {
        let layout = &self.table.layout;
        let is_plain = self.options.transform == Transform::None;
        let names = layout.names.as_ref().filter(|_| is_plain)?;
        let encoded = layout.features.iter().zip(&layout.encodings);
        let declared =
            encoded.filter_map(|(column, encoding)| Some((names[*column].clone(), encoding.categories()?)));
        let name = |column: &usize| Column::Name(names[*column].clone());
        let left_out =
            (0..layout.width).filter(|at| !layout.features.contains(at) && layout.class != Some(*at));
        let table = table::Options {
            features: layout.features.iter().map(name).collect(),
            class: layout.class.as_ref().map(name),
            ignore: left_out.map(|at| name(&at)).collect(),
            categorical: Categorical::Declared(declared.collect()),
            missing: self.options.missing,
            missing_markers: self.options.missing_markers.clone(),
            ..table::Options::default()
        };
        table
            .faults()
            .is_empty()
            .then(|| Form::of(decode::Options { table, ..Default::default() }, &self.format))
    }

    fn dead_letters(&self) -> u64 {
        self.bad.count()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.bad.reasons()
    }
}

//! Which column of a table is what: by the options, by the header, and by place. Decided once, by the first row.

use crate::decode::api::chosen;
use crate::decode::table::arff::{self, Attribute};
use crate::decode::table::categorical::Categories;
use crate::decode::table::column::Column;
use crate::decode::table::encoding::{Encoding, not_utf8};
use crate::decode::table::number::number;
use crate::decode::table::options::{Header, Options};
use ::csv::ByteRecord;
use sluicebox_core::config::document::shortened;
use sluicebox_core::sample_id::SampleId;
use std::collections::HashMap;
use std::fmt;

/// Names of a class column, in any case; the first that a header has wins.
const CLASS_NAMES: [&str; 4] = ["label", "class", "target", "y"];
/// Those of them that no class is called: a row with one is a header, whatever its other columns are.
const CERTAIN: [&str; 2] = ["label", "class"];
/// Least columns of which a first row 0, 1, 2, … is a header, as pandas writes it for an array.
const LEAST_COUNTED: usize = 3;
/// Maximum length of a class's name, in bytes.
const LONGEST_CLASS: usize = 256;
/// Columns whose names a message lists.
const TOLD: usize = 8;

/// What is known of a table before its first row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Every row has a class: in the last column, if nothing says otherwise.
    Classes,
    /// A sample has this number of values; there is a class or an id only if something says so.
    Values(usize),
}

/// Columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Names of all columns, if there is a header.
    pub names: Option<Vec<String>>,
    /// Whether the first row is the header.
    pub header: bool,
    /// Whether the names are of an ARFF header.
    pub is_arff: bool,
    /// Classes, if a header lists them.
    pub classes: Option<Vec<String>>,
    /// Column of the class.
    pub class: Option<usize>,
    /// Column of the id.
    pub id: Option<usize>,
    /// Columns of the values.
    pub features: Vec<usize>,
    /// How each of these becomes values.
    pub encodings: Vec<Encoding>,
    /// Columns without a name, which must be empty: rows end with a delimiter.
    empty: Vec<usize>,
    /// Number of columns.
    pub width: usize,
}

/// A row, as text and numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Values; NaN where one is missing.
    pub values: Vec<f64>,
    /// Class as written, which may say that it is missing; none if there is no column of classes.
    pub class: Option<String>,
    /// Id.
    pub id: Option<SampleId>,
}

impl Layout {
    /// Decides by the first row of a table, or by the header of an ARFF file; the error says which column is wrong.
    pub fn of(
        first: &ByteRecord,
        options: &Options,
        wanted: Wanted,
        attributes: Option<&[Attribute]>,
    ) -> Result<Self, String> {
        let named = [&options.class, &options.id].into_iter().flatten();
        let named = named.chain(&options.features).chain(&options.ignore).cloned();
        let named = named.chain(options.categorical.declared(None).map(|(column, _)| column));
        let header = match options.header {
            _ if attributes.is_some() => false,
            Header::Yes => true,
            Header::No => false,
            Header::Auto => {
                named.into_iter().any(|column| matches!(column, Column::Name(_)))
                    || is_header(first, options, wanted)
            }
        };
        // From here on a column counts as one value, however many it becomes.
        let values = wanted;
        let wanted = match wanted {
            Wanted::Values(values) => Wanted::Values(values.saturating_sub(options.categorical.more())),
            Wanted::Classes => Wanted::Classes,
        };
        let text = |field: &[u8]| String::from_utf8_lossy(field.trim_ascii()).into_owned();
        let names: Option<Vec<String>> = match attributes {
            Some(attributes) => Some(attributes.iter().map(|attribute| attribute.name.clone()).collect()),
            None => header.then(|| first.iter().map(text).collect()),
        };
        // Without a header a first row that is damaged must not say how wide the others are.
        let columns = |one: &Option<Column>| usize::from(one.is_some());
        let width = match wanted {
            _ if attributes.is_some() => names.as_ref().map_or(0, Vec::len),
            Wanted::Values(values) if !header && options.features.is_empty() => {
                values + columns(&options.class) + columns(&options.id) + options.ignore.len()
            }
            _ => first.len(),
        };
        let find = |column: &Column| column.find(width, names.as_deref());
        let all = |columns: &[Column]| columns.iter().map(find).collect::<Result<Vec<usize>, String>>();
        let (features, mut ignored) = (all(&options.features)?, all(&options.ignore)?);
        let mut empty = Vec::new();
        let mut class = options.class.as_ref().map(find).transpose()?;
        let mut id = options.id.as_ref().map(find).transpose()?;
        if let Some(names) = &names {
            let free = |at: usize| ![class, id].contains(&Some(at)) && !features.contains(&at);
            let unnamed = (0..width).filter(|at| is_unnamed(*at, &names[*at]) && free(*at));
            let unnamed: Vec<usize> = unnamed.filter(|at| !ignored.contains(at)).collect();
            for at in unnamed {
                // The first is the index that pandas writes.
                if at == 0 { ignored.push(at) } else { empty.push(at) }
            }
            let by_name = names.iter().position(|name| name.eq_ignore_ascii_case("id"));
            match wanted {
                // Whoever reads for classes numbers the rows.
                Wanted::Classes => {
                    ignored.extend(by_name.filter(|at| class != Some(*at) && !features.contains(at)))
                }
                Wanted::Values(_) => id = id.or(by_name),
            }
            ignored.sort_unstable();
            ignored.dedup();
            let left = width - ignored.len() - empty.len() - columns_of(id);
            class = class.or_else(|| class_by_name(names, wanted, left));
        }
        if class.is_none() && wanted == Wanted::Classes {
            class =
                (0..width).rev().find(|at| ![&features, &ignored, &empty].iter().any(|of| of.contains(at)));
        }
        let features = match features.is_empty() {
            false => features,
            true => (0..width)
                .filter(|at| {
                    ![class, id].contains(&Some(*at)) && !ignored.contains(at) && !empty.contains(at)
                })
                .collect(),
        };
        let mut declared = HashMap::new();
        for (column, categories) in options.categorical.declared(names.as_deref()) {
            let place = find(&column)?;
            if !features.contains(&place) {
                return Err(format!("column {column} is categorical, but no feature"));
            }
            declared.insert(place, Encoding::declared(categories));
        }
        let kind = |column: usize| attributes.map(|attributes| &attributes[column].kind);
        let encoding = |column: &usize| match kind(*column) {
            _ if declared.contains_key(column) => Ok(declared[column].clone()),
            Some(arff::Kind::Categories(categories)) => {
                Ok(Encoding::of(categories.clone(), options.one_hot_max))
            }
            Some(arff::Kind::Text) => {
                Err(format!("column {column} holds text or dates; put it into source.ignore"))
            }
            _ => Ok(Encoding::Number),
        };
        let encodings = features.iter().map(encoding).collect::<Result<Vec<_>, String>>()?;
        let classes = match class.and_then(kind) {
            Some(arff::Kind::Categories(classes)) => Some(classes.clone()),
            _ => None,
        };
        let is_arff = attributes.is_some();
        let layout = Self { names, header, is_arff, classes, class, id, features, encodings, empty, width };
        layout.check(options, values).map(|()| layout)
    }

    fn check(&self, options: &Options, wanted: Wanted) -> Result<(), String> {
        for column in [self.class, self.id].into_iter().flatten() {
            if self.features.contains(&column) {
                return Err(format!("column {} cannot be a value as well as class or id", self.name(column)));
            }
        }
        if wanted == Wanted::Classes && (self.class.is_none() || self.features.is_empty()) {
            let width = self.width;
            let mut reason =
                format!("a row has {width} columns, but a class and one value or more are needed");
            if width == 1 {
                let delimiter = options.delimiter;
                reason += &format!("; is {delimiter:?} the delimiter? Set source.delimiter");
            }
            return Err(reason);
        }
        match wanted {
            Wanted::Values(values) if self.values() != values => {
                let (found, listed) = (self.values(), self.list(&self.features));
                let columns = if found == self.features.len() { "columns of values" } else { "values" };
                Err(format!(
                    "{found} {columns} instead of {values} ({listed}); set source.features, source.ignore or source.class"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Returns the number of values of a sample.
    pub fn values(&self) -> usize {
        self.encodings.iter().map(Encoding::width).sum()
    }

    /// Returns the column of a value of a sample.
    pub fn column_of(&self, value: usize) -> usize {
        let mut before = 0;
        let found = self.encodings.iter().position(|encoding| {
            before += encoding.width();
            value < before
        });
        self.features[found.unwrap_or_default()]
    }

    /// Returns a column's place and name.
    pub fn name(&self, column: usize) -> String {
        match self.names.as_ref().map(|names| names[column].as_str()) {
            Some(name) if !name.is_empty() => format!("{column} `{}`", shortened(name)),
            _ => column.to_string(),
        }
    }

    /// Returns a column for a message.
    fn named(&self, column: usize) -> Named<'_> {
        Named { layout: self, column }
    }

    fn list(&self, columns: &[usize]) -> String {
        let told: Vec<String> = columns.iter().take(TOLD).map(|column| self.name(*column)).collect();
        let more = columns.len().saturating_sub(TOLD);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", told.join(", "))
    }

    /// Says what was decided.
    pub fn told(&self) -> String {
        let header = match (self.is_arff, self.header) {
            (true, _) => "the header is of ARFF",
            (_, true) => "the first row is a header",
            _ => "there is no header",
        };
        let one = |what: &str, column: Option<usize>| {
            column.map_or(String::new(), |column| format!("; {what}: column {}", self.name(column)))
        };
        let categories = |(column, encoding): (&usize, &Encoding)| match encoding {
            Encoding::Number => None,
            Encoding::OneHot(of_one) => Some(format!("{} ({})", self.name(*column), of_one.len())),
            Encoding::Hashed(width) => Some(format!("{} (hashed into {width})", self.name(*column))),
        };
        let categories: Vec<String> =
            self.features.iter().zip(&self.encodings).filter_map(categories).take(TOLD).collect();
        let mut told = format!(
            "{header}{}{}; values: {} columns, {}",
            one("class", self.class),
            one("id", self.id),
            self.features.len(),
            self.list(&self.features)
        );
        if !categories.is_empty() {
            told += &format!("; categories, of which each is a value: columns {}", categories.join(", "));
        }
        let used = |at: &usize| self.features.contains(at) || [self.class, self.id].contains(&Some(*at));
        let unused: Vec<usize> = (0..self.width).filter(|at| !used(at)).collect();
        if !unused.is_empty() {
            told += &format!("; not read: columns {}", self.list(&unused));
        }
        told
    }

    /// Returns whether a row repeats the header.
    pub fn is_header_again(&self, row: &ByteRecord) -> bool {
        let again = |names: &Vec<String>| {
            row.iter().zip(names).all(|(field, name)| field.trim_ascii() == name.as_bytes())
        };
        self.header && self.names.as_ref().is_some_and(again)
    }

    /// Reads a row; the error says what is wrong with it.
    pub fn read(&self, row: &ByteRecord, options: &Options) -> Result<Row, String> {
        if row.len() != self.width {
            return Err(format!("{} columns instead of {}", row.len(), self.width));
        }
        if self.is_header_again(row) {
            return Err("the header comes again".into());
        }
        if let Some(at) = self.empty.iter().find(|at| !row[**at].trim_ascii().is_empty()) {
            let text = String::from_utf8_lossy(&row[*at]);
            return Err(format!("`{}` in column {at}, which has no name in the header", shortened(&text)));
        }
        let mut values = Vec::with_capacity(self.features.len());
        for (column, encoding) in self.features.iter().zip(&self.encodings) {
            encoding.push(encoding.field(&row[*column], self.named(*column), options)?, &mut values);
        }
        let given = |column: Option<usize>| column.map(|column| row[column].trim_ascii());
        let class = given(self.class).map(|name| std::str::from_utf8(name).map(String::from));
        let class = class.transpose().map_err(|_| not_utf8(self.named(self.class.unwrap_or_default())))?;
        if let Some(length) = class.as_ref().map(String::len).filter(|length| *length > LONGEST_CLASS) {
            return Err(format!("a class name of {length} bytes; at most {LONGEST_CLASS} are taken"));
        }
        let id = given(self.id).filter(|text| !options.is_missing(text)).map(|text| {
            let text =
                std::str::from_utf8(text).map_err(|error| format!("an id that is not UTF-8: {error}"))?;
            SampleId::plain(text).and_then(chosen)
        });
        Ok(Row { values, class, id: id.transpose()? })
    }

    /// Returns why a row with a missing value is not taken, if it is not: the job drops such rows, or it has no value.
    pub fn missing(&self, row: &Row, record: &ByteRecord, options: &Options) -> Option<String> {
        let at = row.values.iter().position(|value| value.is_nan())?;
        if !options.missing.is_drop() && !row.values.iter().all(|value| value.is_nan()) {
            return None;
        }
        let column = self.column_of(at);
        let text = String::from_utf8_lossy(&record[column]);
        Some(format!("the value in column {} is missing (`{}`)", self.name(column), shortened(text.trim())))
    }
}

/// A column in a message, whose name is only sought where the message is written.
struct Named<'l> {
    layout: &'l Layout,
    column: usize,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.layout.name(self.column))
    }
}

fn columns_of(one: Option<usize>) -> usize {
    usize::from(one.is_some())
}

fn is_unnamed(at: usize, name: &str) -> bool {
    name.is_empty() || (at == 0 && name == "Unnamed: 0")
}

/// Returns the class column by its name, where `left` columns are left for values and class: `label`, `class`, `target`
/// or `y`.
pub fn class_by_name(names: &[String], wanted: Wanted, left: usize) -> Option<usize> {
    let is = |name: &str| names.iter().position(|other| other.eq_ignore_ascii_case(name));
    let found = CLASS_NAMES.iter().filter_map(|name| Some((*name, is(name)?)));
    let mut found = found.filter(|(name, at)| match wanted {
        // Beside x it is a coordinate.
        Wanted::Classes => *name != "y" || *at + 1 == names.len() || is("x").is_none(),
        Wanted::Values(values) => matches!(*name, "label" | "class") || left == values + 1,
    });
    found.next().map(|(_, at)| at)
}

/// Returns whether a first row is a header.
fn is_header(first: &ByteRecord, options: &Options, wanted: Wanted) -> bool {
    let width = first.len();
    let class = match (&options.class, wanted) {
        (Some(column), _) => column.find(width, None).ok(),
        (None, Wanted::Classes) => width.checked_sub(1),
        (None, _) => None,
    };
    let others = || first.iter().enumerate().filter(|(at, _)| Some(*at) != class).map(|(_, field)| field);
    let numeric = |field: &[u8]| {
        std::str::from_utf8(field).is_ok_and(|text| text.trim().parse::<f64>().is_ok())
            || number(field, options.decimal).is_some()
    };
    if others().any(|field| numeric(field) && !options.is_missing(field)) {
        return counts(first) || first.iter().any(|field| is_one_of(field, &CERTAIN));
    }
    let is_category = |(column, categories): (Column, &Categories)| {
        let field = column.find(width, None).ok().and_then(|place| first.get(place));
        let text = field.and_then(|field| std::str::from_utf8(field).ok()).map(str::trim);
        matches!((categories, text), (Categories::Named(names), Some(text)) if names.iter().any(|name| name == text))
    };
    if options.categorical.declared(None).any(is_category) {
        return false;
    }
    !others().all(|field| options.is_missing(field))
}

/// Returns whether a row counts its columns: 0, 1, 2, …, perhaps behind an empty column for the index and before one
/// that is named like a class.
fn counts(row: &ByteRecord) -> bool {
    let index = usize::from(row.get(0).is_some_and(|first| first.trim_ascii().is_empty()));
    let class = usize::from(row.iter().next_back().is_some_and(|last| is_one_of(last, &CLASS_NAMES)));
    let counted = row.iter().skip(index).take(row.len().saturating_sub(index + class)).enumerate();
    let least = if index + class > 0 { 2 } else { LEAST_COUNTED };
    row.len() >= least
        && counted.into_iter().all(|(at, field)| field.trim_ascii() == at.to_string().as_bytes())
}

fn is_one_of(field: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

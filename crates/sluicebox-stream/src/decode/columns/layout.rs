//! Which column of a schema is what: by the options, by the names of columns, and by their types.

use crate::decode::columns::categories::declared;
use crate::decode::columns::hugging_face::class_labels;
use crate::decode::columns::pandas::index;
use crate::decode::columns::tensor;
use crate::decode::options::Options;
use crate::decode::table::{self, Categories, Column, Encoding};
use arrow_schema::{DataType, Field, Schema};
use std::collections::BTreeMap;

/// Columns that a message lists.
const TOLD: usize = 8;
/// Maximum nesting of lists: `[channels, height, width]`.
const DEEPEST: usize = 3;

/// What is known of the samples before the schema is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A sample has this number of values.
    Values(usize),
    /// Whatever the file holds.
    Any,
    /// Classes only: no values are read.
    Classes,
}

/// Columns that hold the values of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A number or a category each.
    Numbers(Vec<usize>),
    /// Lists of numbers.
    Lists(usize),
    /// Encoded images: their bytes, or a struct with them.
    Images(usize),
    /// None is read.
    Nothing,
}

/// Columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Names of all columns.
    pub names: Vec<String>,
    /// Column of the class.
    pub class: Option<usize>,
    /// Names of the classes by number, if the schema lists them.
    pub classes: Option<Vec<String>>,
    /// Column of the id.
    pub id: Option<usize>,
    /// Columns of the values.
    pub content: Content,
    /// Sizes of a sample, where the type of a column of lists says them.
    pub sizes: Option<Vec<usize>>,
    /// How each of these becomes values, where they are numbers and categories.
    pub encodings: Vec<Encoding>,
}

/// What a column may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    List,
    Image,
    Text,
    Other,
}

impl Kind {
    fn of(kind: &DataType) -> Kind {
        match kind {
            DataType::Boolean => Kind::Number,
            number if number.is_numeric() => Kind::Number,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
                let mut inner = kind;
                for _ in 0..=DEEPEST {
                    match inner {
                        DataType::List(field)
                        | DataType::LargeList(field)
                        | DataType::FixedSizeList(field, _) => inner = field.data_type(),
                        DataType::Boolean => return Kind::List,
                        number if number.is_numeric() => return Kind::List,
                        _ => break,
                    }
                }
                Kind::Other
            }
            DataType::Struct(fields) => {
                let bytes = fields.iter().find(|field| field.name() == "bytes");
                match bytes.is_some_and(|bytes| is_binary(bytes.data_type())) {
                    true => Kind::Image,
                    false => Kind::Other,
                }
            }
            binary if is_binary(binary) => Kind::Image,
            DataType::Dictionary(_, _) => Kind::Text,
            text if is_text(text) => Kind::Text,
            _ => Kind::Other,
        }
    }
}

fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl Layout {
    /// Decides what the columns of a schema are; the error says which column is wrong.
    pub fn of(schema: &Schema, options: &Options, wanted: Wanted) -> Result<Self, String> {
        let options = &options.table;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let width = names.len();
        let find = |column: &Column| column.find(width, Some(&names));
        let all = |columns: &[Column]| columns.iter().map(find).collect::<Result<Vec<usize>, String>>();
        let (features, ignored) = (all(&options.features)?, all(&options.ignore)?);
        let kind = |at: usize| Kind::of(schema.field(at).data_type());
        let declared = declared(options, &names)?;
        let wanted = match wanted {
            Wanted::Values(values) => Wanted::Values(values.saturating_sub(options.categorical.more())),
            other => other,
        };
        let id = match &options.id {
            Some(column) => Some(find(column)?),
            None => names.iter().position(|name| name.eq_ignore_ascii_case("id")),
        };
        let id = id.filter(|id| options.id.is_some() || !(features.contains(id) || ignored.contains(id)));
        let index = index(schema);
        let left: Vec<usize> = (0..width)
            .filter(|at| !ignored.contains(at) && Some(*at) != id && !index.contains(&names[*at]))
            .collect();
        let labels = class_labels(schema);
        let class = match &options.class {
            Some(column) => Some(find(column)?),
            None => by_name(&names, &left, &features, wanted, |at| kind(at) == Kind::Number)
                .or_else(|| match &labels[..] {
                    [(name, _)] => left.iter().copied().find(|at| names[*at] == *name),
                    _ => None,
                })
                .filter(|class| !features.contains(class)),
        };
        for (column, what) in [(class, "class"), (id, "id")] {
            if let Some(column) = column.filter(|column| !matches!(kind(*column), Kind::Number | Kind::Text))
                && *schema.field(column).data_type() != DataType::Null
            {
                let holds = schema.field(column).data_type();
                return Err(format!(
                    "column `{}` holds {holds}, but {what} is a whole number or a text; set source.{what}_column",
                    names[column]
                ));
            }
        }
        let classes = class.and_then(|class| labels.into_iter().find(|(name, _)| *name == names[class]));
        let content = match wanted {
            Wanted::Classes => Content::Nothing,
            _ if features.is_empty() => {
                let free: Vec<usize> = left.into_iter().filter(|at| Some(*at) != class).collect();
                found(schema, &free, &declared)?
            }
            _ => chosen(schema, features, &declared)?,
        };
        let columns = match &content {
            Content::Numbers(columns) => &columns[..],
            _ => &[],
        };
        if let Some(column) = declared.keys().find(|column| !columns.contains(column))
            && content != Content::Nothing
        {
            return Err(format!("column `{}` is categorical, but no feature", names[*column]));
        }
        if let (Content::Numbers(columns), Wanted::Values(values)) = (&content, wanted)
            && columns.len() != values
        {
            let (found, list) = (columns.len(), list(&names, columns));
            let with = match options.categorical.more() {
                0 => String::new(),
                more => format!(", with {more} values of categories beyond these,"),
            };
            return Err(format!(
                "{found} columns of numbers{with} instead of {values} ({list}); source.ignore and source.features choose"
            ));
        }
        let encoding = |column: &usize| declared.get(column).cloned().unwrap_or(Encoding::Number);
        let encodings = columns.iter().map(encoding).collect();
        let sizes = match content {
            Content::Lists(column) => tensor::sizes(schema.field(column))?,
            _ => None,
        };
        let classes = classes.map(|(_, classes)| classes);
        Ok(Self { names, class, classes, id, content, sizes, encodings })
    }

    /// Returns the number of values of a sample of numbers and categories.
    pub fn values(&self) -> usize {
        self.encodings.iter().map(Encoding::width).sum()
    }

    /// Returns the columns that are read, in their order.
    pub fn read(&self) -> Vec<usize> {
        let mut read: Vec<usize> = [self.class, self.id].into_iter().flatten().collect();
        match &self.content {
            Content::Numbers(columns) => read.extend(columns),
            Content::Lists(column) | Content::Images(column) => read.push(*column),
            Content::Nothing => {}
        }
        read.sort_unstable();
        read.dedup();
        read
    }

    /// Returns the same layout of a batch that holds only the columns that are read.
    pub fn projected(&self) -> Self {
        let read = self.read();
        let place = |column: usize| read.iter().position(|at| *at == column).unwrap_or_default();
        Self {
            names: read.iter().map(|at| self.names[*at].clone()).collect(),
            class: self.class.map(place),
            classes: self.classes.clone(),
            id: self.id.map(place),
            content: match &self.content {
                Content::Numbers(columns) => {
                    Content::Numbers(columns.iter().map(|column| place(*column)).collect())
                }
                Content::Lists(column) => Content::Lists(place(*column)),
                Content::Images(column) => Content::Images(place(*column)),
                Content::Nothing => Content::Nothing,
            },
            sizes: self.sizes.clone(),
            encodings: self.encodings.clone(),
        }
    }

    /// Says what was decided.
    pub fn told(&self) -> String {
        let name = |column: usize| format!("`{}`", self.names[column]);
        let one = |what: &str, column: Option<usize>| {
            column.map_or(format!("no {what}"), |column| format!("{what}: column {}", name(column)))
        };
        let values = match &self.content {
            Content::Numbers(columns) => {
                let categories = columns.iter().zip(&self.encodings).filter_map(|(column, encoding)| {
                    let categories = encoding.categories()?;
                    Some(match categories {
                        Categories::Named(of_one) => format!("{} ({})", name(*column), of_one.len()),
                        Categories::Hashed(width) => format!("{} (hashed into {width})", name(*column)),
                    })
                });
                let categories: Vec<String> = categories.take(TOLD).collect();
                let values = format!("values: {} columns, {}", columns.len(), list(&self.names, columns));
                match categories.is_empty() {
                    true => values,
                    false => format!(
                        "{values}; categories, of which each is a value: columns {}",
                        categories.join(", ")
                    ),
                }
            }
            Content::Lists(column) => format!("values: the lists in column {}", name(*column)),
            Content::Images(column) => format!("values: the images in column {}", name(*column)),
            Content::Nothing => "no values".into(),
        };
        let read = self.read();
        let unread: Vec<usize> = (0..self.names.len()).filter(|at| !read.contains(at)).collect();
        let unread = match unread.is_empty() {
            true => String::new(),
            false => format!("; not read: {}", list(&self.names, &unread)),
        };
        format!("{values}; {}; {}{unread}", one("class", self.class), one("id", self.id))
    }
}

/// Returns the class column by its name, among the columns that are left.
fn by_name(
    names: &[String],
    left: &[usize],
    features: &[usize],
    wanted: Wanted,
    is_number: impl Fn(usize) -> bool,
) -> Option<usize> {
    let those: Vec<String> = left.iter().map(|at| names[*at].clone()).collect();
    let numbers_only = left.iter().all(|at| is_number(*at));
    let wanted = match wanted {
        Wanted::Values(values) if numbers_only && features.is_empty() => table::Wanted::Values(values),
        _ => table::Wanted::Classes,
    };
    table::class_by_name(&those, wanted, left.len()).map(|place| left[place])
}

/// Returns the content of the columns that are left for it.
fn found(schema: &Schema, free: &[usize], declared: &BTreeMap<usize, Encoding>) -> Result<Content, String> {
    let kind = |at: usize| Kind::of(schema.field(at).data_type());
    let whole: Vec<usize> =
        free.iter().copied().filter(|at| matches!(kind(*at), Kind::List | Kind::Image)).collect();
    match whole[..] {
        [column] if kind(column) == Kind::Image => return Ok(Content::Images(column)),
        [column] => return Ok(Content::Lists(column)),
        [] => {}
        _ => {
            let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            let (count, list) = (whole.len(), list(&names, &whole));
            return Err(format!(
                "{count} columns hold lists or images ({list}): name the one of the values in source.features"
            ));
        }
    }
    chosen(schema, free.to_vec(), declared)
}

/// Returns the content of columns that are named, or that are all.
fn chosen(
    schema: &Schema,
    columns: Vec<usize>,
    declared: &BTreeMap<usize, Encoding>,
) -> Result<Content, String> {
    let field = |at: usize| schema.field(at);
    match columns[..] {
        [] => return Err("no column is left for the values".into()),
        [column] if Kind::of(field(column).data_type()) == Kind::List => return Ok(Content::Lists(column)),
        [column] if Kind::of(field(column).data_type()) == Kind::Image => return Ok(Content::Images(column)),
        _ => {}
    }
    let is_one = |at: usize| match Kind::of(field(at).data_type()) {
        Kind::Number => true,
        Kind::Text => declared.contains_key(&at),
        _ => false,
    };
    match columns.iter().find(|at| !is_one(**at)) {
        None => Ok(Content::Numbers(columns)),
        Some(at) => Err(unsuited(field(*at))),
    }
}

fn unsuited(field: &Field) -> String {
    let name = field.name();
    let what = match Kind::of(field.data_type()) {
        Kind::Text => {
            return format!(
                "column `{name}` holds text or categories; name it in source.categorical to have each category as a \
                 value, or put it into source.ignore"
            );
        }
        Kind::List | Kind::Image => {
            return format!("column `{name}` holds a whole sample: name it alone in source.features");
        }
        _ => format!("{}, which is no number;", field.data_type()),
    };
    format!(
        "column `{name}` holds {what} put it into source.ignore, or the columns of the values into source.features"
    )
}

fn list(names: &[String], columns: &[usize]) -> String {
    let told: Vec<String> = columns.iter().take(TOLD).map(|at| format!("`{}`", names[*at])).collect();
    let more = if columns.len() > TOLD { ", …" } else { "" };
    format!("{}{more}", told.join(", "))
}

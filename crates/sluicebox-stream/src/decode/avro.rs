//! A sample as a record of Avro, by the names of its fields as in JSON. A union with null is a value that may be missing.
//!
//! A schema must say how large what it describes can be: one that contains itself is refused, and so is an array of items
//! without bytes. A record has at most 4 MiB, and so memory for it is bounded.

use crate::decode::api::{Record, chosen};
use crate::decode::array;
use crate::decode::gathered::Gathered;
use crate::decode::keys::{Keys, Meaning};
use crate::decode::nested::Nested;
use crate::decode::table::Given;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::util::max_allocation_bytes;
use sluicebox_core::sample::Format;
use sluicebox_core::sample_id::SampleId;
use std::collections::HashMap;

/// Maximum size of a record, in bytes.
const LARGEST: usize = 4 << 20;
/// Maximum memory of an array or a text, in bytes.
const LARGEST_PART: usize = 64 << 20;
/// Maximum number of fields of a schema, with those of the records in it.
const MOST_FIELDS: u64 = 100_000;

/// Schema by which records were written.
pub struct Schema(apache_avro::Schema);

impl Schema {
    /// Parses a schema in JSON; the error says why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        max_allocation_bytes(LARGEST_PART); // the first call in the process counts
        let schema = apache_avro::Schema::parse_str(text).map_err(|error| error.to_string())?;
        Weigher::default().weigh(&schema)?;
        Ok(Self(schema))
    }
}

/// Least bytes and number of fields of what a schema describes.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    bytes: u64,
    fields: u64,
}

/// Weighs schemas, of which those with a name may come again.
#[derive(Default)]
struct Weigher {
    open: Vec<String>,
    known: HashMap<String, Weight>,
}

impl Weigher {
    fn weigh(&mut self, schema: &apache_avro::Schema) -> Result<Weight, String> {
        use apache_avro::Schema as Of;
        let of = |bytes: u64| Ok(Weight { bytes, fields: 1 });
        match schema {
            Of::Null => of(0),
            Of::Float => of(4),
            Of::Double => of(8),
            Of::Fixed(fixed) | Of::Duration(fixed) => of(fixed.size as u64),
            Of::Array(array) => {
                let items = self.weigh(&array.items)?;
                match items.bytes {
                    0 => {
                        Err("it has an array of items without bytes, of which a record can claim any number"
                            .into())
                    }
                    _ => Ok(Weight { bytes: 1, fields: items.fields }),
                }
            }
            Of::Map(map) => self.weigh(&map.types).map(|of| Weight { bytes: 1, ..of }),
            Of::Union(union) => {
                let mut whole = Weight { bytes: u64::MAX, fields: 0 };
                for one in union.variants() {
                    let one = self.weigh(one)?;
                    whole = Weight {
                        bytes: whole.bytes.min(one.bytes.saturating_add(1)),
                        fields: whole.fields + one.fields,
                    };
                }
                Ok(whole)
            }
            Of::Record(record) => {
                let name = record.name.name().to_string();
                self.open.push(name.clone());
                let mut whole = Weight::default();
                for field in &record.fields {
                    let one = self.weigh(&field.schema)?;
                    whole.bytes = whole.bytes.saturating_add(one.bytes);
                    whole.fields += one.fields;
                    if whole.fields > MOST_FIELDS {
                        return Err(format!("it has more than {MOST_FIELDS} fields"));
                    }
                }
                self.open.pop();
                self.known.insert(name, whole);
                Ok(whole)
            }
            Of::Ref { name } => match name.name() {
                name if self.open.iter().any(|open| open == name) => {
                    Err(format!("`{name}` contains itself, so that records can nest without end"))
                }
                name => Ok(self.known.get(name).copied().unwrap_or(Weight { bytes: 0, fields: 1 })),
            },
            _ => of(1),
        }
    }
}

/// Decodes one sample that was written by `schema`; the error says what is wrong with it.
pub fn sample(datum: &[u8], schema: &Schema, format: &Format, keys: &Keys) -> Result<Record, String> {
    if datum.len() > LARGEST {
        return Err(format!("a record of more than {} MiB", LARGEST >> 20));
    }
    let mut rest = datum;
    let reader = GenericDatumReader::builder(&schema.0).build();
    let value = reader.and_then(|reader| reader.read_value(&mut rest));
    let value = value.map_err(|error| format!("not Avro of its schema: {error}"))?;
    if !rest.is_empty() {
        return Err(format!("not Avro of its schema: {} bytes are left over", rest.len()));
    }
    let mut gathered = Gathered::new(format, keys);
    object(&mut gathered, format, keys, None, value)?;
    gathered.record()
}

/// Takes the fields of a record or a map, which is `group` of the keys.
fn object(
    gathered: &mut Gathered<'_>,
    format: &Format,
    keys: &Keys,
    group: Option<usize>,
    value: Value,
) -> Result<(), String> {
    let fields: Vec<(String, Value)> = match value {
        Value::Union(_, value) => return object(gathered, format, keys, group, *value),
        Value::Record(fields) => fields,
        Value::Map(fields) => fields.into_iter().collect(),
        other => return Err(format!("{} where a record should be", what(&other))),
    };
    for (name, value) in fields {
        let path = keys.within(group, &name);
        let value = match value {
            Value::Union(_, value) => *value,
            value => value,
        };
        let wrong =
            |should: &str, value: &Value| format!("`{path}` is {} where {should} should be", what(value));
        match keys.meaning(&path)? {
            Meaning::Values => gathered.values(values(value, format)?)?,
            Meaning::Base64 => return Err(wrong("an array of values", &value)),
            Meaning::Id => {
                let id = match &value {
                    Value::Null => None,
                    Value::Int(number) => Some(number.to_string()),
                    Value::Long(number) => Some(number.to_string()),
                    Value::String(text) => Some(text.clone()),
                    Value::Uuid(id) => Some(id.to_string()),
                    other => return Err(wrong("an id", other)),
                };
                gathered.id(id.map(|id| SampleId::plain(&id).and_then(chosen)).transpose()?)?;
            }
            Meaning::Class => gathered.class(match value {
                Value::Null => None,
                Value::Int(number) => Some(number.to_string()),
                Value::Long(number) => Some(number.to_string()),
                Value::String(text) | Value::Enum(_, text) => Some(text),
                other => return Err(wrong("a class", &other)),
            })?,
            Meaning::Feature(at) => {
                let (encoding, name) = (&keys.encodings[at], format_args!("`{path}`"));
                let given = match &value {
                    Value::Null => Given::Missing,
                    Value::Boolean(yes) => encoding.boolean(*yes, name)?,
                    Value::Int(number) => encoding.whole((*number).into(), name)?,
                    Value::Long(number) => encoding.whole((*number).into(), name)?,
                    Value::Float(number) => encoding.number((*number).into(), name)?,
                    Value::Double(number) => encoding.number(*number, name)?,
                    Value::String(text) | Value::Enum(_, text) => keys.text(at, text)?,
                    other => return Err(wrong("a number or a category", other)),
                };
                gathered.feature(at, given)?;
            }
            Meaning::Group(inner) => object(gathered, format, keys, Some(inner), value)?,
            Meaning::Ignored => {}
        }
    }
    Ok(())
}

/// Returns a number; none if it is null.
fn number(value: &Value) -> Result<Option<f64>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::Boolean(yes) => Ok(Some(f64::from(u8::from(*yes)))),
        Value::Int(number) => Ok(Some(f64::from(*number))),
        Value::Long(number) => Ok(Some(*number as f64)),
        Value::Float(number) => Ok(Some(f64::from(*number))),
        Value::Double(number) => Ok(Some(*number)),
        _ => Err(()),
    }
}

/// Returns all values: nested arrays of numbers, or little-endian bytes.
fn values(value: Value, format: &Format) -> Result<sluicebox_core::sample::Values, String> {
    if let Value::Bytes(bytes) | Value::Fixed(_, bytes) = &value {
        return array::sample_of_bytes(bytes, format);
    }
    let mut nested = Nested::new(format);
    nest(&mut nested, &value, 0)?;
    nested.values(format)
}

fn nest(nested: &mut Nested, value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::Union(_, value) => nest(nested, value, depth),
        Value::Array(items) => {
            nested.open(depth)?;
            items.iter().try_for_each(|item| nest(nested, item, depth + 1))?;
            nested.close(depth, items.len())
        }
        Value::Null => Err("a value is missing".into()),
        value => match number(value) {
            Ok(Some(number)) => nested.push(depth, number),
            _ => Err(format!("{} where a number should be", what(value))),
        },
    }
}

/// Names what a value is.
fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "true or false",
        Value::Int(_) | Value::Long(_) | Value::Float(_) | Value::Double(_) => "a number",
        Value::Bytes(_) | Value::Fixed(..) => "bytes",
        Value::String(_) => "a text",
        Value::Enum(..) => "a symbol of an enum",
        Value::Union(_, value) => what(value),
        Value::Array(_) => "an array",
        Value::Map(_) => "a map",
        Value::Record(_) => "a record",
        Value::Date(_) => "a date (a logical type, which is not read)",
        Value::Decimal(_) | Value::BigDecimal(_) => "a decimal (a logical type, which is not read)",
        Value::Duration(_) => "a duration (a logical type, which is not read)",
        Value::Uuid(_) => "a UUID (a logical type, which is an id only)",
        _ => "a time (a logical type, which is not read)",
    }
}

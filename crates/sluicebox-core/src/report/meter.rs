//! Description of a reported number (unit, direction, group), and the macro that declares a set of numbers
//! with its descriptions.

use crate::report::label;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// Unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A whole number.
    Count,
    /// A rate per second.
    PerSecond,
    /// A fraction from 0 to 1.
    Share,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Microseconds,
    /// MiB: 2^20 bytes.
    Mebibytes,
    /// Natural units of information.
    Nats,
    /// Samples of the stream.
    Samples,
    /// 1 for yes, 0 for no.
    Flag,
    /// No unit: losses, norms.
    Plain,
}

impl Unit {
    /// Returns whether numbers of this unit are whole.
    fn is_whole(self) -> bool {
        matches!(self, Unit::Count | Unit::Samples)
    }
}

/// Direction in which a number is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Higher is better.
    Higher,
    /// Lower is better.
    Lower,
    /// Neither is better.
    Neither,
}

/// Kind of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Sum over the whole job, also across restarts.
    Total,
    /// Value over this epoch, or at its end.
    Gauge,
}

/// Group in which a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Speed.
    Throughput,
    /// Acceptance of pseudo-labels.
    Filter,
    /// Accuracy.
    Quality,
    /// Training of the student.
    Learning,
    /// Properties of the stream.
    Stream,
    /// State of the machine.
    System,
}

/// Description of a number. In JSON it also has its `label`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// Key, also in JSON.
    pub name: &'static str,
    /// Total or gauge.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// Direction in which it is better.
    pub better: Better,
    /// Group in which it is shown.
    pub group: Group,
    /// Meaning, in one sentence.
    pub help: &'static str,
}

impl Meter {
    /// Returns the name as words, for people: `samples_per_s` becomes `samples/s`. All outputs use this label.
    pub fn label(&self) -> String {
        label::label(self.name)
    }
}

impl Serialize for Meter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, kind, unit, better, group, help } = self;
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("name", name)?;
        map.serialize_entry("label", &self.label())?;
        map.serialize_entry("kind", kind)?;
        map.serialize_entry("unit", unit)?;
        map.serialize_entry("better", better)?;
        map.serialize_entry("group", group)?;
        map.serialize_entry("help", help)?;
        map.end()
    }
}

/// A set of numbers with their descriptions.
pub trait Meters: Default {
    /// Description of each number, in the order of [`Meters::values`].
    const METERS: &'static [Meter];

    /// Returns the numbers; none where one is not known.
    fn values(&self) -> Vec<Option<f64>>;

    /// Sets the number called `name`; ignores unknown names.
    fn put(&mut self, name: &str, value: Option<f64>);

    /// Returns the description of the number called `name`, if there is one.
    fn meter(name: &str) -> Option<&'static Meter> {
        Self::METERS.iter().find(|meter| meter.name == name)
    }

    /// Returns the number called `name`, where it is known and finite.
    fn value(&self, name: &str) -> Option<f64> {
        let at = Self::METERS.iter().position(|meter| meter.name == name)?;
        self.values()[at].filter(|value| value.is_finite())
    }
}

/// Writes numbers as a map, counts as integers.
pub(super) fn write<M: Meters, S: Serializer>(meters: &M, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(M::METERS.len()))?;
    for (meter, value) in M::METERS.iter().zip(meters.values()) {
        match value {
            Some(count) if meter.unit.is_whole() && count.fract() == 0.0 => {
                map.serialize_entry(meter.name, &(count as i64))?;
            }
            value => map.serialize_entry(meter.name, &value)?,
        }
    }
    map.end()
}

/// Declares a struct of numbers and the table of their descriptions. The doc comment of a field is its help
/// text.
macro_rules! meters {
    (
        $(#[$about:meta])* $set:ident;
        $( $(#[doc = $help:literal])+ $name:ident: $kind:ident $unit:ident $better:ident $group:ident; )+
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct $set {
            $( $(#[doc = $help])+ pub $name: Option<f64>, )+
        }

        impl Serialize for $set {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                meter::write(self, serializer)
            }
        }

        impl Meters for $set {
            const METERS: &'static [Meter] = &[ $( Meter {
                name: stringify!($name),
                kind: Kind::$kind,
                unit: Unit::$unit,
                better: Better::$better,
                group: Group::$group,
                help: concat!($($help),+).trim_ascii(),
            } ),+ ];

            fn values(&self) -> Vec<Option<f64>> {
                vec![ $( self.$name ),+ ]
            }

            fn put(&mut self, name: &str, value: Option<f64>) {
                match name {
                    $( stringify!($name) => self.$name = value, )+
                    _ => {}
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::Meters;
    use crate::report::meters::JobMeters;

    #[test]
    fn a_number_is_found_by_its_name_where_it_is_finite() {
        let job = JobMeters { accuracy: Some(0.5), drift: Some(f64::NAN), ..JobMeters::default() };
        assert_eq!(job.value("accuracy"), Some(0.5));
        assert_eq!((job.value("drift"), job.value("no such number")), (None, None));
    }
}

//! What a number is: its unit, direction and place, and how a set of numbers is declared with the
//! table that says so.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// What a number counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A whole number of things.
    Count,
    /// Things a second.
    PerSecond,
    /// From 0 to 1.
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
    /// None: losses, norms.
    Plain,
}

impl Unit {
    /// Whether its numbers are whole ones.
    fn is_whole(self) -> bool {
        matches!(self, Unit::Count | Unit::Samples)
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More is.
    Higher,
    /// Less is.
    Lower,
    /// Neither is.
    Neither,
}

/// How a number moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Grows over the whole job, also across restarts.
    Total,
    /// Of this epoch, or as it stood at its end.
    Gauge,
}

/// Where a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// How fast.
    Throughput,
    /// What the filter lets through.
    Filter,
    /// Whether it is right.
    Quality,
    /// How the student learns.
    Learning,
    /// What the stream is like.
    Stream,
    /// What the machine says.
    System,
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Meter {
    /// Its key, also in JSON.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// Where it is shown.
    pub group: Group,
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// Numbers of one kind of thing, with what each is.
pub trait Meters: Default {
    /// What each number is, in the order of [`Meters::values`].
    const METERS: &'static [Meter];

    /// The numbers; none where nothing is known.
    fn values(&self) -> Vec<Option<f64>>;

    /// Puts the number called `name`; one that is not known here is left out.
    fn put(&mut self, name: &str, value: Option<f64>);
}

/// A whole number with its thousands set apart: `1,234,567`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes numbers as a map. Counts are whole.
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

/// Declares a struct of numbers and the table that says what they are. The comment of a field is
/// its help text.
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

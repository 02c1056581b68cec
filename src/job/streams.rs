//! `[source]`: one source, or several with weights.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluicebox_core::config::document::{Document, Section};
use sluicebox_core::config::registry::Spec;
use sluicebox_stream::source::SOURCES;

/// One source of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Share of this source in each step, relative to the other sources. 0: only its labelled and held-out
    /// samples are used.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// Kind and options of the source.
    #[serde(flatten)]
    pub spec: Spec,
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// Reads the sources of a job; none if one of them is invalid.
pub fn read(document: &mut Document, root: &mut Section<'_>) -> Option<Vec<Stream>> {
    let sections = document.one_or_more(root, "source");
    let mut streams = Vec::new();
    for mut section in sections {
        let whole = section.clone();
        let weight = document.number(&mut section, "weight").unwrap_or(1.0);
        if !(0.0..=1e9).contains(&weight) {
            document.fault(&whole, "weight", format!("{weight} is not 0 or more"));
        }
        streams.push(SOURCES.resolve(document, section, None).map(|spec| Stream { weight, spec }));
    }
    let streams: Vec<Stream> = streams.into_iter().collect::<Option<_>>()?;
    if streams.iter().all(|stream| stream.weight == 0.0) {
        document.fault(root, "source", "every source has weight 0, so there is no stream");
    }
    Some(streams)
}

/// Writes a single source as a table, several as a list of tables.
pub fn serialize<S: Serializer>(streams: &[Stream], serializer: S) -> Result<S::Ok, S::Error> {
    match streams {
        [single] => single.serialize(serializer),
        several => several.serialize(serializer),
    }
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Stream>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Streams {
        Single(Stream),
        Several(Vec<Stream>),
    }
    Ok(match Streams::deserialize(deserializer)? {
        Streams::Single(stream) => vec![stream],
        Streams::Several(streams) => streams,
    })
}

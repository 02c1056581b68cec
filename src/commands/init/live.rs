//! Samples that come while the job runs: nothing can be looked at but a file of some that are alike.

use super::arguments::Init;
use super::json_lines::{self, Found};
use super::questions;
use super::source_text::{SourceText, column, list, shape, text};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Shape};

/// Where the samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `POST /samples`.
    Http,
    /// `sluicebox feed`.
    Tcp,
    /// Standard input.
    Lines,
    /// A topic.
    Kafka,
}

impl Kind {
    /// Returns the kind of this name.
    pub fn of(name: &str) -> Option<Kind> {
        Some(match name {
            "http" => Kind::Http,
            "tcp" => Kind::Tcp,
            "lines" | "-" => Kind::Lines,
            "kafka" => Kind::Kafka,
            _ => return None,
        })
    }
}

/// Returns the section of the source, and what its samples are.
pub fn source(kind: Kind, arguments: &mut Init) -> Result<(SourceText, Format)> {
    let found = match &arguments.like {
        Some(path) => json_lines::look(path, arguments)?,
        None => Found::default(),
    };
    let sizes = match (&arguments.shape[..], found.shape) {
        ([], found) if !found.is_empty() => found,
        ([], _) => questions::shape()?,
        (given, _) => given.to_vec(),
    };
    let classes = match (&arguments.classes[..], found.classes) {
        ([], found) if found.len() > 1 => found,
        ([], _) => questions::classes()?,
        (given, _) => given.to_vec(),
    };
    let dtype = match (arguments.dtype.as_deref(), &sizes[..], found.dtype) {
        (Some("u8"), ..) | (None, [_, _, _], None) => Dtype::U8,
        (None, _, Some(dtype)) => dtype,
        _ => Dtype::F32,
    };
    let source = match kind {
        Kind::Http => SourceText::of("http"),
        Kind::Tcp => SourceText::of("tcp").with(
            "listen",
            text("127.0.0.1:7879"),
            "where feeders connect: sluicebox feed",
        ),
        Kind::Lines => SourceText::of("lines").with("format", text("ndjson"), "or csv"),
        Kind::Kafka => SourceText::of("kafka")
            .with("brokers", text(&arguments.brokers), "TLS and passwords: docs/kafka.md")
            .with("topic", text(&arguments.topic), "")
            .with("encoding", text("ndjson"), "or confluent-json, avro, raw"),
    };
    let mut source = source.with("shape", shape(&sizes), "of a sample").with("dtype", text(dtype.name()), "");
    if let Some(scale) = found.scale.filter(|_| dtype == Dtype::U8) {
        source =
            source.with("scale", scale.to_string(), "from a value to the network's input: the largest is 1");
    }
    source = source.with("classes", list(&classes), "as labels name them");
    if kind != Kind::Tcp {
        source = source.with_list("features", &found.features, "keys of the values, in their order");
        if let Some(name) = arguments.class_column.as_deref().or(found.class.as_deref()) {
            source =
                source.with("class_column", column(name), "key of the label, which may be missing or null");
        }
        source = source.with_list("ignore", &arguments.ignore, "");
    }
    let sample_shape = match sizes[..] {
        [features] => Shape::Vector { features },
        [channels, height, width] => Shape::Image { channels, height, width },
        _ => Shape::Vector { features: sizes.iter().product() }, // the job's own check says what is wrong
    };
    Ok((source, Format { shape: sample_shape, dtype, scale: 1.0, classes }))
}

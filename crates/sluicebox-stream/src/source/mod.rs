//! Sources of samples: the [`Source`](api::Source) trait and the registry [`SOURCES`]. One file and one registry
//! row per source.

pub mod api;
mod array_set;
mod bad_records;
mod blocks;
mod cifar;
mod class_names;
mod csv;
mod dead_letter;
pub mod digits;
mod files;
mod filled;
mod folder;
mod http;
mod idx;
mod image_files;
mod kafka;
mod lines;
pub mod logged;
mod npy;
mod sample_format;
pub mod tcp;
mod wanted;

pub use files::files_of;

use crate::source::api::Build;
use sluicebox_core::config::registry::{Entry, Registry};

/// All sources that a job can name.
pub static SOURCES: Registry<Build> = Registry {
    what: "source",
    entries: &[
        Entry::new::<digits::Settings>(
            "digits",
            "1,797 handwritten digits (8×8) inside the program, as an endless stream that can drift",
            digits::build,
        ),
        Entry::new::<idx::Settings>(
            "idx",
            "IDX files, gzip or raw: MNIST, Fashion-MNIST and similar sets",
            idx::build,
        ),
        Entry::new::<cifar::Settings>("cifar", "CIFAR-10 or CIFAR-100 in their binary form", cifar::build),
        Entry::new::<npy::Settings>(
            "npy",
            "NumPy arrays of pixels or features, and optionally of their classes",
            npy::build,
        ),
        Entry::new::<files::Settings>(
            "files",
            "a data set in files, in order: Parquet, Arrow, tar, images, IDX, NPY, CSV, NDJSON, CIFAR",
            files::build,
        ),
        Entry::new::<folder::Settings>(
            "folder",
            "files that appear in a folder: images, Parquet, Arrow, IDX, NPY, CSV, NDJSON, CIFAR, tar",
            folder::build,
        ),
        Entry::new::<csv::Settings>(
            "csv",
            "numeric features and a class column, in the order of the file, gzip or plain",
            csv::build,
        ),
        Entry::new::<http::Settings>(
            "http",
            "samples sent to POST /samples of the job's server",
            http::build,
        ),
        Entry::new::<lines::Settings>(
            "lines",
            "NDJSON or CSV from standard input: some-program | sluicebox run job.toml",
            lines::build,
        ),
        Entry::new::<tcp::Settings>(
            "tcp",
            "samples that feeders send over TCP or TLS, acknowledged once they are durable",
            tcp::build,
        ),
        Entry::new::<kafka::Settings>(
            "kafka",
            "a Kafka topic; the checkpoint holds the offsets, no consumer group does",
            kafka::build,
        ),
    ],
};

/// Returns whether the sources of a kind are [timed](api::Source::is_timed), without building one.
pub fn is_timed(kind: &str) -> bool {
    matches!(kind, "folder" | "http" | "kafka" | "lines" | "tcp")
}

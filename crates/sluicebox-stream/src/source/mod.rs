//! Sources of samples: the [`Source`] trait and the registry [`SOURCES`]. One file and one registry
//! row per source.

pub mod api;
mod blocks;
mod cifar;
mod csv;
mod dead_letter;
mod digits;
mod folder;
mod http;
mod idx;
mod kafka;
mod lines;
pub mod logged;
mod npy;
pub mod tcp;
mod tolerance;

use crate::source::api::Build;
use sluicebox_core::config::registry::{Entry, Registry, resolve};

/// All sources that a job can name.
pub static SOURCES: Registry<Build> = Registry {
    what: "source",
    entries: &[
        Entry {
            name: "digits",
            about: "1,797 real handwritten digits (8×8), embedded, flowing for ever; can drift",
            resolve: resolve::<digits::Settings>,
            build: digits::build,
        },
        Entry {
            name: "idx",
            about: "IDX files, gzip or raw: MNIST, Fashion-MNIST and their kin",
            resolve: resolve::<idx::Settings>,
            build: idx::build,
        },
        Entry {
            name: "cifar",
            about: "CIFAR-10 or CIFAR-100 in their binary form",
            resolve: resolve::<cifar::Settings>,
            build: cifar::build,
        },
        Entry {
            name: "npy",
            about: "NumPy arrays: samples and, where they are known, classes; pixels or features",
            resolve: resolve::<npy::Settings>,
            build: npy::build,
        },
        Entry {
            name: "folder",
            about: "files that appear in a folder: PNG, JPEG, IDX, NPY, CSV, NDJSON, CIFAR",
            resolve: resolve::<folder::Settings>,
            build: folder::build,
        },
        Entry {
            name: "csv",
            about: "numeric features and a class column, in the order of the file, gzip or plain",
            resolve: resolve::<csv::Settings>,
            build: csv::build,
        },
        Entry {
            name: "http",
            about: "what comes in by POST /samples at the job's server",
            resolve: resolve::<http::Settings>,
            build: http::build,
        },
        Entry {
            name: "lines",
            about: "NDJSON or CSV from standard input: some-program | sluicebox run job.toml",
            resolve: resolve::<lines::Settings>,
            build: lines::build,
        },
        Entry {
            name: "tcp",
            about: "samples that feeders send over TCP or TLS, acknowledged once they are durable",
            resolve: resolve::<tcp::Settings>,
            build: tcp::build,
        },
        Entry {
            name: "kafka",
            about: "a topic of Kafka; offsets are kept in the checkpoint, not in a group",
            resolve: resolve::<kafka::Settings>,
            build: kafka::build,
        },
    ],
};

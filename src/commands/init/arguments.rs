//! The arguments of `init`.

use clap::Args;
use std::path::PathBuf;

/// Arguments of `init`.
#[derive(Args)]
pub struct Init {
    /// The data: a file, a folder, or files such as 'train-*.parquet' or 'train-{000..099}.tar' in quotes; for samples
    /// that come while the job runs http, tcp, lines (standard input) or kafka. It is asked for where it is missing.
    pub data: Option<String>,
    /// The job file to write. A file that is there already is left as it is.
    #[arg(short, long, value_name = "FILE", default_value = "job.toml")]
    pub output: PathBuf,
    /// Shape of a sample: 5 features, or the channels, height and width 1,28,28 of an image.
    #[arg(long, value_name = "N[,N,N]", value_delimiter = ',')]
    pub shape: Vec<usize>,
    /// Type of a value; by default that of the data, and for live images u8, for other live samples f32.
    #[arg(long, value_name = "TYPE", value_parser = ["u8", "f32"])]
    pub dtype: Option<String>,
    /// Names of the classes; by default those in the data.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Column (or key of JSON) of the class: its name, or its place from 0.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub class_column: Option<String>,
    /// Columns (or keys of JSON) that are not read.
    #[arg(long, value_name = "COLUMN,COLUMN", value_delimiter = ',', allow_hyphen_values = true)]
    pub ignore: Vec<String>,
    /// Data for evaluation, in the form of the data.
    #[arg(long, value_name = "PATH")]
    pub test: Option<String>,
    /// Samples that are labelled from the start.
    #[arg(long, value_name = "N")]
    pub labelled: Option<usize>,
    /// The method; `sluicebox list` has them all.
    #[arg(long, value_name = "KIND", default_value = "fixmatch")]
    pub method: String,
    /// A file of lines of JSON like those that will come live: shape, keys and classes are taken from it.
    #[arg(long, value_name = "FILE")]
    pub like: Option<PathBuf>,
    /// Brokers of kafka.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:9092")]
    pub brokers: String,
    /// Topic of kafka.
    #[arg(long, default_value = "samples")]
    pub topic: String,
}

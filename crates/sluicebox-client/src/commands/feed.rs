//! `feed`: sends samples to a running job.

use super::Token;
use super::stop::stop_on_ctrl_c;
use crate::feed::{self, Input, Rate};
use clap::Args;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Shape};
use sluicebox_core::terminal::say;
use sluicebox_stream::decode;
use sluicebox_stream::decode::table::{self, Categorical, Categories, Column};
use sluicebox_stream::decode::{Kind, Missing};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `feed`.
#[derive(Args)]
pub struct Feed {
    /// Address of the job: host:port (default port 7879).
    address: String,
    /// Files (parquet, arrow, idx, cifar, npy, csv, ndjson, png, jpeg, webp, tiff, gif, bmp, tar; gzip or plain), lists of
    /// them in quotes ('shard-{000..099}.tar'), folders of them and of such folders, or - for stdin, which is also the default.
    files: Vec<PathBuf>,
    /// Format of stdin.
    #[arg(long, value_name = "KIND", default_value = "ndjson", value_parser = ["ndjson", "csv", "npy"])]
    stdin: String,
    /// Highest rate at which samples are sent, such as 500/s or 30/min.
    #[arg(long)]
    rate: Option<Rate>,
    /// Send the files again and again, until stopped.
    #[arg(long = "loop")]
    repeat: bool,
    /// Id under which the job counts these samples; the same id with the same files resumes where it
    /// stopped. By default derived from the host's and the files' names.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[command(flatten)]
    token: Token,
    /// Use TLS, and trust the certificates (PEM) in this file.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Samples per frame.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Refuse a job whose samples have another shape: 5, or 1,28,28.
    #[arg(long, value_name = "N[,N,N]", value_delimiter = ',')]
    shape: Vec<usize>,
    /// Refuse a job whose values have another type.
    #[arg(long, value_name = "TYPE", value_parser = ["u8", "f32"])]
    dtype: Option<String>,
    /// Time for which an unreachable or silent job is retried; 0s: one attempt. An attempt fails if the job does not
    /// answer within 10 s, or within this time if that is shorter (but at least 2 s). Once it has answered there is
    /// no limit: a job that is paused or has a full log acknowledges when it has room again.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime_serde::re::humantime::parse_duration)]
    retry_for: Duration,
    /// Skip bad records instead of stopping at the first.
    #[arg(long)]
    skip_bad: bool,
    /// Send no labels. Otherwise a label goes along with its sample: the `label` of NDJSON, the class column of CSV,
    /// that of a CIFAR record, an IDX file of labels beside that of the images, a folder of images named like a class.
    #[arg(long)]
    no_labels: bool,
    /// Resize images of another size.
    #[arg(long)]
    resize: bool,
    /// Colour behind the transparent parts of images: white, grey, black or #rrggbb.
    #[arg(long, value_name = "COLOUR", default_value_t = decode::Background::default())]
    background: decode::Background,
    /// Column of the class in CSV, Parquet and Arrow: its name in the header, or its place from 0 (negative from the end). By default
    /// the column that a header names label, class, target or y. In NDJSON its key, by default label.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    class_column: Option<String>,
    /// Column of the id in CSV, Parquet and Arrow, or its key in NDJSON; by default id.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    id_column: Option<String>,
    /// Columns of the features in CSV, Parquet and Arrow, by name or place, or their keys in NDJSON, in the order of the job's values. By
    /// default all other columns; NDJSON then has `values`.
    #[arg(long, value_name = "COLUMN[,COLUMN]", value_delimiter = ',', allow_hyphen_values = true)]
    features: Vec<String>,
    /// Columns of CSV, Parquet and Arrow that are not read, by name or place, and keys of NDJSON that are left out.
    #[arg(long, value_name = "COLUMN[,COLUMN]", value_delimiter = ',', allow_hyphen_values = true)]
    ignore: Vec<String>,
    /// A column of categories in CSV, Parquet and Arrow, or its key in NDJSON, with its categories in the order of the
    /// job's values, 'protocol=icmp|tcp|udp', or with the number of values to hash them into, 'service=32'. Can be given
    /// for several columns.
    #[arg(long, value_name = "COLUMN=CATEGORIES")]
    categorical: Vec<String>,
    /// Send samples of which features are missing: the job's source.missing says what takes their place.
    #[arg(long)]
    missing: bool,
    /// Character between columns in CSV.
    #[arg(long, value_name = "C", default_value_t = ',')]
    delimiter: char,
}

/// Feeds until everything is acknowledged, and prints how many samples that was.
pub fn feed(arguments: Feed) -> Result<()> {
    let stdin = || Input::Stdin(kind_of_stdin(&arguments.stdin));
    let mut inputs: Vec<Input> = Vec::new();
    for path in arguments.files {
        inputs.push(if path.as_os_str() == "-" { stdin() } else { Input::File(path) });
    }
    if inputs.is_empty() {
        inputs.push(stdin());
    }
    if arguments.repeat && inputs.iter().any(|input| matches!(input, Input::Stdin(_))) {
        return Err(Error::request("--loop: stdin cannot be read again"));
    }
    let token = arguments.token.read()?;
    let shape = match arguments.shape[..] {
        [] => None,
        [features] => Some(Shape::Vector { features }),
        [channels, height, width] => Some(Shape::Image { channels, height, width }),
        _ => return Err(Error::request("--shape needs FEATURES or CHANNELS,HEIGHT,WIDTH")),
    };
    let dtype = arguments.dtype.map(|name| if name == "u8" { Dtype::U8 } else { Dtype::F32 });
    let columns = |names: &[String]| names.iter().map(|name| Column::from(name.as_str())).collect();
    let decode = decode::Options {
        resize: arguments.resize,
        background: arguments.background,
        table: table::Options {
            delimiter: arguments.delimiter,
            class: arguments.class_column.as_deref().map(Column::from),
            id: arguments.id_column.as_deref().map(Column::from),
            features: columns(&arguments.features),
            ignore: columns(&arguments.ignore),
            categorical: categorical(&arguments.categorical)?,
            missing: if arguments.missing { Missing::Mean } else { Missing::Drop },
            ..table::Options::default()
        },
    };
    if let Some((key, reason)) = decode.table.faults().first() {
        return Err(Error::request(format!("--{key}: {reason}")));
    }
    let settings = feed::Settings {
        address: arguments.address,
        inputs,
        decode,
        skip_bad: arguments.skip_bad,
        labels: !arguments.no_labels,
        rate: arguments.rate,
        repeat: arguments.repeat,
        client_id: arguments.client_id,
        token,
        tls_ca: arguments.tls_ca,
        batch: arguments.batch,
        shape,
        dtype,
        retry_for: arguments.retry_for,
    };
    let resumes = !settings.repeat && settings.inputs.iter().all(|input| matches!(input, Input::File(_)));
    let kept = move || {
        let rest = if resumes { "; the same command sends the rest" } else { "" };
        format!("the job has what it acknowledged{rest}")
    };
    let stop = stop_on_ctrl_c("waiting until the samples read so far are acknowledged", kept)?;
    say(&feed::feed(&settings, &stop)?.to_string());
    Ok(())
}

/// Reads columns of categories, as `COLUMN=a|b|c` or `COLUMN=COUNT`.
fn categorical(given: &[String]) -> Result<Categorical> {
    let column = |text: &String| {
        let (column, categories) = text.split_once('=').ok_or_else(|| {
            Error::request(format!(
                "--categorical: `{text}` is neither COLUMN=CATEGORY|CATEGORY nor COLUMN=COUNT"
            ))
        })?;
        let named = || Categories::Named(categories.split('|').map(|name| name.trim().to_string()).collect());
        Ok((
            column.trim().to_string(),
            categories.trim().parse().map_or_else(|_| named(), Categories::Hashed),
        ))
    };
    given.iter().map(column).collect::<Result<_>>().map(Categorical::Declared)
}

fn kind_of_stdin(name: &str) -> Kind {
    match name {
        "csv" => Kind::Csv,
        "npy" => Kind::Npy,
        _ => Kind::Ndjson,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_names_or_a_count() {
        let read = |text: &str| categorical(&[text.to_string()]);
        let named = |names: &[&str]| Categories::Named(names.iter().map(|name| name.to_string()).collect());
        let of = |column: &str, categories| Categorical::Declared([(column.to_string(), categories)].into());
        assert_eq!(read("proto=icmp|tcp| udp").ok(), Some(of("proto", named(&["icmp", "tcp", "udp"]))));
        assert_eq!(read("2=32").ok(), Some(of("2", Categories::Hashed(32))));
        assert!(read("proto").unwrap_err().to_string().contains("neither COLUMN=CATEGORY|CATEGORY nor"));
    }
}

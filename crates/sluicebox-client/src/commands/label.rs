//! `label`: sends labels for samples of a running job.

use super::Token;
use crate::labels::Client;
use clap::Args;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::say;
use sluicebox_stream::ingest::LabelMessage;
use std::path::{Path, PathBuf};

/// Arguments of `label`.
#[derive(Args)]
pub struct Label {
    /// Address of the job's server, such as http://127.0.0.1:7878.
    address: String,
    /// A sample's id and its class, by name or number; null withdraws the label.
    #[arg(value_name = "ID=CLASS", required_unless_present = "file", value_parser = crate::labels::parse)]
    labels: Vec<LabelMessage>,
    /// Read labels from a file, or from standard input (-): lines `id,class`, or JSON objects.
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    file: Option<PathBuf>,
    #[command(flatten)]
    token: Token,
    /// File with the certificates (PEM) to trust instead of the default ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Sends the labels and prints how many were accepted.
pub fn label(arguments: Label) -> Result<()> {
    let client = Client::new(&arguments.address, arguments.token.read()?, arguments.ca.as_deref())?;
    let accepted = match &arguments.file {
        None => client.send(&arguments.labels)?,
        Some(path) if path.as_os_str() == "-" => {
            client.send_lines(std::io::stdin(), Path::new("standard input"))?
        }
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
            client.send_lines(file, path)?
        }
    };
    say(&format!("{accepted} labels accepted"));
    Ok(())
}

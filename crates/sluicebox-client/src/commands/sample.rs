//! `sample`: writes samples of an embedded set, to try out what a job can be fed with.

use clap::{Args, ValueEnum};
use serde_json::json;
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::source::digits;
use std::io::{BufWriter, ErrorKind, Write};

/// Arguments of `sample`.
#[derive(Args)]
pub struct Sample {
    /// The set: handwritten digits of 8×8 pixels from 0 to 16, those that a job of the same seed does not hold out.
    #[arg(value_enum)]
    set: Set,
    /// Number of samples. A set that has fewer comes again, in another order.
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 1000)]
    count: u64,
    /// Samples that carry their label: the first ones.
    #[arg(long, value_name = "N", default_value_t = 40)]
    labels: u64,
    /// Id of the first sample; the next ones count up.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    first_id: u32,
    /// Write the true classes instead, a line `id,class` each, as `label --file` reads them.
    #[arg(long)]
    truth: bool,
    /// Seed of the order.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Set {
    Digits,
}

/// Writes the samples to stdout, a JSON object a line. Ends early where nobody reads on.
pub fn sample(arguments: &Sample) -> Result<()> {
    let Set::Digits = arguments.set;
    match write(arguments, BufWriter::new(std::io::stdout().lock())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Request(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn write(arguments: &Sample, mut to: impl Write) -> std::io::Result<()> {
    for (at, (pixels, class)) in (0..arguments.count).zip(digits::endless(arguments.seed)) {
        let id = u64::from(arguments.first_id) + at;
        if arguments.truth {
            writeln!(to, "{id},{class}")?;
        } else if at < arguments.labels {
            writeln!(to, "{}", json!({ "id": id, "values": pixels, "label": class }))?;
        } else {
            writeln!(to, "{}", json!({ "id": id, "values": pixels }))?;
        }
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(arguments: Sample) -> Vec<String> {
        let mut text = Vec::new();
        write(&arguments, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(String::from).collect()
    }

    fn arguments() -> Sample {
        Sample { set: Set::Digits, count: 1500, labels: 40, first_id: 7, truth: false, seed: 0 }
    }

    #[test]
    fn the_first_samples_carry_labels_and_the_truth_has_all() {
        let (samples, truth) = (lines(arguments()), lines(Sample { truth: true, ..arguments() }));
        assert_eq!((samples.len(), truth.len()), (1500, 1500));
        for (at, (sample, truth)) in samples.iter().zip(&truth).enumerate() {
            let sample: serde_json::Value = serde_json::from_str(sample).unwrap();
            assert_eq!(sample["id"], at + 7);
            assert_eq!(sample["values"].as_array().unwrap().len(), 64);
            assert_eq!(sample.get("label").is_some(), at < 40);
            let (id, class) = truth.split_once(',').unwrap();
            assert_eq!(id, (at + 7).to_string());
            let label = sample["label"].to_string();
            assert!(at >= 40 || label == class);
        }
        assert_ne!(samples, lines(Sample { seed: 1, ..arguments() }));
    }
}

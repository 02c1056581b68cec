//! `eval`: evaluates the newest checkpoint.

use clap::Args;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;
use std::path::PathBuf;

/// Arguments of `eval`.
#[derive(Args)]
pub struct Eval {
    /// The state folder of a job.
    state: PathBuf,
    /// Evaluate on another source, such as csv; set its options with --set source.path=….
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Override a key of the saved job; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Most samples to evaluate.
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints accuracy, classes, confusion and calibration.
pub fn eval(arguments: Eval) -> Result<()> {
    let mut sets = arguments.set;
    // The kind of the source goes first, since the options that follow belong to it.
    sets.splice(0..0, arguments.source.map(|kind| format!("source.kind={kind}")));
    let (found, format) = sluicebox::run::evaluate::saved(&arguments.state, &sets, arguments.limit)?;
    if arguments.json {
        say(&serde_json::to_string(&found).map_err(Error::request)?);
        return Ok(());
    }
    say(&format!("samples            {:>8}", found.samples));
    say(&format!("accuracy           {:>7.2}%", 100.0 * found.accuracy));
    say(&format!("calibration error  {:>7.2}%", 100.0 * found.calibration_error));
    if found.not_finite > 0 {
        say(&format!(
            "not finite         {:>8}   samples without an answer; they count as wrong",
            found.not_finite
        ));
    }
    say(&format!(
        "\nclass        accuracy   predicted as{}",
        format.classes.iter().map(|c| format!(" {c:>6}")).collect::<String>()
    ));
    for ((class, accuracy), row) in format.classes.iter().zip(&found.class_accuracy).zip(&found.confusion) {
        let accuracy = accuracy.map_or("-".into(), |accuracy| format!("{:.2}%", 100.0 * accuracy));
        let row: String = row.iter().map(|count| format!(" {count:>6}")).collect();
        say(&format!("{class:<12} {accuracy:>8}           {row}"));
    }
    Ok(())
}

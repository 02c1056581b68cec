//! `export`: writes the newest checkpoint's network for PyTorch and libtorch.

use clap::Args;
use sluicebox::engine::checkpoint::Pick;
use sluicebox::run::export;
use sluicebox::run::export::Form;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;
use std::path::{Path, PathBuf};

/// Arguments of `export`.
#[derive(Args)]
pub struct Export {
    /// The state folder of a job.
    state: PathBuf,
    /// Write the best checkpoint (checkpoint.best) instead of the newest.
    #[arg(long)]
    best: bool,
    /// The file to write: model.safetensors holds the weights, model.pt (TorchScript) the network.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Form of a file whose name ends in neither .safetensors nor .pt.
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Write what the job's answers add to the network as well, as it is now: sluicebox.answer of the Python package
    /// gives the job's answers.
    #[arg(long)]
    answer: bool,
}

/// Writes the network.
pub fn export(arguments: &Export) -> Result<()> {
    let Export { state, best, to, form, answer } = arguments;
    let form = form.map_or_else(|| form_of(to), Ok)?;
    let exported = export::saved(state, Pick::best_if(*best), to, form, *answer)?;
    let about = &exported.description;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    say(&format!("{}: the teacher's network after step {}", to.display(), about.step));
    match exported.additions {
        None if *answer => say("the network is the whole answer: the job's answers add nothing to it"),
        None => {}
        Some(additions) if *answer => say(&format!(
            "in the file as they are now: what the job's answers add to the network, {additions}"
        )),
        Some(additions) => {
            let known = about.network_accuracy.zip(about.accuracy);
            let known = known.map_or(String::new(), |(network, answers)| {
                format!(
                    ": on held-out samples the network alone was right in {}, the answers in {}",
                    percent(network),
                    percent(answers)
                )
            });
            say(&format!(
                "not in the file: what the job's answers add to the network, {additions}{known}; --answer writes it into a \
                 .safetensors file"
            ));
        }
    }
    Ok(())
}

/// Returns the form that a file's name asks for.
fn form_of(to: &Path) -> Result<Form> {
    match to.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Ok(Form::Safetensors),
        Some("pt") => Ok(Form::Torchscript),
        _ => Err(Error::file(
            to,
            "its name ends in neither .safetensors nor .pt (TorchScript); say which with --form",
        )),
    }
}

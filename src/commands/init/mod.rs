//! `init`: looks at data and writes a job file that learns from it, with what each part means.

mod arguments;
mod arrays;
mod data;
mod job_file;
mod json_lines;
mod live;
mod questions;
mod source_text;

pub use arguments::Init;

use sluicebox::job::Job;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::terminal::{say, tell};
use sluicebox_stream::source::api::Context;
use source_text::SourceText;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Labelled rows and labelled samples per class that are tried where the data has too few for the usual number.
const FEWER: [(usize, usize); 3] = [(100, 10), (30, 4), (10, 1)];

/// Writes the job file, and says what it found and how to go on.
pub fn init(mut arguments: Init) -> Result<()> {
    let output = arguments.output.clone();
    refuse_existing(&output)?;
    let data = match arguments.data.take() {
        Some(data) => data,
        None => questions::data()?,
    };
    let (source, format) = match live::Kind::of(&data).filter(|_| !Path::new(&data).exists()) {
        Some(kind) => live::source(kind, &mut arguments)?,
        None => {
            let source = data::source(&data, &arguments)?;
            match arguments.labelled {
                Some(_) => {
                    let format = look(&source)?;
                    (source, format)
                }
                None => look_for_labels(source)?,
            }
        }
    };
    let text = job_file::text(&data, &source, &format, &arguments);
    let stem = output.file_stem().map_or("job".into(), |stem| stem.to_string_lossy().into_owned());
    let shown = output.display();
    let job = Job::parse(&shown.to_string(), &stem, text.clone(), &[])?;
    let new = OpenOptions::new().write(true).create_new(true).open(&output);
    new.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Error::file(&output, error))?;
    say(&format!("{shown}: {}", job_file::described(&format)));
    for note in &source.notes {
        tell(note);
    }
    let state = if job.source_kinds().iter().any(|kind| sluicebox_stream::source::is_timed(kind)) {
        " --state state"
    } else {
        ""
    };
    tell(&format!("next: `sluicebox check {shown}`, then `sluicebox run {shown}{state} --listen`"));
    Ok(())
}

fn refuse_existing(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => {
            Err(Error::file(path, "it is there already, and is left as it is; name another file: -o FILE"))
        }
        Err(_) => Ok(()),
    }
}

/// Looks at the source, with fewer labelled samples where the data has too few.
fn look_for_labels(source: SourceText) -> Result<(SourceText, Format)> {
    let whole = look(&source);
    if whole.is_err() {
        for (first, per_class) in FEWER {
            let fewer = source.fewer(&[("labelled_first", first), ("labelled_per_class", per_class)]);
            if let Ok(format) = look(&fewer) {
                return Ok((fewer, format));
            }
        }
    }
    whole.map(|format| (source, format))
}

/// Opens the source as a job would, and returns what its samples are.
fn look(source: &SourceText) -> Result<Format> {
    let job = Job::parse("the source that was found", "job", source.section(), &[])?;
    let aside = tempfile::tempdir().map_err(|error| Error::file(std::env::temp_dir(), error))?;
    let context = Context { is_look: true, state: Some(aside.path().into()), ..Context::default() };
    Ok(sluicebox::run::sources(&job, &context)?.format().clone())
}

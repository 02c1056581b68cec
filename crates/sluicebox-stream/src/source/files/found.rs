//! What the job does not say of the samples: the first file says it, and the log tells what was found.

use crate::decode;
use crate::decode::{DecodeError, class_name};
use crate::source::class_names;
use crate::source::files::settings::Settings;
use crate::source::sample_format::{SampleFormatOptions, scale_of};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use std::collections::BTreeSet;
use std::path::Path;

/// Most classes that are found in a file.
const MOST_CLASSES: usize = 10_000;

/// Returns the format of the samples.
pub fn format(first: &Path, options: &Settings, decoding: &decode::Options) -> Result<Format> {
    let look = decode::look(first, decoding)?;
    let mut told = vec![look.told].into_iter().filter(|told| !told.is_empty()).collect::<Vec<_>>();
    let (shape, dtype) = match (&options.shape[..], options.dtype, look.sample) {
        (given @ [_, ..], Some(dtype), _) => (SampleFormatOptions::shape_of(given), dtype),
        (given, dtype, Ok((shape, found))) => {
            let shape = if given.is_empty() { shape } else { SampleFormatOptions::shape_of(given) };
            let dtype = dtype.unwrap_or(found);
            told.push(format!("samples are {shape} of {}", dtype.name()));
            (shape, dtype)
        }
        (_, _, Err(reason)) => {
            return Err(Error::file(first, format!("{reason}; set source.shape and source.dtype")));
        }
    };
    let scale = scale_of(dtype, options.scale);
    let mut format = Format { shape, dtype, scale, classes: options.classes.clone() };
    if format.classes.is_empty() {
        let is_listed = look.classes.is_some();
        let found = match look.classes {
            Some(classes) => Found { classes, ..Found::default() },
            None => in_records(first, &format, decoding)?,
        };
        let Found { classes, records, without, first_bad } = found;
        let count = classes.len();
        if count < 2 {
            let reason = format!(
                "{count} class(es) are in it, but a job needs two or more: set source.classes, or source.class_column to \
                 the column of the class{}",
                first_bad.unwrap_or_default()
            );
            return Err(Error::file(first, reason));
        }
        let shown = class_names::shown(&classes);
        told.push(match is_listed {
            true => format!("{count} classes, as the file lists them: {shown}"),
            false => format!(
                "{count} classes, by its records: {shown}; {} of {records} records have a class",
                records - without
            ),
        });
        class_names::warn_of_odd(first, &classes);
        format.classes = classes;
    }
    if !told.is_empty() {
        tracing::info!("{}: {}", first.display(), told.join("; "));
    }
    Ok(format)
}

/// Classes of the records of a file.
#[derive(Default)]
struct Found {
    /// In numerical order if all are numbers, else by name.
    classes: Vec<String>,
    /// Good records, and those of them without a class.
    records: u64,
    without: u64,
    /// What is wrong with the first bad one.
    first_bad: Option<String>,
}

/// Reads a whole file for the classes of its records.
fn in_records(path: &Path, format: &Format, decoding: &decode::Options) -> Result<Found> {
    let mut records = decode::open_classes(path, format, decoding)?;
    let (mut found, mut all) = (BTreeSet::new(), Found::default());
    loop {
        match records.next_record() {
            Ok(None) => break,
            Ok(Some(record)) => {
                all.records += 1;
                all.without += u64::from(record.class.is_none());
                let class = record.class.filter(|class| !found.contains(class));
                found.extend(class.map(|class| class_name::plain(&class).into_owned()));
            }
            Err(DecodeError::Bad { line, reason, .. }) => {
                all.first_bad.get_or_insert_with(|| format!("; record {line}: {reason}"));
            }
            Err(DecodeError::Broken(reason)) => return Err(Error::file(path, reason)),
        }
        if found.len() > MOST_CLASSES {
            let reason = format!(
                "more than {MOST_CLASSES} different classes: is source.class_column the column of the class? Set \
                 source.classes to all of them if it is"
            );
            return Err(Error::file(path, reason));
        }
    }
    all.classes = found.into_iter().collect();
    class_names::sort(&mut all.classes);
    Ok(all)
}

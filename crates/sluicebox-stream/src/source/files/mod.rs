//! A data set in files of any kind that is read, in order, file after file: streamed in shuffled blocks, pass after
//! pass. A record without a class is an unlabelled sample.

mod found;
mod paths;
mod reader;
mod settings;

pub use settings::Settings;

use crate::decode;
use crate::source::api::{Context, OWN_IDS, Source};
use crate::source::bad_records::BadRecords;
use crate::source::blocks::{DataSet, Options, SampleReader, ShuffledBlocks};
use crate::source::filled::filled;
use crate::source::wanted::Wanted;
use paths::Paths;
use reader::{Reader, Set};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use std::path::{PathBuf, absolute};

/// Files of the stream and for evaluation.
struct Files {
    streamed: Set,
    test: Option<Set>,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let mut streamed = options.path.files()?;
    let test = options.test.as_ref().map(|test| test.files()).transpose()?;
    if let Some(test) = &test {
        let before = streamed.len();
        streamed.retain(|file| !test.contains(file));
        match before - streamed.len() {
            0 => {}
            _ if streamed.is_empty() => {
                return Err(Error::request("source.path: all its files are also those of source.test"));
            }
            both => tracing::info!("{both} files of source.path are for evaluation, and not streamed"),
        }
    }
    let own = context.own_files(options.dead_letter.as_ref());
    streamed.retain(|file| absolute(file).is_ok_and(|file| !own.iter().any(|own| file.starts_with(own))));
    let first = streamed.first().ok_or_else(|| Error::request("source.path: there is no file of data"))?;
    let decoding = decode::with_categories(first, &options.decoding())?;
    let format = found::format(first, &options, &decoding)?;
    let pixels = context.pixel_range(&format);
    if let Some(pixels) = &pixels {
        pixels.check_scale(format.dtype).map_err(|reason| Error::file(first, reason))?;
    }
    let set = |files: Vec<_>| Set {
        files: files.into(),
        format: format.clone(),
        options: decoding.clone(),
        pixels: pixels.clone(),
    };
    let files = Files { streamed: set(streamed), test: test.map(set) };
    let stream = Options {
        labelled: Wanted::new(options.labelled_per_class, options.labelled),
        shuffle_buffer: options.shuffle_buffer,
        repeat: options.repeat,
        own_ids: (!options.repeat).then_some(OWN_IDS * (context.source as u64 + 1)),
    };
    let bad = BadRecords::new(options.max_bad, options.dead_letter, context);
    let source = ShuffledBlocks::new(Box::new(files), format.clone(), stream, bad, context.seed)?;
    Ok(filled(Box::new(source), options.missing))
}

/// Returns the files that a `path` of this source names: a file, a folder, a pattern or a list of shards.
pub fn files_of(path: &str) -> Result<Vec<PathBuf>> {
    Paths::from(path).files()
}

impl DataSet for Files {
    fn open(&self) -> Result<Box<dyn SampleReader>> {
        Ok(Box::new(Reader::new(self.streamed.clone())))
    }

    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>> {
        Ok(self.test.clone().map(|test| Box::new(Reader::new(test)) as Box<dyn SampleReader>))
    }
}

//! File-based data sets as streams: read block by block and shuffled within a block, so that memory
//! holds one block of decoded samples, however large the files are. Some samples of each class are
//! labelled; the others stream, pass after pass.

use crate::source::api::{HeldOut, ReadProgress, Source};
use crate::source::bad_records::BadRecords;
use crate::source::dead_letter::State as Letters;
use crate::source::wanted::Wanted;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Samples, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::HashSet;
use std::path::Path;

/// A data set that can be read repeatedly.
pub trait DataSet {
    /// Opens the streamed samples at the first one.
    fn open(&self) -> Result<Box<dyn SampleReader>>;

    /// Opens the samples for evaluation, if the set has any.
    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>>;

    /// Returns whether the classes of the streamed samples are known.
    fn knows_classes(&self) -> bool {
        true
    }
}

/// Forward reader of samples.
pub trait SampleReader {
    /// Returns the number of samples.
    fn count(&self) -> usize;

    /// Returns the file to name in messages.
    fn file(&self) -> &Path;

    /// Reads the next sample, while there is one: its values and, if known, its class. The inner
    /// error says what is wrong with a sample after which reading can continue.
    fn next(&mut self) -> Result<Result<(Values, Option<usize>), String>>;
}

/// Options of all sources that stream a data set.
pub struct Options {
    /// Labelled samples.
    pub labelled: Wanted,
    /// Samples that are decoded and shuffled together.
    pub shuffle_buffer: usize,
    /// Whether to start again at the end, for ever.
    pub repeat: bool,
}

/// The default of `shuffle_buffer`.
pub fn block() -> usize {
    4096
}
/// The default of `labelled_per_class`.
pub fn twenty_five() -> usize {
    25
}
/// The default of `repeat`.
pub fn yes() -> bool {
    true
}

/// Position of the stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Position {
    /// Completed passes over the set.
    pass: u64,
    /// Block within the pass.
    block: u64,
    /// Samples of the block that were read.
    taken: u64,
    /// Extent of the dead-letter file before the block.
    letters: Letters,
}

/// The current pass.
struct Pass {
    number: u64,
    /// Samples of the pass that were read.
    item: usize,
    samples: Box<dyn SampleReader>,
}

/// Samples in stream order: index in the set, values and class.
type Block = Vec<(usize, Values, Option<usize>)>;

/// A source that streams a data set.
pub struct ShuffledBlocks {
    set: Box<dyn DataSet>,
    format: Format,
    options: Options,
    bad: BadRecords,
    randomness: Randomness,
    labelled: Labelled,
    /// Indices of the labelled samples.
    chosen: HashSet<usize>,
    position: Position,
    pass: Option<Pass>,
    block: Option<Block>,
}

impl ShuffledBlocks {
    /// Streams `set`, whose samples have `format`, in an order drawn from `seed`.
    pub fn new(
        set: Box<dyn DataSet>,
        format: Format,
        options: Options,
        bad: BadRecords,
        seed: u64,
    ) -> Result<Self> {
        let labelled = Labelled::none(format.dtype);
        let mut blocks = Self {
            set,
            format,
            options,
            bad,
            randomness: Randomness::new(seed, 0),
            labelled,
            chosen: HashSet::new(),
            position: Position::default(),
            pass: None,
            block: None,
        };
        blocks.choose_labelled()?;
        Ok(blocks)
    }

    /// Draws the labelled samples from the first block, and from further blocks if that has too few.
    fn choose_labelled(&mut self) -> Result<()> {
        let wanted = self.options.labelled;
        let mut samples = self.set.open()?;
        let mut chosen: Vec<Vec<(usize, Values)>> = vec![Vec::new(); self.format.classes.len()];
        let (mut next, mut all) = (0, 0);
        let mut spoiled = None;
        while next < samples.count() && chosen.iter().any(|of_class| wanted.wants(of_class.len(), all)) {
            let mut candidates = Vec::new();
            for index in next..samples.count().min(next + self.options.shuffle_buffer) {
                match samples.next()? {
                    Ok((values, Some(class))) => candidates.push((class, index, values)),
                    Ok(_) => {}
                    Err(reason) => spoiled = spoiled.or(Some(reason)),
                }
            }
            next = samples.count().min(next + self.options.shuffle_buffer);
            candidates.shuffle(&mut self.randomness.at(u64::MAX - next as u64, Stage::Source));
            for (class, index, values) in candidates {
                if wanted.wants(chosen[class].len(), all) {
                    all += 1;
                    chosen[class].push((index, values));
                }
            }
        }
        let found: Vec<usize> = chosen.iter().map(Vec::len).collect();
        let shortage = wanted.shortage(&found, &self.format.classes);
        let none_left = all == samples.count();
        if let Some(shortage) = &shortage {
            if all == 0 || none_left {
                let why =
                    spoiled.map_or(String::new(), |reason| format!("; samples cannot be read: {reason}"));
                let rest = if none_left { "; every sample is labelled, so there is no stream" } else { "" };
                return Err(Error::file(samples.file(), format!("{shortage}{why}{rest}")));
            }
            tracing::warn!("{}: it {shortage}; the set is used as it is labelled", samples.file().display());
        }
        for (class, of_class) in chosen.into_iter().enumerate() {
            for (index, values) in of_class {
                self.labelled.values.extend_from(&values, 0..values.len());
                self.labelled.classes.push(class as i64);
                self.chosen.insert(index);
            }
        }
        if self.chosen.len() == samples.count() {
            let reason = "every sample is labelled, so there is no stream; lower source.labelled_per_class or source.labelled";
            return Err(Error::file(samples.file(), reason));
        }
        Ok(())
    }

    /// Decodes the block at the current position, reading forward from the pass's position. Returns
    /// None after the last block.
    fn decode(&mut self) -> Result<Option<Block>> {
        let Position { pass: number, block: at, .. } = self.position;
        let first = at as usize * self.options.shuffle_buffer;
        let mut pass = match self.pass.take() {
            Some(pass) if pass.number == number && pass.item <= first => pass,
            _ => Pass { number, item: 0, samples: self.set.open()? },
        };
        let end = pass.samples.count().min(first + self.options.shuffle_buffer);
        let mut block = Block::new();
        while pass.item < end {
            let index = pass.item;
            let sample = pass.samples.next()?;
            pass.item += 1;
            if index < first || self.chosen.contains(&index) {
                continue;
            }
            match sample {
                Ok((values, class)) => block.push((index, values, class)),
                // Reported in the first pass only.
                Err(reason) if number == 0 => {
                    let line = pass.item as u64;
                    self.bad.add(pass.samples.file(), line, &reason, "", line)?;
                }
                Err(_) => {}
            }
        }
        let over = first >= end;
        self.pass = Some(pass);
        block.shuffle(&mut self.randomness.at((number << 32) | at, Stage::Source));
        Ok((!over).then_some(block))
    }

    /// Fails if the pass yielded no sample: another pass would not either.
    fn check_pass(&self) -> Result<()> {
        let useless = |pass: &&Pass| self.bad.count() as usize + self.chosen.len() >= pass.samples.count();
        match self.pass.as_ref().filter(useless) {
            Some(pass) => Err(Error::file(pass.samples.file(), "no sample of the stream can be read")),
            None => Ok(()),
        }
    }
}

impl Stateful for ShuffledBlocks {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the source", &self.position)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        (self.pass, self.block) = (None, None);
        self.bad.restore(self.position.letters.clone())
    }
}

impl Source for ShuffledBlocks {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        Ok(self.labelled.clone())
    }

    fn knows_classes(&self) -> bool {
        self.set.knows_classes()
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let Some(mut samples) = self.set.open_test()? else { return Ok(None) };
        let mut held_out = Labelled::none(self.format.dtype);
        for _ in 0..limit.min(samples.count()) {
            if let Ok((values, Some(class))) = samples.next()? {
                held_out.values.extend_from(&values, 0..values.len());
                held_out.classes.push(class as i64);
            }
        }
        Ok(Some(Box::new(held_out)))
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let mut left = count;
        while left > 0 {
            if self.block.is_none() {
                self.block = self.decode()?;
            }
            let (Some(block), Some(pass)) = (&self.block, &self.pass) else {
                if !self.options.repeat {
                    return Ok(ReadProgress::End);
                }
                self.check_pass()?;
                self.position.pass += 1;
                self.position.block = 0;
                continue;
            };
            let before = self.position.pass * pass.samples.count() as u64;
            let from = self.position.taken as usize;
            let taken = &block[from..block.len().min(from + left)];
            for (index, values, class) in taken {
                samples.values.extend_from(values, 0..values.len());
                samples.ids.push(before + *index as u64);
                samples.truth.push(*class);
            }
            left -= taken.len();
            self.position.taken += taken.len() as u64;
            if self.position.taken as usize == block.len() {
                self.position.block += 1;
                self.position.taken = 0;
                self.position.letters = self.bad.state();
                self.block = None;
            }
        }
        Ok(ReadProgress::Full)
    }

    fn dead_letters(&self) -> u64 {
        self.bad.count()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.bad.reasons()
    }
}

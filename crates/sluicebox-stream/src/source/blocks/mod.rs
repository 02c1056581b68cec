//! File-based data sets as streams: read block by block and shuffled within a block, so that memory
//! holds one block of decoded samples, however large the files are. Some samples of each class are
//! labelled; the others stream, pass after pass.

mod block;
mod reader;

pub use reader::{DataSet, Place, Refused, Sample, SampleReader};

use crate::source::api::{HeldOut, ReadProgress, Source};
use crate::source::bad_records::BadRecords;
use crate::source::blocks::block::Block;
use crate::source::dead_letter::State as Letters;
use crate::source::wanted::Wanted;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Samples, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::HashSet;

/// Options of all sources that stream a data set.
pub struct Options {
    /// Labelled samples.
    pub labelled: Wanted,
    /// Samples that are decoded and shuffled together.
    pub shuffle_buffer: usize,
    /// Whether to start again at the end, for ever.
    pub repeat: bool,
    /// First id for samples that have none, where those that the records name are kept. They are only where nothing is
    /// repeated, since ids are unique in a stream.
    pub own_ids: Option<u64>,
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
    /// Where the block begins, if the reader can go there, and the records of the pass before.
    #[serde(skip)]
    place: Option<(Place, u64)>,
    /// Records of a pass, if they had to be read to know.
    #[serde(skip)]
    length: Option<u64>,
}

/// First number of a position that says what is left out of the plain one.
const WITH_PLACE: u64 = u64::MAX;

impl Position {
    fn encoded(&self) -> Result<Vec<u8>> {
        match (&self.place, self.length) {
            (None, None) => encode("the source", self),
            (place, length) => encode("the source", &(WITH_PLACE, self, place, length)),
        }
    }

    fn decoded(state: &[u8]) -> Result<Self> {
        if decode::<u64>("the source", state)? != WITH_PLACE {
            return decode("the source", state);
        }
        let (_, position, place, length): (u64, Self, _, _) = decode("the source", state)?;
        Ok(Self { place, length, ..position })
    }
}

/// The current pass.
struct Pass {
    number: u64,
    /// Samples of the pass that were read.
    item: usize,
    samples: Box<dyn SampleReader>,
}

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
    /// Room of a block that is done.
    spare: Option<Block>,
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
            spare: None,
        };
        blocks.choose_labelled()?;
        Ok(blocks)
    }

    /// Draws the labelled samples from the first block, and from further blocks if that has too few.
    fn choose_labelled(&mut self) -> Result<()> {
        let wanted = self.options.labelled;
        let mut samples = self.set.open()?;
        let mut chosen: Vec<Vec<(usize, Values)>> = vec![Vec::new(); self.format.classes.len()];
        let (mut next, mut all, mut over) = (0, 0, false);
        let mut spoiled = None;
        while !over && chosen.iter().any(|of_class| wanted.wants(of_class.len(), all)) {
            let mut candidates = Vec::new();
            let end = next + self.options.shuffle_buffer;
            while next < end && !over {
                match samples.next()? {
                    None => over = true,
                    Some(Ok(Sample { values, class: Some(class), .. })) => {
                        candidates.push((class, next, values));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(refused)) => spoiled = spoiled.or(Some(refused.reason)),
                }
                next += usize::from(!over);
            }
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
        let none_left = all == next && (over || samples.next()?.is_none());
        if none_left && next == 0 {
            return Err(Error::file(samples.file(), "there is no sample in it"));
        }
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
        if none_left {
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
            _ => self.open_pass()?,
        };
        let end = first + self.options.shuffle_buffer;
        let mut block = self.spare.take().unwrap_or_else(|| Block::none(&self.format));
        block.clear();
        let mut over = false;
        while pass.item < end {
            let index = pass.item;
            if index >= first {
                let is_labelled = |index| self.chosen.contains(&index);
                let fill = |most, run: &mut _| pass.samples.next_run(most, run);
                let taken = block.append(index, end - index, is_labelled, fill);
                pass.item += taken;
                if taken > 0 {
                    continue;
                }
            }
            let Some(sample) = pass.samples.next()? else {
                over = index <= first;
                break;
            };
            pass.item += 1;
            if index < first || self.chosen.contains(&index) {
                continue;
            }
            match sample {
                Ok(Sample { values, class, id }) => {
                    block.append(
                        index,
                        end - index,
                        |_| false,
                        |_, run| {
                            run.push(&values, class, id);
                            1
                        },
                    );
                }
                // Reported in the first pass only.
                Err(Refused { line, reason, text }) if number == 0 => {
                    self.bad.add(pass.samples.file(), line, &reason, &text, pass.item as u64)?;
                }
                Err(_) => {}
            }
        }
        if over && pass.samples.count().is_none() {
            self.position.length = Some(pass.item as u64);
        }
        self.pass = Some(pass);
        block.order.shuffle(&mut self.randomness.at((number << 32) | at, Stage::Source));
        Ok((!over).then_some(block))
    }

    /// Opens the set for the pass of the current position.
    fn open_pass(&self) -> Result<Pass> {
        let mut samples = self.set.open()?;
        let item = match &self.position.place {
            Some((place, item)) => {
                samples.go_to(place)?;
                *item as usize
            }
            None => 0,
        };
        Ok(Pass { number: self.position.pass, item, samples })
    }

    /// Fails if the pass yielded no sample: another pass would not either.
    fn check_pass(&self) -> Result<()> {
        let useless = |pass: &&Pass| self.bad.count() as usize + self.chosen.len() >= pass.item;
        match self.pass.as_ref().filter(useless) {
            Some(pass) => Err(Error::file(pass.samples.file(), "no sample of the stream can be read")),
            None => Ok(()),
        }
    }
}

impl Stateful for ShuffledBlocks {
    fn save(&self) -> Result<Vec<u8>> {
        self.position.encoded()
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = Position::decoded(state)?;
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

    fn has_own_ids(&self) -> bool {
        self.options.own_ids.is_some()
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let Some(mut samples) = self.set.open_test()? else { return Ok(None) };
        let mut held_out = Labelled::none(self.format.dtype);
        let mut spoiled = None;
        for _ in 0..limit {
            match samples.next()? {
                None => break,
                Some(Ok(Sample { values, class: Some(class), .. })) => {
                    held_out.values.extend_from(&values, 0..values.len());
                    held_out.classes.push(class as i64);
                }
                Some(Ok(_)) => {}
                Some(Err(Refused { line: 0, reason, .. })) => {
                    return Err(Error::file(samples.file(), reason));
                }
                Some(Err(refused)) => spoiled = spoiled.or(Some(refused)),
            }
        }
        let spoiled = spoiled.map(|Refused { line, reason, .. }| format!("{line}: {reason}"));
        if held_out.classes.is_empty() {
            let why = spoiled.map_or(String::new(), |spoiled| format!("; {spoiled}"));
            let reason = format!("it holds no sample for evaluation whose class is known{why}");
            return Err(Error::file(samples.file(), reason));
        }
        if let Some(spoiled) = spoiled {
            let file = samples.file().display();
            tracing::warn!("{file}: not all samples for evaluation can be read: {spoiled}");
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
                (self.position.block, self.position.place) = (0, None);
                continue;
            };
            let length = pass.samples.count().map(|count| count as u64).or(self.position.length);
            let before = self.position.pass * length.unwrap_or_default();
            let from = self.position.taken as usize;
            let taken = &block.order[from..block.order.len().min(from + left)];
            samples.values.reserve(taken.len() * self.format.shape.len());
            for (place, index) in taken {
                let (values, range, class, id) = block.sample(*place);
                samples.values.extend_from(values, range);
                samples.truth.push(class);
                let given = before + *index as u64;
                samples.push_id(match self.options.own_ids {
                    Some(first) => id.clone().unwrap_or(SampleId::of_key(first + given)),
                    None => SampleId::of_key(given),
                });
            }
            left -= taken.len();
            self.position.taken += taken.len() as u64;
            if self.position.taken as usize == block.order.len() {
                self.position.block += 1;
                self.position.taken = 0;
                self.position.letters = self.bad.state();
                self.position.place = pass.samples.place().map(|place| (place, pass.item as u64));
                self.spare = self.block.take();
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

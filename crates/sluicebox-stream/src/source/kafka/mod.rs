//! A Kafka topic as a source. A topic can be read again, so its samples are not copied to the
//! write-ahead log: a checkpoint holds the next offset of each partition, and no offsets are
//! committed to the brokers. Partitions are read as messages arrive; the step journal records the
//! order, so that a step can be repeated.

mod fetch;
mod lag;
mod message;
mod place;
mod reading;
mod schemas;
mod settings;
mod topic;

pub use settings::Settings;

use crate::decode::{Form, PixelRange};
use crate::ingest::IngestContext;
use crate::source::api::{Context, ReadProgress, Source};
use crate::source::dead_letter::DeadLetters;
use crate::source::filled::filled;
use fetch::Fetcher;
use lag::Lag;
use message::{Decoder, Encoding};
use reading::Reading;
use schemas::Schemas;
use settings::Start;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Format, Samples};
use sluicebox_core::state::Stateful;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use topic::Topic;

struct Kafka {
    options: Settings,
    format: Format,
    reading: Reading,
    /// The topic and its partitions, until fetching begins.
    reached: Option<(Topic, Vec<i32>)>,
    fetcher: Option<Fetcher>,
    pixels: Option<PixelRange>,
    lag: Lag,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = sluicebox_core::config::registry::settings(spec)?;
    let default = context.dead_letters();
    let letters = DeadLetters::new(options.dead_letter.clone().unwrap_or(default)).counting(context.is_look);
    let format = options.sample_format().format();
    let missing = options.missing;
    let kafka = Box::new(Kafka {
        pixels: context.pixel_range(&format),
        format,
        reading: Reading::new(options.topic.clone(), options.max_bad, letters),
        options,
        reached: None,
        fetcher: None,
        lag: Lag::default(),
    });
    Ok(filled(kafka, missing))
}

impl Kafka {
    /// Begins to fetch, if fetching has not begun.
    fn begin(&mut self) -> Result<()> {
        if self.fetcher.is_some() {
            return Ok(());
        }
        let (topic, partitions) = match self.reached.take() {
            Some(reached) => reached,
            None => Topic::reach(&self.options)?,
        };
        let anew = self.reading.next().is_empty();
        for partition in partitions {
            if self.reading.next().contains_key(&partition) {
                continue;
            }
            let Some(bounds) = topic.bounds(partition)? else {
                return Err(
                    topic.fault(format!("no broker reported the first offset of partition {partition}"))
                );
            };
            let latest = anew && self.options.start == Start::Latest;
            self.reading.meet(partition, if latest { bounds.high } else { bounds.low });
        }
        let Settings { encoding, id, label, registry_timeout, .. } = self.options.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let schemas = match encoding {
            Encoding::Avro => Some(Schemas::new(&topic.registry, registry_timeout, stop.clone())?),
            _ => None,
        };
        let keys = Form::of(self.options.decoding(), &self.format).keys;
        let (format, pixels) = (self.format.clone(), self.pixels.clone());
        let decoder = Decoder { encoding, id, label, format, keys, pixels, schemas };
        let next = self.reading.next().clone();
        self.fetcher = Some(Fetcher::start(topic, next, decoder, self.options.buffer_bytes, stop)?);
        Ok(())
    }
}

impl Stateful for Kafka {
    fn save(&self) -> Result<Vec<u8>> {
        self.reading.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.fetcher = None;
        self.reading.load(state)
    }
}

impl Source for Kafka {
    fn format(&self) -> &Format {
        &self.format
    }

    fn knows_classes(&self) -> bool {
        false
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn has_own_ids(&self) -> bool {
        self.options.encoding != Encoding::Raw || !self.options.id.is_value()
    }

    fn form(&self) -> Option<Form> {
        Some(Form::of(self.options.decoding(), &self.format))
    }

    fn open(&mut self, live: &IngestContext, _stream: u16) -> Result<()> {
        self.reading.meet_ids_at(live.ingest.clone());
        self.lag.show_in(live.ingest.backlog.clone());
        self.reached = Some(Topic::reach(&self.options)?);
        Ok(())
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        self.begin()?;
        let Some(fetcher) = &self.fetcher else { return Ok(ReadProgress::NotYet) };
        let mut fetched = fetcher.fetched()?;
        let progress = self.reading.read(count, &mut fetched, samples)?;
        self.lag.look(&self.options.topic, &fetched.ends, self.reading.next());
        Ok(progress)
    }

    fn note(&mut self) -> Result<Vec<u8>> {
        self.reading.note()
    }

    fn replay(&mut self, note: &[u8]) -> Result<()> {
        if self.reading.replay(note)? {
            self.fetcher = None; // the next read fetches from where the runs begin
        }
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        self.lag.sum()
    }

    fn dead_letters(&self) -> u64 {
        self.reading.dead_letters()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.reading.reasons()
    }
}

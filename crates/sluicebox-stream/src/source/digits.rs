//! UCI handwritten digits as in scikit-learn, embedded: 1,797 images of 8×8 pixels from 0 to 16 (E.
//! Alpaydin and C. Kaynak, 1998, "Optical Recognition of Handwritten Digits", CC BY 4.0; packed by
//! `scripts/pack-digits.py`). 397 are held out, a few are labelled; the others stream for ever and
//! can drift.

use crate::drift;
use crate::drift::Moment;
use crate::source::api::{Context, HeldOut, ReadProgress, Source};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Shape, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::borrow::Cow;

/// Records of 64 pixels and a class.
static DIGITS: &[u8] = include_bytes!("digits.bin");
const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const CLASSES: usize = 10;
const HELD_OUT: usize = 397;
const BRIGHTEST: f32 = 16.0;
/// Generator step for splitting the set; the steps of the stream are its positions.
const SPLIT: u64 = u64::MAX;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Labelled samples per class.
    pub labelled_per_class: usize,
    /// Periodic change of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { labelled_per_class: 4, drift: None }
    }
}

/// Periodic drift: each change is back at its start after every period.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drift {
    /// Period, in samples.
    pub period_samples: f64,
    /// Largest rotation, in degrees to either side.
    pub rotation_degrees: f64,
    /// Largest standard deviation of the noise; 1 is the full range of a pixel.
    pub noise: f64,
    /// Drift of class priors: a class is at most e^(2·prior) times as frequent as another.
    pub prior: f64,
}

impl Default for Drift {
    fn default() -> Self {
        Self { period_samples: 100_000.0, rotation_degrees: 60.0, noise: 0.1, prior: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "labelled_per_class", self.labelled_per_class as f64, 1.0..=100.0);
        if let Some(drift) = &self.drift {
            if drift.period_samples.is_nan() || drift.period_samples < 2.0 {
                faults.push(("drift", "period_samples must be 2 or more".into()));
            }
            if !(0.0..=1.0).contains(&drift.noise) {
                faults.push(("drift", "noise must be from 0 to 1".into()));
            }
            if !(0.0..=10.0).contains(&drift.prior) {
                faults.push(("drift", "prior must be from 0 to 10".into()));
            }
        }
        faults
    }
}

/// Returns the class of embedded record `index`.
fn class(index: usize) -> usize {
    usize::from(DIGITS[index * (PIXELS + 1) + PIXELS])
}

/// Returns the pixels of embedded record `index`.
fn pixels(index: usize) -> &'static [u8] {
    &DIGITS[index * (PIXELS + 1)..][..PIXELS]
}

struct Digits {
    format: Format,
    randomness: Randomness,
    drift: Option<Drift>,
    labelled: Vec<usize>,
    held_out: Vec<usize>,
    stream: Vec<usize>,
    by_class: Vec<Vec<usize>>,
    position: u64,
    order: (u64, Vec<usize>),
}

/// Returns the records in random order: those to learn from, and those held out.
fn split(randomness: Randomness) -> (Vec<usize>, Vec<usize>) {
    let mut all: Vec<usize> = (0..DIGITS.len() / (PIXELS + 1)).collect();
    all.shuffle(&mut randomness.at(SPLIT, Stage::Source));
    let held_out = all.split_off(all.len() - HELD_OUT);
    (all, held_out)
}

/// Returns the digits that a job with this seed does not hold out, again and again, each time in another order: the
/// 64 pixels (0 to 16) and the class of each.
///
/// ```
/// let digits = sluicebox_stream::source::digits::endless(0);
/// let (pixels, class) = digits.skip(5000).next().unwrap();
/// assert!(pixels.len() == 64 && class < 10);
/// ```
pub fn endless(seed: u64) -> impl Iterator<Item = (&'static [u8], usize)> {
    let randomness = Randomness::new(seed, 0);
    let (known, _) = split(randomness);
    let passes = (0..).flat_map(move |pass| {
        let mut order = known.clone();
        order.shuffle(&mut randomness.at(pass, Stage::Source));
        order
    });
    passes.map(|index| (pixels(index), class(index)))
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let randomness = Randomness::new(context.seed, 0);
    let (known, held_out) = split(randomness);
    let mut of_class = [0; CLASSES];
    let (labelled, stream): (Vec<_>, Vec<_>) = known.into_iter().partition(|index| {
        let seen = &mut of_class[class(*index)];
        *seen += 1;
        *seen <= options.labelled_per_class
    });
    let of = |wanted| stream.iter().copied().filter(|index| class(*index) == wanted).collect();
    let mut digits = Digits {
        format: Format {
            shape: Shape::Image { channels: 1, height: SIDE, width: SIDE },
            dtype: Dtype::U8,
            scale: 1.0 / BRIGHTEST,
            classes: (0..CLASSES).map(|digit| digit.to_string()).collect(),
        },
        randomness,
        drift: options.drift,
        by_class: (0..CLASSES).map(of).collect(),
        labelled,
        held_out,
        stream,
        position: 0,
        order: (0, Vec::new()),
    };
    digits.shuffle(0);
    Ok(Box::new(digits))
}

impl Digits {
    /// Shuffles the samples for a pass over the set.
    fn shuffle(&mut self, pass: u64) {
        let mut order = self.stream.clone();
        order.shuffle(&mut self.randomness.at(pass, Stage::Source));
        self.order = (pass, order);
    }

    /// Returns the record at the current position, and the generator for its changes.
    fn pick(&mut self) -> (usize, Draws) {
        let mut draws = self.randomness.at(self.position, Stage::Source);
        if let Some(drift) = self.drift.filter(|drift| drift.prior > 0.0) {
            let weights: Vec<f32> = (0..CLASSES).map(|c| drift.frequency(self.position, c)).collect();
            let mut left = draws.random::<f32>() * weights.iter().sum::<f32>();
            let chosen = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let members = &self.by_class[chosen.unwrap_or(CLASSES - 1)];
            return (members[draws.random_range(0..members.len())], draws);
        }
        let count = self.stream.len() as u64;
        let pass = self.position / count;
        if self.order.0 != pass {
            self.shuffle(pass);
        }
        (self.order.1[(self.position % count) as usize], draws)
    }
}

impl Stateful for Digits {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the source", &self.position)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        Ok(())
    }
}

impl Source for Digits {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        Ok(gather(&self.labelled))
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let still = gather(&self.held_out[..limit.min(self.held_out.len())]);
        Ok(Some(match self.drift {
            None => Box::new(still),
            Some(drift) => {
                let format = self.format.clone();
                Box::new(Drifting { still, drift, format, randomness: self.randomness })
            }
        }))
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let Values::U8(values) = &mut samples.values else {
            return Err(Error::Engine("digits are u8".into()));
        };
        for _ in 0..count {
            let (index, mut draws) = self.pick();
            match &self.drift {
                None => values.extend_from_slice(pixels(index)),
                Some(drift) => {
                    values.extend(drift.apply(pixels(index), self.position, &self.format, &mut draws));
                }
            }
            samples.ids.push(self.position);
            samples.truth.push(Some(class(index)));
            self.position += 1;
        }
        Ok(ReadProgress::Full)
    }
}

fn gather(indices: &[usize]) -> Labelled {
    Labelled {
        values: Values::U8(indices.iter().flat_map(|index| pixels(*index)).copied().collect()),
        classes: indices.iter().map(|index| class(*index) as i64).collect(),
    }
}

/// Held-out digits that drift like the stream.
struct Drifting {
    still: Labelled,
    drift: Drift,
    format: Format,
    randomness: Randomness,
}

impl HeldOut for Drifting {
    fn at(&self, streamed: u64) -> Cow<'_, Labelled> {
        let Values::U8(values) = &self.still.values else { return Cow::Borrowed(&self.still) };
        let mut draws = self.randomness.at(SPLIT - 1, Stage::Source);
        let images = values.chunks_exact(PIXELS);
        let drifted = images.flat_map(|image| self.drift.apply(image, streamed, &self.format, &mut draws));
        let classes = self.still.classes.clone();
        Cow::Owned(Labelled { values: Values::U8(drifted.collect()), classes })
    }
}

impl Drift {
    fn moment(&self, position: u64) -> Moment {
        Moment::within(position, self.period_samples)
    }

    /// Returns the frequency of `class` at `position`, up to a common factor.
    fn frequency(&self, position: u64, class: usize) -> f32 {
        self.change().frequency(self.moment(position), class, CLASSES)
    }

    /// Returns the image as it looks at `position`.
    fn apply(&self, image: &[u8], position: u64, format: &Format, draws: &mut Draws) -> Vec<u8> {
        let mut values: Vec<f32> = image.iter().map(|pixel| f32::from(*pixel)).collect();
        self.change().change(self.moment(position), format, &mut values, draws);
        values.into_iter().map(|value| value as u8).collect()
    }

    fn change(&self) -> drift::Drift {
        let Self { period_samples, rotation_degrees, noise, prior } = *self;
        drift::Drift { period_samples, rotation_degrees, noise, prior, ..drift::Drift::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(toml: &str) -> Box<dyn Source> {
        let spec = Spec { kind: "digits".into(), options: toml.parse().unwrap() };
        build(&spec, &Context::default()).unwrap()
    }

    fn read(source: &mut dyn Source, count: usize) -> Samples {
        let mut samples = Samples::none(Dtype::U8);
        source.read(count, &mut samples).unwrap();
        samples
    }

    #[test]
    fn the_three_parts_are_whole_and_apart() {
        let mut digits = source("");
        let labelled = digits.labelled().unwrap();
        assert_eq!(labelled.len(), 40);
        for class in 0..10 {
            assert_eq!(labelled.classes.iter().filter(|c| **c == class).count(), 4);
        }
        assert_eq!(digits.held_out(1000).unwrap().unwrap().at(0).len(), 397);
        let pass = read(&mut *digits, 1360);
        let held_out = digits.held_out(1000).unwrap().unwrap();
        let Values::U8(stream) = pass.values else { panic!() };
        let mut seen: Vec<Vec<u8>> = stream.chunks(64).map(<[u8]>::to_vec).collect();
        for part in [held_out.at(0).into_owned(), labelled] {
            let Values::U8(values) = part.values else { panic!() };
            seen.extend(values.chunks(64).map(<[u8]>::to_vec));
        }
        let mut all: Vec<Vec<u8>> = (0..1797).map(|index| pixels(index).to_vec()).collect();
        seen.sort();
        all.sort();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_restored_stream_goes_on_where_it_was() {
        for options in ["", "drift = { period_samples = 500.0 }"] {
            let mut whole = source(options);
            let first = read(&mut *whole, 1500);
            let state = whole.save().unwrap();
            let expected = read(&mut *whole, 700);
            let mut resumed = source(options);
            resumed.load(&state).unwrap();
            assert_eq!(read(&mut *resumed, 700), expected);
            assert_ne!(first.values, expected.values);
        }
    }

    #[test]
    fn drift_turns_images_and_moves_priors() {
        let mut digits = source("drift = { period_samples = 4000.0, prior = 2.0, noise = 0.0 }");
        let early = read(&mut *digits, 1000);
        read(&mut *digits, 1000);
        let late = read(&mut *digits, 1000);
        let count = |samples: &Samples, class| samples.truth.reveal().iter().filter(|c| **c == class).count();
        assert!(count(&early, 1) > 3 * count(&late, 1), "the prior of class 1 did not wander");
    }
}

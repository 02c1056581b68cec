//! Tar archives in the way of WebDataset: a sample is made of members that follow one another and have the same name up
//! to the first dot of its last part, `00/17.jpg` and `00/17.cls`. Other orders are other samples.
//!
//! A member that is read has at most 64 MiB (a class 1 KiB, JSON 16 MiB), a sample at most 1,000 members; what is larger
//! makes a bad sample and is skipped. Two parts are held at a time, beside the one that is read. A data set in files is
//! decoded on all cores, at most 256 samples and 256 MiB at once, and the last sample beyond.

mod members;
mod said;
mod sample;

use crate::decode::api::{DecodeError, Record, Records, fewer};
use crate::decode::keys::Keys;
use crate::decode::look::Look;
use crate::decode::options::Options;
use crate::decode::run::Run;
use crate::decode::table::{self, Column};
use crate::decode::together;
use crate::decode::unread::Unread;
use members::{Member, Members, What};
use sample::{KEY, Part, Sample};
use sluicebox_core::sample::{Dtype, Format, Shape};
use std::collections::VecDeque;
use std::io::Read;

/// Most members of a sample.
const MOST_MEMBERS: usize = 1000;

/// Samples of an archive.
struct Tar<R> {
    members: Members<R>,
    /// Member that was met and belongs to the next sample; its content follows.
    met: Option<Member>,
    format: Format,
    options: Options,
    /// Keys of JSON: of class and id, and of values where nothing else holds them.
    keys: Keys,
    /// What lies behind the end of the archive, if that was met with its last sample.
    behind: Option<DecodeError>,
    /// Samples so far, good and bad.
    number: u64,
    /// Samples that were decoded together and come next.
    ready: VecDeque<Result<Record, DecodeError>>,
    /// What was met behind them.
    fault: Option<DecodeError>,
    unread: Unread,
}

/// First samples of which one must say what samples are.
const FIRST: usize = 100;

/// Decodes an archive; `input` must be unpacked.
pub fn tar(input: impl Read + Send + 'static, format: &Format, options: &Options) -> impl Records + 'static {
    Tar::new(input, format, options)
}

/// Looks at the first samples of an archive.
pub fn look(input: impl Read + Send, options: &Options) -> Look {
    let none =
        Format { shape: Shape::Vector { features: 0 }, dtype: Dtype::U8, scale: 1.0, classes: Vec::new() };
    let mut archive = Tar::new(input, &none, options);
    let mut first = None;
    for _ in 0..FIRST {
        let look = match archive.sample(false) {
            Ok(Some(sample)) => sample.look().map_err(|reason| format!("sample `{}`: {reason}", sample.key)),
            Ok(None) => break,
            Err(fault) => return Look::plain(Err(fault.to_string())),
        };
        if look.is_ok() {
            return Look::plain(look);
        }
        first.get_or_insert(look);
    }
    Look::plain(first.unwrap_or_else(|| Err("the archive holds no sample".into())))
}

/// Splits the name of a member as WebDataset does: the sample's key, and the ending after the first dot.
fn split(name: &str) -> Option<(&str, String)> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|at| *at > 0)?;
    Some((&name[..dot], name[dot + 1..].to_lowercase()))
}

impl<R: Read + Send> Tar<R> {
    fn new(input: R, format: &Format, options: &Options) -> Self {
        Self {
            members: Members::new(input),
            met: None,
            behind: None,
            format: format.clone(),
            options: options.clone(),
            keys: keys(options),
            number: 0,
            ready: VecDeque::new(),
            fault: None,
            unread: Unread::default(),
        }
    }

    /// Reads the members of the next sample, with their contents unless they are skipped; None at the end. Members that
    /// no sample needs are counted.
    fn sample(&mut self, skipped: bool) -> Result<Option<Sample>, DecodeError> {
        if let Some(fault) = self.behind.take() {
            return Err(fault);
        }
        let mut sample: Option<Sample> = None;
        loop {
            let member = match self.met.take() {
                Some(met) => met,
                None => match self.members.advance() {
                    Ok(Some(member)) => member,
                    Ok(None) => return Ok(sample),
                    // The sample before the end is whole; what lies behind it is told next.
                    Err(fault) if sample.is_some() && self.members.is_at_end() => {
                        self.behind = Some(fault);
                        return Ok(sample);
                    }
                    Err(fault) => return Err(within(fault, sample)),
                },
            };
            if member.what == What::Folder {
                continue;
            }
            let Some((key, ending)) = split(&member.name) else {
                let file = member.name.rsplit('/').next().unwrap_or_default();
                if !file.starts_with('.') {
                    self.unread.add(file);
                }
                continue;
            };
            if sample.as_ref().is_some_and(|sample| sample.key != key) {
                self.met = Some(member);
                return Ok(sample);
            }
            let Some(part) = Part::of(&ending) else {
                self.unread.add_ending(&ending);
                sample.iter_mut().for_each(|sample| sample.members += 1);
                continue;
            };
            let current = sample.get_or_insert_with(|| Sample::new(key));
            current.members += 1;
            if skipped || current.is_bad() {
                continue;
            }
            if current.members > MOST_MEMBERS {
                current.spoil(format!("it has more than {MOST_MEMBERS} members"));
            } else if let What::Unusable(reason) = &member.what {
                current.spoil(format!("`{}` {reason}", member.name));
            } else {
                match self.members.content(part.most_bytes()) {
                    Ok(Some(content)) => current.add(part, ending, content),
                    Ok(None) => current.spoil(format!(
                        "`{}` has {} bytes; at most {} are read",
                        member.name,
                        member.size,
                        part.most_bytes()
                    )),
                    Err(fault) => return Err(within(fault, sample)),
                }
            }
        }
    }

    /// Reads samples and decodes them together.
    fn decode_together(&mut self) {
        let (mut samples, mut bytes) = (Vec::new(), 0);
        while samples.len() < together::SAMPLES && bytes < together::BYTES {
            match self.sample(false) {
                Ok(Some(sample)) => {
                    bytes += sample.cost();
                    samples.push(sample);
                }
                Ok(None) => break,
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        let (recipe, before) = ((&self.format, &self.options, &self.keys), self.number);
        let decode = |at: usize| decoded(&samples[at], before + at as u64 + 1, recipe);
        self.ready = together::decoded(samples.len(), decode).into();
        self.number += samples.len() as u64;
    }

    /// Says what was not read.
    fn end(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        if !unread.is_empty() {
            tracing::info!("of the {} samples of a tar archive {unread}", self.number);
        }
    }
}

/// Returns the keys of JSON, as far as the options name them.
fn keys(options: &Options) -> Keys {
    let is_key = options.table.id == Some(Column::Name(KEY.into()));
    let id = options.table.id.clone().filter(|_| !is_key);
    Keys::without_features(&table::Options { id, ..options.table.clone() })
}

/// Decodes the sample with a number.
fn decoded(
    sample: &Sample,
    number: u64,
    (format, options, keys): (&Format, &Options, &Keys),
) -> Result<Record, DecodeError> {
    sample.record(format, options, keys).map_err(|reason| DecodeError::Bad {
        line: number,
        reason: format!("sample `{}`: {reason}", sample.key),
        text: String::new(),
    })
}

/// Adds to a fault which sample is lost by it.
fn within(fault: DecodeError, sample: Option<Sample>) -> DecodeError {
    match (fault, sample) {
        (DecodeError::Broken(reason), Some(sample)) => {
            DecodeError::Broken(format!("{reason}; sample `{}` and what follows are not read", sample.key))
        }
        (fault, _) => fault,
    }
}

impl<R: Read + Send> Records for Tar<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        if let Some(ready) = self.ready.pop_front() {
            return ready.map(Some);
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let Some(sample) = self.sample(false)? else {
            if self.number == 0 {
                let unread = std::mem::take(&mut self.unread);
                let reason = format!("the archive holds no sample: no image, .npy, .cls or .json; {unread}");
                return if unread.is_empty() { Ok(None) } else { Err(DecodeError::Broken(reason)) };
            }
            self.end();
            return Ok(None);
        };
        self.number += 1;
        decoded(&sample, self.number, (&self.format, &self.options, &self.keys)).map(Some)
    }

    fn next_run(&mut self, most: usize, run: &mut Run) -> usize {
        if self.ready.is_empty() && self.fault.is_none() {
            self.decode_together();
        }
        together::take(&mut self.ready, most, run, &self.format.classes)
    }

    fn skip(&mut self, records: u64) -> Result<(), DecodeError> {
        let ready = self.ready.len().min(usize::try_from(records).unwrap_or(usize::MAX));
        self.ready.drain(..ready);
        for read in ready as u64..records {
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            if self.sample(true)?.is_none() {
                return Err(fewer(read, records));
            }
            self.number += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn keys_are_those_of_webdataset() {
        let key = |name| split(name).map(|(key, ending)| (key.to_string(), ending));
        let some = |key: &str, ending: &str| Some((key.to_string(), ending.to_string()));
        assert_eq!(key("17.jpg"), some("17", "jpg"));
        assert_eq!(key("./a.b/17.Seg.PNG"), some("a.b/17", "seg.png"));
        assert_eq!(key("/abs/17.cls"), some("/abs/17", "cls"));
        assert_eq!(key("17."), some("17", ""));
        for none in ["17", "a.b/17", ".hidden.jpg", "a/._17.jpg", "", "a/"] {
            assert_eq!(key(none), None, "{none}");
        }
    }
}

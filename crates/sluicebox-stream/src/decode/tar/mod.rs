//! Tar archives in the way of WebDataset: a sample is made of members that follow one another and have the same name up
//! to the first dot of its last part, `00/17.jpg` and `00/17.cls`. Other orders are other samples.
//!
//! A member that is read has at most 64 MiB (a class 1 KiB, JSON 16 MiB), a sample at most 1,000 members; what is larger
//! makes a bad sample and is skipped. Two parts are held at a time, beside the one that is read.

mod members;
mod sample;

use crate::decode::api::{DecodeError, Record, Records, fewer};
use crate::decode::image;
use crate::decode::npy;
use crate::decode::options::Options;
use crate::decode::unread::Unread;
use members::{Member, Members, What};
use sample::{Part, Sample};
use sluicebox_core::sample::{Dtype, Format, Shape};
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
    /// Samples so far, good and bad.
    number: u64,
    unread: Unread,
}

/// Decodes an archive; `input` must be unpacked.
pub fn tar(input: impl Read + Send + 'static, format: &Format, options: &Options) -> impl Records + 'static {
    Tar {
        members: Members::new(input),
        met: None,
        format: format.clone(),
        options: options.clone(),
        number: 0,
        unread: Unread::default(),
    }
}

/// Returns shape and type of the first image or array in an archive; `input` must be unpacked.
pub fn look(input: impl Read) -> Result<(Shape, Dtype), String> {
    let broken = |fault: DecodeError| fault.to_string();
    let mut members = Members::new(input);
    while let Some(member) = members.advance().map_err(broken)? {
        let part = split(&member.name).and_then(|(_, ending)| Part::of(&ending));
        let Some(part) = part.filter(|_| member.what == What::File) else { continue };
        if !matches!(part, Part::Image | Part::Array) {
            continue;
        }
        let Some(content) = members.content(part.most_bytes()).map_err(broken)? else { continue };
        return match part {
            Part::Image => Ok((image::shape(&content)?, Dtype::U8)),
            _ => {
                let array = npy::array(&content[..]).map_err(broken)?;
                let shape = match array.dims[..] {
                    [features] => Shape::Vector { features },
                    [channels, height, width] => Shape::Image { channels, height, width },
                    _ => return Err(format!("an array of {:?} is no sample", array.dims)),
                };
                Ok((shape, array.number().dtype()))
            }
        };
    }
    Err("there is no image and no array in the archive".into())
}

/// Splits the name of a member as WebDataset does: the sample's key, and the ending after the first dot.
fn split(name: &str) -> Option<(&str, String)> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|at| *at > 0)?;
    Some((&name[..dot], name[dot + 1..].to_lowercase()))
}

impl<R: Read + Send> Tar<R> {
    /// Reads the members of the next sample, with their contents unless they are skipped; None at the end. Members that
    /// no sample needs are counted.
    fn sample(&mut self, skipped: bool) -> Result<Option<Sample>, DecodeError> {
        let mut sample: Option<Sample> = None;
        loop {
            let member = match self.met.take() {
                Some(met) => met,
                None => match self.members.advance() {
                    Ok(Some(member)) => member,
                    Ok(None) => return Ok(sample),
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

    /// Says what was not read.
    fn end(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        if !unread.is_empty() {
            tracing::info!("of the {} samples of a tar archive {unread}", self.number);
        }
    }
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
        let key = sample.key.clone();
        sample.record(&self.format, &self.options).map(Some).map_err(|reason| DecodeError::Bad {
            line: self.number,
            reason: format!("sample `{key}`: {reason}"),
            text: String::new(),
        })
    }

    fn skip(&mut self, records: u64) -> Result<(), DecodeError> {
        for read in 0..records {
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

//! What workers of several processes send each other, as bytes: numbers in little endian, a tensor as its type, shape and
//! memory. Bytes from another process are read as a file would be: whatever they claim, no more is read than there is.
//!
//! ```
//! use sluicebox_learn::stages::wire::{Bytes, Wire, from_bytes, to_bytes};
//! use tch::{Device, Tensor};
//!
//! let sent = to_bytes(&Tensor::from_slice(&[1.5f32, -2.0]).view([2, 1]));
//! let received: Tensor = from_bytes(&sent, Device::Cpu)?;
//! assert_eq!((received.size(), received.double_value(&[1, 0])), (vec![2, 1], -2.0));
//! assert!(from_bytes::<Tensor>(&sent[..sent.len() - 1], Device::Cpu).is_err());
//! # Ok::<(), sluicebox_core::error::Error>(())
//! ```

mod messages;

use sluicebox_core::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tch::{Device, Kind, Tensor};

/// Most dimensions of a tensor.
const DIMENSIONS: usize = 8;
/// Most names of tensors that a process keeps: methods have a handful.
const NAMES: usize = 64;
/// Types of tensors, by their number in bytes.
const KINDS: [Kind; 5] = [Kind::Float, Kind::Int64, Kind::Bool, Kind::Uint8, Kind::BFloat16];

/// Something that crosses processes.
pub trait Wire: Sized {
    /// Appends it to `bytes`.
    fn append_to(&self, bytes: &mut Vec<u8>);

    /// Takes it from the front of `bytes`.
    ///
    /// # Errors
    /// [`Error::Connection`] if the bytes are no such thing.
    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self>;
}

/// Bytes that are not read yet.
#[derive(Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
    device: Device,
}

impl<'a> Bytes<'a> {
    /// Takes `count` bytes.
    fn next(&mut self, count: usize) -> Result<&'a [u8]> {
        let (next, rest) = self.rest.split_at_checked(count).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(next)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.next(N)?.try_into().map_err(|_| damaged())
    }

    /// Takes a number of things that have at least one byte each.
    fn count(&mut self) -> Result<usize> {
        let count = u64::read_from(self)?;
        if count > self.rest.len() as u64 { Err(damaged()) } else { Ok(count as usize) }
    }
}

/// Returns `message` as bytes.
pub fn to_bytes(message: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.append_to(&mut bytes);
    bytes
}

/// Reads a message; its tensors are on `device`.
///
/// # Errors
/// [`Error::Connection`] if the bytes are no such message.
pub fn from_bytes<T: Wire>(bytes: &[u8], device: Device) -> Result<T> {
    let mut bytes = Bytes { rest: bytes, device };
    let message = T::read_from(&mut bytes)?;
    if bytes.rest.is_empty() { Ok(message) } else { Err(damaged()) }
}

fn damaged() -> Error {
    Error::Connection("a message between processes is damaged".into())
}

impl Wire for Tensor {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let here = self.to_device(Device::Cpu).contiguous();
        // Types that are not in the table have no number; `read_from` refuses it.
        let kind = KINDS.iter().position(|kind| *kind == here.kind()).unwrap_or(KINDS.len());
        bytes.push(kind as u8);
        here.size().append_to(bytes);
        let start = bytes.len();
        bytes.resize(start + here.numel() * here.kind().elt_size_in_bytes(), 0);
        here.copy_data_u8(&mut bytes[start..], here.numel());
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let [kind] = bytes.array()?;
        let kind = *KINDS.get(kind as usize).ok_or_else(damaged)?;
        let size = Vec::<i64>::read_from(bytes)?;
        if size.len() > DIMENSIONS || size.iter().any(|length| *length < 0) {
            return Err(damaged());
        }
        let values = size.iter().try_fold(1usize, |all, length| all.checked_mul(*length as usize));
        let count = values.and_then(|values| values.checked_mul(kind.elt_size_in_bytes()));
        let memory = bytes.next(count.ok_or_else(damaged)?)?;
        let tensor = match memory.is_empty() {
            true => Tensor::zeros(&size, (kind, Device::Cpu)),
            false => Tensor::from_data_size(memory, &size, kind),
        };
        Ok(tensor.to_device(bytes.device))
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(impl Wire for $number {
        fn append_to(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }

        fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
            bytes.array().map(<$number>::from_le_bytes)
        }
    })* };
}
numbers!(u64 i64 f64);

impl Wire for usize {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        (*self as u64).append_to(bytes);
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        u64::read_from(bytes).map(|number| number as usize)
    }
}

impl Wire for bool {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        match bytes.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(damaged()),
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.0.append_to(bytes);
        self.1.append_to(bytes);
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        Ok((A::read_from(bytes)?, B::read_from(bytes)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.is_some().append_to(bytes);
        self.iter().for_each(|content| content.append_to(bytes));
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        bool::read_from(bytes)?.then(|| T::read_from(bytes)).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.len().append_to(bytes);
        self.iter().for_each(|content| content.append_to(bytes));
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let count = bytes.count()?;
        (0..count).map(|_| T::read_from(bytes)).collect()
    }
}

impl Wire for &'static str {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.len().append_to(bytes);
        bytes.extend(self.as_bytes());
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let count = bytes.count()?;
        kept(std::str::from_utf8(bytes.next(count)?).map_err(|_| damaged())?)
    }
}

impl Wire for BTreeMap<&'static str, Tensor> {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        self.len().append_to(bytes);
        for (name, tensor) in self {
            name.append_to(bytes);
            tensor.append_to(bytes);
        }
    }

    fn read_from(bytes: &mut Bytes<'_>) -> Result<Self> {
        let count = bytes.count()?;
        (0..count).map(|_| Ok((<&str>::read_from(bytes)?, Tensor::read_from(bytes)?))).collect()
    }
}

/// Returns `name` as one that stays: each is kept once.
fn kept(name: &str) -> Result<&'static str> {
    static KEPT: parking_lot::Mutex<BTreeSet<&'static str>> = parking_lot::Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock();
    if let Some(known) = kept.get(name) {
        return Ok(*known);
    }
    if kept.len() == NAMES {
        return Err(damaged());
    }
    let name: &'static str = Box::leak(name.to_string().into_boxed_str());
    kept.insert(name);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_every_type_and_shape_come_back_bit_for_bit() {
        for kind in KINDS {
            for size in [&[][..], &[0], &[3, 0, 2], &[2, 3], &[2, 1, 4, 5]] {
                let count = size.iter().product::<i64>();
                let one = Tensor::arange(count, (Kind::Float, Device::Cpu)).reshape(size);
                let one = (one * 0.37 - 1.0).to_kind(kind);
                let other: Tensor = from_bytes(&to_bytes(&one), Device::Cpu).unwrap();
                assert_eq!((other.size(), other.kind()), (one.size(), kind));
                assert!(other.equal(&one), "{kind:?} {size:?}");
            }
        }
        let across = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]).transpose(0, 1);
        assert!(from_bytes::<Tensor>(&to_bytes(&across), Device::Cpu).unwrap().equal(&across));
    }

    #[test]
    fn bytes_that_claim_more_than_they_are_take_no_memory() {
        let mut claims = vec![0];
        vec![i64::MAX, 4].append_to(&mut claims);
        assert!(from_bytes::<Tensor>(&claims, Device::Cpu).is_err());
        let mut many = Vec::new();
        u64::MAX.append_to(&mut many);
        assert!(from_bytes::<Vec<u64>>(&many, Device::Cpu).is_err());
        let sent = to_bytes(&Some(vec![1u64, 2]));
        for end in 0..sent.len() {
            assert!(from_bytes::<Option<Vec<u64>>>(&sent[..end], Device::Cpu).is_err());
        }
        assert!(from_bytes::<Option<Vec<u64>>>(&[sent, vec![0]].concat(), Device::Cpu).is_err());
    }
}

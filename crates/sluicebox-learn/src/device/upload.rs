//! Copies to the device: many lists of numbers travel as one, from pinned memory, and no one waits for the device.

use std::slice;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

/// Parts begin at multiples of this many words of 8 bytes, so that a GPU can read several numbers at once.
const ALIGNED_WORDS: usize = 2;

/// Numbers that are to travel.
pub struct Part<'a> {
    bytes: &'a [u8],
    kind: Kind,
    shape: Vec<i64>,
}

impl<'a> Part<'a> {
    /// Names numbers, and the shape of their tensor on the device.
    pub fn new<T: Element>(numbers: &'a [T], shape: impl Into<Vec<i64>>) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.iter().product::<i64>(),
            numbers.len() as i64,
            "the numbers fill the shape {shape:?}"
        );
        // SAFETY: the types of tensors' elements have no padding: all of their bytes are initialised.
        let bytes = unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) };
        Self { bytes, kind: T::KIND, shape }
    }

    fn words(&self) -> usize {
        self.bytes.len().div_ceil(8).next_multiple_of(ALIGNED_WORDS)
    }
}

/// Copies numbers to a device, to a GPU in one operation.
///
/// ```
/// use sluicebox_learn::device::upload::{Part, upload_all};
/// use tch::Device;
///
/// let (classes, weights) = ([7i64, 1], [0.5f32, 0.25, 0.125, 1.0]);
/// let parts = [Part::new(&classes, [2]), Part::new(&weights, [2, 2])];
/// let [classes, weights] = upload_all(parts, Device::Cpu);
/// assert_eq!(Vec::<i64>::try_from(classes).unwrap(), [7, 1]);
/// assert_eq!(weights.double_value(&[1, 0]), 0.125);
/// ```
pub fn upload_all<const N: usize>(parts: [Part<'_>; N], device: Device) -> [Tensor; N] {
    if device == Device::Cpu {
        return parts.map(|part| Tensor::from_data_size(part.bytes, &part.shape, part.kind));
    }
    let pinned = pinned(parts.iter().map(Part::words).sum::<usize>().max(ALIGNED_WORDS), device);
    let mut first = 0;
    for part in &parts {
        let to = pinned.data_ptr().cast::<u8>().wrapping_add(8 * first);
        // SAFETY: the pinned memory has the words of all parts, of which this part fills its own.
        unsafe { to.copy_from_nonoverlapping(part.bytes.as_ptr(), part.bytes.len()) };
        first += part.words();
    }
    let block = pinned.to_device_(device, Kind::Int64, true, false);
    let mut first = 0;
    parts.map(|part| {
        let offset = (8 * first / part.kind.elt_size_in_bytes()) as i64;
        first += part.words();
        block.view_dtype(part.kind).as_strided(&part.shape, strides(&part.shape), offset)
    })
}

/// Copies a CPU tensor to a device. On a CPU it shares its memory.
pub fn upload(tensor: &Tensor, device: Device) -> Tensor {
    if device == Device::Cpu {
        return tensor.shallow_clone();
    }
    let tensor = tensor.contiguous();
    let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
    let bytes = match bytes {
        0 => &[], // it may have no memory
        // SAFETY: a contiguous tensor has this many bytes, and lives until the end of this function.
        _ => unsafe { slice::from_raw_parts(tensor.data_ptr().cast(), bytes) },
    };
    let [sent] = upload_all([Part { bytes, kind: tensor.kind(), shape: tensor.size() }], device);
    sent
}

/// Returns pinned memory of this many words, which are not initialised.
fn pinned(words: usize, device: Device) -> Tensor {
    // libtorch pins memory by a copy, and copies many elements with all of its threads, which takes a hundred times as
    // long to start as to do. Of this tensor it copies the first and the last word only.
    let words = words as i64;
    let ends = Tensor::empty([words], (Kind::Int64, Device::Cpu)).as_strided([2], [words - 1], 0);
    ends.internal_pin_memory(device).as_strided([words], [1], 0)
}

/// Returns the strides of a contiguous tensor.
fn strides(shape: &[i64]) -> Vec<i64> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

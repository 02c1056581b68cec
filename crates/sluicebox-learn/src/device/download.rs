//! Copies from the device to the host. Many tensors travel as one copy, and no one waits for it until it is read.

use crate::device::cuda::Event;
use sluicebox_core::error::Result;
use std::cmp::Reverse;
use tch::{Device, Kind, Tensor};

/// Tensors on their way to the host.
///
/// ```
/// use sluicebox_learn::device::download::Download;
/// use tch::Tensor;
///
/// let (first, second) = (Tensor::from_slice(&[0.5f32, 1.5]), Tensor::from_slice(&[2.5f32]));
/// let classes = Tensor::from_slice(&[7i64]);
/// let download = Download::start(&[&[first, second], &[classes]])?;
/// let lists = download.read()?;
/// assert_eq!(Vec::<f32>::try_from(&lists[0]).unwrap(), [0.5, 1.5, 2.5]);
/// assert_eq!(Vec::<i64>::try_from(&lists[1]).unwrap(), [7]);
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub struct Download {
    /// The packed tensors on the host: all of them once the event is reached.
    packed: Tensor,
    /// Kind and number of elements of each list.
    lists: Vec<(Kind, i64)>,
    /// Reached when the copy is done; none on a CPU.
    arrival: Option<Event>,
}

impl Download {
    /// Starts to copy lists of tensors, each of one kind and not empty. On a GPU the copy goes to pinned memory and
    /// the host does not wait.
    pub fn start(lists: &[&[Tensor]]) -> Result<Self> {
        let kinds = lists.iter().map(|list| list[0].kind());
        let counts = lists.iter().map(|list| list.iter().map(|tensor| tensor.numel() as i64).sum());
        let shapes: Vec<(Kind, i64)> = kinds.zip(counts).collect();
        let packed = tch::no_grad(|| pack(lists, &shapes));
        let (host, arrival) = match packed.device() {
            // Where the host does not wait, libtorch takes pinned memory for the copy.
            Device::Cuda(ordinal) => {
                let host = packed.to_device_(Device::Cpu, packed.kind(), true, false);
                (host, Some(Event::record(ordinal)?))
            }
            _ => (packed, None),
        };
        Ok(Self { packed: host, lists: shapes, arrival })
    }

    /// Returns each list as one flat tensor on the CPU, once the copy is done.
    pub fn read(self) -> Result<Vec<Tensor>> {
        self.arrival.iter().try_for_each(Event::wait)?;
        let mut found: Vec<Option<Tensor>> = self.lists.iter().map(|_| None).collect();
        let mut at = 0;
        for list in order(&self.lists) {
            let (kind, count) = self.lists[list];
            let bytes = count * kind.elt_size_in_bytes() as i64;
            found[list] = Some(self.packed.narrow(0, at, bytes).view_dtype(kind));
            at += bytes;
        }
        Ok(found.into_iter().flatten().collect())
    }
}

/// Returns the order in which lists are packed: numbers of more bytes first, so that each is aligned.
fn order(lists: &[(Kind, i64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lists.len()).collect();
    order.sort_by_key(|list| (Reverse(lists[*list].0.elt_size_in_bytes()), lists[*list].0 as usize));
    order
}

/// Returns the bytes of all tensors in one. Tensors of one kind are joined first: to join tensors of several kinds, a
/// GPU takes a copy for each.
fn pack(lists: &[&[Tensor]], shapes: &[(Kind, i64)]) -> Tensor {
    let order = order(shapes);
    let same_kind = order.chunk_by(|one, other| shapes[*one].0 == shapes[*other].0);
    let join = |same: &[usize]| {
        let parts: Vec<&Tensor> = same.iter().flat_map(|list| lists[*list]).collect();
        Tensor::cat(&parts, 0).view_dtype(Kind::Uint8)
    };
    let joined: Vec<Tensor> = same_kind.map(join).collect();
    Tensor::cat(&joined, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_kinds_come_back_as_they_were() {
        let flags = [Tensor::from_slice(&[true, false, true])];
        let classes = [Tensor::from_slice(&[7i64, -1]), Tensor::from_slice(&[1i64 << 40])];
        let none = [Tensor::from_slice::<f32>(&[])];
        let numbers = [Tensor::from_slice(&[f32::MIN_POSITIVE]), Tensor::from_slice(&[f32::NAN, -0.0])];
        let more = [Tensor::from_slice(&[false])];
        let download = Download::start(&[&flags, &numbers, &classes, &none, &more]).unwrap();
        let found = download.read().unwrap();
        assert_eq!(Vec::<bool>::try_from(&found[0]).unwrap(), [true, false, true]);
        let bits: Vec<u32> = Vec::<f32>::try_from(&found[1]).unwrap().into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, [f32::MIN_POSITIVE, f32::NAN, -0.0].map(f32::to_bits));
        assert_eq!(Vec::<i64>::try_from(&found[2]).unwrap(), [7, -1, 1 << 40]);
        assert_eq!(found[3].numel(), 0);
        assert_eq!(Vec::<bool>::try_from(&found[4]).unwrap(), [false]);
    }
}

//! A bounded bank of labelled samples' features: one slot per sample, found by its key.

use crate::device::upload::upload;
use crate::loss::unit;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// The most recently labelled samples, at most `capacity`. Larger keys are later labels.
pub struct Bank {
    capacity: usize,
    /// Slot of each key.
    slots: BTreeMap<u64, usize>,
    /// Contents of the slots, with room for more.
    rows: Option<Rows>,
}

/// Tensors with one row per slot.
pub struct Rows {
    /// `[N, F]` f32 of length 1.
    pub features: Tensor,
    /// `[N]` i64 class indices.
    pub classes: Tensor,
    /// `[N]` i64: step at which the sample entered the bank.
    pub born: Tensor,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct Saved {
    slots: BTreeMap<u64, usize>,
    features: Vec<f32>,
    classes: Vec<i64>,
    born: Vec<i64>,
}

impl Rows {
    fn each(&self, change: impl Fn(&Tensor) -> Tensor) -> Rows {
        Rows { features: change(&self.features), classes: change(&self.classes), born: change(&self.born) }
    }
}

impl Bank {
    /// Creates an empty bank for `capacity` samples.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, slots: BTreeMap::new(), rows: None }
    }

    /// Returns the rows in use, one per sample; `None` while the bank is empty.
    pub fn held(&self) -> Option<Rows> {
        let count = self.slots.len() as i64;
        let rows = self.rows.as_ref().filter(|_| count > 0)?;
        Some(rows.each(|tensor| tensor.narrow(0, 0, count)))
    }

    /// Adds samples with `keys`, features `[L, F]` f32 and classes `[L]` i64, or updates those already
    /// present. Where there is no room, the earliest labelled samples are evicted.
    pub fn learn(&mut self, keys: &[u64], features: &Tensor, classes: &Tensor, step: u64) {
        let device = features.device();
        let places: BTreeMap<u64, i64> = keys.iter().copied().zip(0..).collect(); // the last of each key
        let known = |slots: &BTreeMap<u64, usize>, key: &u64| slots.contains_key(key);
        let (old, new): (Vec<(u64, i64)>, Vec<_>) =
            places.into_iter().partition(|(key, _)| known(&self.slots, key));
        let new: BTreeMap<usize, i64> =
            new.into_iter().filter_map(|(key, place)| Some((self.slot(key)?, place))).collect();
        let old: Vec<(usize, i64)> =
            old.into_iter().filter_map(|(key, place)| Some((*self.slots.get(&key)?, place))).collect();
        let old = old.into_iter().filter(|(slot, _)| !new.contains_key(slot));
        let (slots, places): (Vec<i64>, Vec<i64>) =
            old.chain(new.clone()).map(|(slot, place)| (slot as i64, place)).unzip();
        if slots.is_empty() {
            return;
        }
        self.make_room(features);
        let Some(rows) = &mut self.rows else { return };
        let sent = |list: &[i64]| upload(&Tensor::from_slice(list), device);
        let (slots, places) = (sent(&slots), sent(&places));
        let _ = rows.features.index_copy_(0, &slots, &unit(&features.index_select(0, &places)));
        let _ = rows.classes.index_copy_(0, &slots, &classes.index_select(0, &places));
        if !new.is_empty() {
            let slots: Vec<i64> = new.keys().map(|slot| *slot as i64).collect();
            let _ = rows.born.index_fill_(0, &sent(&slots), step as i64);
        }
    }

    /// Returns a slot for a new key; `None` where every held sample was labelled later.
    fn slot(&mut self, key: u64) -> Option<usize> {
        let slot = if self.slots.len() < self.capacity {
            self.slots.len()
        } else {
            let oldest = self.slots.first_entry().filter(|oldest| *oldest.key() < key)?;
            oldest.remove()
        };
        self.slots.insert(key, slot);
        Some(slot)
    }

    /// Ensures rows for all slots, on the device of `features` `[L, F]`; doubles the capacity where
    /// rows run out.
    fn make_room(&mut self, features: &Tensor) {
        let (device, width) = (features.device(), features.size()[1]);
        let fresh = |rows: i64| Rows {
            features: Tensor::zeros([rows, width], (Kind::Float, device)),
            classes: Tensor::zeros([rows], (Kind::Int64, device)),
            born: Tensor::zeros([rows], (Kind::Int64, device)),
        };
        let rows = self.rows.take().map_or_else(|| fresh(0), |rows| rows.each(|rows| rows.to_device(device)));
        let (there, needed) = (rows.classes.size()[0], self.slots.len() as i64);
        self.rows = Some(match there < needed {
            false => rows,
            true => {
                let more = fresh((2 * needed).min(self.capacity as i64) - there);
                Rows {
                    features: Tensor::cat(&[rows.features, more.features], 0),
                    classes: Tensor::cat(&[rows.classes, more.classes], 0),
                    born: Tensor::cat(&[rows.born, more.born], 0),
                }
            }
        });
    }
}

/// The state's name in messages.
const WHAT: &str = "the bank of labelled samples";

impl Stateful for Bank {
    fn save(&self) -> Result<Vec<u8>> {
        fn plain<T: tch::kind::Element + Default + Clone>(tensor: &Tensor) -> Vec<T> {
            let mut elements = vec![T::default(); tensor.numel()];
            tensor.to_device(Device::Cpu).contiguous().copy_data(&mut elements, tensor.numel());
            elements
        }
        let mut saved =
            Saved { slots: self.slots.clone(), features: Vec::new(), classes: Vec::new(), born: Vec::new() };
        if let Some(held) = self.held() {
            saved.features = plain(&held.features);
            saved.classes = plain(&held.classes);
            saved.born = plain(&held.born);
        }
        encode(WHAT, &saved)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let Saved { slots, features, classes, born } = decode(WHAT, state)?;
        let count = slots.len();
        let whole = classes.len() == count
            && born.len() == count
            && slots.values().all(|slot| *slot < count)
            && (count > 0 || features.is_empty())
            && features.len().checked_rem(count).unwrap_or(0) == 0;
        if !whole {
            return Err(Error::Request(format!("the state of {WHAT} is damaged: its lengths differ")));
        }
        self.rows = (count > 0).then(|| Rows {
            features: Tensor::from_slice(&features).view([count as i64, -1]),
            classes: Tensor::from_slice(&classes),
            born: Tensor::from_slice(&born),
        });
        self.slots = slots;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(bank: &mut Bank, keys: &[u64], classes: &[i64], step: u64) {
        // The feature of a sample points in the direction of its class.
        let features = Tensor::from_slice(classes).one_hot(4).to_kind(Kind::Float) * 3.0;
        bank.learn(keys, &features, &Tensor::from_slice(classes), step);
    }

    /// Returns key, class and birth step of each sample, by key; asserts that features match the class.
    fn held(bank: &Bank) -> Vec<(u64, i64, i64)> {
        let Some(held) = bank.held() else { return Vec::new() };
        assert!(held.features.argmax(1, false).equal(&held.classes));
        assert_eq!(held.features.sum(Kind::Float).double_value(&[]), bank.slots.len() as f64);
        let at = |tensor: &Tensor, slot: usize| tensor.int64_value(&[slot as i64]);
        let slots = bank.slots.iter();
        slots.map(|(key, slot)| (*key, at(&held.classes, *slot), at(&held.born, *slot))).collect()
    }

    #[test]
    fn samples_are_brought_up_to_date_and_the_oldest_go() {
        let mut bank = Bank::new(4);
        assert!(held(&bank).is_empty());
        learn(&mut bank, &[5, 3, 5], &[0, 1, 2], 10);
        assert_eq!(held(&bank), [(3, 1, 10), (5, 2, 10)]);
        learn(&mut bank, &[3, 9], &[0, 3], 11); // 3 was corrected
        assert_eq!(held(&bank), [(3, 0, 10), (5, 2, 10), (9, 3, 11)]);
        learn(&mut bank, &[12, 3, 7], &[1, 1, 2], 12); // 3 is evicted
        assert_eq!(held(&bank), [(5, 2, 10), (7, 2, 12), (9, 3, 11), (12, 1, 12)]);
        learn(&mut bank, &[1], &[1], 13); // older than all others
        assert_eq!(held(&bank), [(5, 2, 10), (7, 2, 12), (9, 3, 11), (12, 1, 12)]);
    }

    #[test]
    fn a_restored_bank_goes_on_alike() {
        let mut first = Bank::new(3);
        let mut second = Bank::new(3);
        second.load(&first.save().unwrap()).unwrap();
        learn(&mut first, &[1, 2], &[0, 1], 0);
        second.load(&first.save().unwrap()).unwrap();
        for bank in [&mut first, &mut second] {
            learn(bank, &[3, 4], &[2, 3], 1);
        }
        assert_eq!(held(&first), held(&second));
        assert_eq!(first.save().unwrap(), second.save().unwrap());
        assert!(second.load(&[1, 2, 3]).is_err());
    }
}

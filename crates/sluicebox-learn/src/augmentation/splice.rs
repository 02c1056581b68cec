//! Views spliced from two: the left or the upper half of each image is taken from a second view (Gui et
//! al. 2023, §3.3). For vectors it is the first half of the features.

use crate::device::upload::upload;
use rand::RngExt;
use sluicebox_core::rng::Draws;
use tch::{Kind, Tensor};

/// Returns `first` `[N, …]`; where `chosen` `[N]` is above 0, half of it is replaced by `second`'s.
pub fn splice(first: &Tensor, second: &Tensor, chosen: &Tensor, draws: &mut Draws) -> Tensor {
    let size = first.size();
    let beside = |axis: usize, length: i64| -> Vec<i64> {
        (0..size.len()).map(|at| if at == axis { length } else { 1 }).collect()
    };
    let half = |axis: usize| {
        let places = Tensor::arange(size[axis], (Kind::Int64, first.device()));
        places.lt(size[axis] / 2).view(beside(axis, size[axis]).as_slice())
    };
    let last = size.len() - 1;
    let replaced = match size.len() {
        4 => {
            let left: Vec<bool> = (0..size[0]).map(|_| draws.random_bool(0.5)).collect();
            let left = upload(&Tensor::from_slice(&left), first.device()); // [N]
            half(last).where_self(&left.view(beside(0, size[0]).as_slice()), &half(last - 1))
        }
        _ => half(last),
    };
    let chosen = chosen.gt(0.0).view(beside(0, size[0]).as_slice());
    second.where_self(&replaced.logical_and(&chosen), first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};
    use tch::Device;

    fn draws() -> Draws {
        Randomness::new(0, 0).at(0, Stage::StrongView)
    }

    #[test]
    fn a_half_of_the_chosen_images_is_of_the_second_view() {
        let first = Tensor::zeros([40, 2, 4, 6], (Kind::Float, Device::Cpu));
        let chosen = Tensor::arange(40, (Kind::Int64, Device::Cpu)).lt(30).to_kind(Kind::Float);
        let spliced = splice(&first, &first.ones_like(), &chosen, &mut draws());
        let (mut left, mut upper) = (0, 0);
        for at in 0..40 {
            let image = spliced.get(at);
            let (side, top) = (image.narrow(2, 0, 3), image.narrow(1, 0, 2));
            let full = |part: &Tensor, rest: f64| {
                part.min().double_value(&[]) == 1.0 && image.sum(Kind::Float).double_value(&[]) == rest
            };
            match at < 30 {
                true if full(&side, 24.0) => left += 1,
                true if full(&top, 24.0) => upper += 1,
                _ => assert_eq!(image.sum(Kind::Float).double_value(&[]), 0.0, "image {at}"),
            }
        }
        assert_eq!(left + upper, 30);
        assert!(left > 5 && upper > 5, "{left} left, {upper} upper");
    }

    #[test]
    fn vectors_are_spliced_in_the_middle() {
        let first = Tensor::zeros([2, 5], (Kind::Float, Device::Cpu));
        let chosen = Tensor::from_slice(&[1.0f32, 0.0]);
        let spliced = splice(&first, &first.ones_like(), &chosen, &mut draws());
        let expected = Tensor::from_slice2(&[[1.0f32, 1.0, 0.0, 0.0, 0.0], [0.0; 5]]);
        assert!(spliced.equal(&expected));
    }
}

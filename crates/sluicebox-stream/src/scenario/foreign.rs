//! Samples of no class, made of those of a class: the quarters of an image change places and are turned, the values of a
//! vector change places. What they are made of is the same, what they show is not.

use rand::RngExt;
use rand::seq::SliceRandom;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::{Shape, Values};

/// Scrambles the last sample of `values`, of this shape.
pub fn scramble_last(values: &mut Values, shape: Shape, draws: &mut Draws) {
    let length = shape.len();
    match values {
        Values::U8(values) => {
            let first = values.len() - length;
            scramble(&mut values[first..], shape, draws);
        }
        Values::F32(values) => {
            let first = values.len() - length;
            scramble(&mut values[first..], shape, draws);
        }
    }
}

fn scramble<T: Copy>(sample: &mut [T], shape: Shape, draws: &mut Draws) {
    let Shape::Image { height, width, .. } = shape else {
        return sample.shuffle(draws);
    };
    // Of a side with an odd number of pixels the last one stays.
    let (tall, wide) = (height / 2, width / 2);
    let mut places = [(0, 0), (0, wide), (tall, 0), (tall, wide)];
    places.shuffle(draws);
    // Quarters that are not square are turned by a half at most.
    let turns =
        [(); 4].map(|()| if tall == wide { draws.random_range(0..4) } else { 2 * draws.random_range(0..2) });
    let from = [(0, 0), (0, wide), (tall, 0), (tall, wide)];
    for channel in sample.chunks_exact_mut(height * width) {
        let before = channel.to_vec();
        for ((from, to), turn) in from.into_iter().zip(places).zip(turns) {
            for row in 0..tall {
                for column in 0..wide {
                    let (y, x) = match turn {
                        0 => (row, column),
                        1 => (column, wide - 1 - row),
                        2 => (tall - 1 - row, wide - 1 - column),
                        _ => (tall - 1 - column, row),
                    };
                    channel[(to.0 + row) * width + to.1 + column] = before[(from.0 + y) * width + from.1 + x];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};

    fn scrambled(shape: Shape, number: u64) -> Vec<f32> {
        let length = shape.len();
        let mut values = Values::F32((0..2 * length).map(|value| value as f32).collect());
        scramble_last(&mut values, shape, &mut Randomness::new(0, 0).at(number, Stage::Scenario));
        let Values::F32(values) = values else { unreachable!() };
        assert!((0..length).all(|at| values[at] == at as f32), "the sample before stays");
        values[length..].iter().map(|value| value - length as f32).collect()
    }

    #[test]
    fn a_sample_keeps_its_values_and_loses_its_form() {
        for shape in [
            Shape::Image { channels: 1, height: 8, width: 8 },
            Shape::Image { channels: 3, height: 5, width: 8 },
            Shape::Vector { features: 7 },
        ] {
            let plain: Vec<f32> = (0..shape.len()).map(|value| value as f32).collect();
            let several: Vec<Vec<f32>> = (0..4).map(|number| scrambled(shape, number)).collect();
            for found in &several {
                let mut sorted = found.clone();
                sorted.sort_by(f32::total_cmp);
                assert_eq!(sorted, plain, "{shape}");
            }
            assert!(several.iter().all(|found| *found != plain) && several[0] != several[1], "{shape}");
        }
    }

    #[test]
    fn channels_change_alike() {
        let found = scrambled(Shape::Image { channels: 2, height: 4, width: 4 }, 0);
        assert!((0..16).all(|at| found[16 + at] == found[at] + 16.0), "{found:?}");
    }
}

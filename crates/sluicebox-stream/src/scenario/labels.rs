//! Label noise.

use rand::RngExt;
use sluicebox_core::rng::Draws;

/// Returns `class` or, with probability `noise`, another of the `classes`.
pub fn noisy(class: u32, classes: u32, noise: f64, draws: &mut Draws) -> u32 {
    if noise > 0.0 && classes > 1 && draws.random::<f64>() < noise {
        return (class + draws.random_range(1..classes)) % classes;
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};

    #[test]
    fn a_part_of_the_labels_names_another_class() {
        let mut draws = Randomness::new(0, 0).at(0, Stage::Source);
        let labels: Vec<u32> = (0..4000).map(|_| noisy(1, 3, 0.25, &mut draws)).collect();
        let count = |class| labels.iter().filter(|label| **label == class).count();
        assert!((800..1200).contains(&(4000 - count(1))), "{}", count(1));
        assert!(count(0) > 350 && count(2) > 350);
        assert!((0..99).all(|_| noisy(1, 3, 0.0, &mut draws) == 1 && noisy(1, 3, 1.0, &mut draws) != 1));
    }
}

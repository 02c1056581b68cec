//! libtorch's random generator. There is one per device and process, so that each draw is made under a lock, from a
//! seed of its own.

use parking_lot::Mutex;

/// Seeds the generator with `seed` and calls `draw`. Other threads draw neither between the two nor during `draw`.
///
/// ```
/// use sluicebox_learn::generator::seeded;
/// use tch::{Device, Kind, Tensor};
///
/// let draw = || Tensor::rand([3], (Kind::Float, Device::Cpu));
/// assert!(seeded(7, draw).equal(&seeded(7, draw)));
/// ```
pub fn seeded<T>(seed: i64, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock();
    tch::manual_seed(seed);
    draw()
}

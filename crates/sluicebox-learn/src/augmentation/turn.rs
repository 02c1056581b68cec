//! Quarter turns of square images, for losses that tell by how much an image was turned. By how much follows from its place
//! in the batch, so that nothing is carried along.

use tch::{Device, Kind, Tensor};

/// Returns by how many quarters each of `count` images is turned, 0 to 3: `[count]` i64.
pub fn quarters(count: i64, device: Device) -> Tensor {
    Tensor::arange(count, (Kind::Int64, device)).remainder(4)
}

/// Turns the images `[N, C, S, S]` counter-clockwise, each by its [`quarters`].
pub fn turned(batch: &Tensor) -> Tensor {
    let quarters = quarters(batch.size()[0], batch.device()).view([-1, 1, 1, 1]);
    (1..4).fold(batch.shallow_clone(), |turned, count| {
        batch.rot90(count, [2i64, 3]).where_self(&quarters.eq(count), &turned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_turn_by_their_place() {
        let image = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([1, 1, 2, 2]).expand([6, 1, 2, 2], false);
        let found: Vec<f32> = Vec::try_from(turned(&image).flatten(0, -1)).unwrap();
        let expected =
            [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 1.0, 3.0], [4.0, 3.0, 2.0, 1.0], [3.0, 1.0, 4.0, 2.0]];
        let expected: Vec<f32> = expected.into_iter().cycle().take(6).flatten().collect();
        assert_eq!(found, expected);
        assert_eq!(Vec::<i64>::try_from(quarters(6, Device::Cpu)).unwrap(), [0, 1, 2, 3, 0, 1]);
    }
}

//! Operations that move pixels: one gather for all of them, each from the nearest pixel, in
//! PIL's own arithmetic of 16 bits after the point.

use super::{Change, Op};
use crate::device::upload;
use tch::{Kind, Tensor};

/// `images` `[G, C, H, W]` u8, each moved as its change says.
pub(super) fn moved(images: &Tensor, changes: &[Change], fill: f64) -> Tensor {
    let (count, channels, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let device = images.device();
    let matrices: Vec<i32> =
        changes.iter().flat_map(|change| fixed(origin(change, height as f64, width as f64))).collect();
    let matrices = upload(&Tensor::from_slice(&matrices).view([count, 6, 1, 1]), device);
    let columns = Tensor::arange(width, (Kind::Int, device)).view([1, 1, width]);
    let rows = Tensor::arange(height, (Kind::Int, device)).view([1, height, 1]);
    // Where each pixel comes from, in an image that has a frame of one pixel: [G, H, W].
    let from = |row: i64, side: i64| {
        let part = |place: i64| matrices.select(1, 3 * row + place); // [G, 1, 1]
        let mut at = (part(0) * &columns + part(2)) + part(1) * &rows;
        at.bitwise_right_shift_tensor_scalar_(16).clamp_(0, side + 1)
    };
    let places = from(1, height) * (width + 2) + from(0, width);
    let places = places.to_kind(Kind::Int64).view([count, 1, height * width]);
    let framed = images.pad([1, 1, 1, 1], "constant", fill).view([count, channels, -1]);
    framed.gather(2, &places.expand([count, channels, height * width], false), false).view_as(images)
}

/// The pixel that `(x, y)` comes from: `(a·x + b·y + c, d·x + e·y + f)`, from corner to corner.
fn origin(change: &Change, height: f64, width: f64) -> [f64; 6] {
    let amount = change.amount;
    match change.op {
        Op::Rotate => {
            let (sin, cos) = (-amount).to_radians().sin_cos();
            let (x, y) = (width / 2.0, height / 2.0);
            [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y]
        }
        Op::ShearX => [1.0, amount, 0.0, 0.0, 1.0, 0.0],
        Op::ShearY => [1.0, 0.0, 0.0, amount, 1.0, 0.0],
        Op::TranslateX => [1.0, 0.0, amount, 0.0, 1.0, 0.0],
        Op::TranslateY => [1.0, 0.0, 0.0, 0.0, 1.0, amount],
        _ => [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
}

/// In 65536ths of a pixel, for the pixels' centres and with the frame counted in.
fn fixed([a, b, c, d, e, f]: [f64; 6]) -> [i32; 6] {
    let fixed = |value: f64| (65536.0 * value + 0.5).floor() as i32;
    [a, b, c + (a + b) / 2.0 + 1.0, d, e, f + (d + e) / 2.0 + 1.0].map(fixed)
}

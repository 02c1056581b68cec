//! Operations that move pixels: one gather for all of them, from the nearest pixel, in PIL's own
//! fixed-point arithmetic with 16 fractional bits.

use crate::augmentation::randaugment::amounts::Amounts;
use crate::augmentation::randaugment::change::Change;
use crate::augmentation::randaugment::ranges::Op;
use tch::{Kind, Tensor};

/// Moves the pixels of `images` `[G, C, H, W]` u8.
pub(super) fn shift(images: &Tensor, amounts: &mut Amounts, fill: f64) {
    let (count, channels, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let [columns, rows] = amounts.axes(count);
    // Source of each pixel, in an image with a frame of one pixel: [2, G, H, W].
    let mut from = (columns + rows).bitwise_right_shift_tensor_scalar_(16);
    if height == width {
        let _ = from.clamp_(0, width + 1);
    } else {
        let _ = (from.get(0).clamp_(0, width + 1), from.get(1).clamp_(0, height + 1));
    }
    let places = Tensor::empty([count, height, width], (Kind::Int64, images.device()));
    let _ = from.get(0).addcmul_out(&places, &from.get(1), &amounts.framed_width);
    let places = places.view([count, 1, height * width]);
    let framed = images.pad([1, 1, 1, 1], "constant", fill).view([count, channels, -1]);
    let places = places.expand([count, channels, height * width], false);
    let _ = framed.gather_out(&images.view([count, channels, -1]), 2, &places, false);
}

/// Returns contributions of a pixel's column `[2, G, W]` and row `[2, G, H]` to its source coordinates x and y, in
/// 65536ths of a pixel. They are few compared to the pixels, so they are computed before the upload.
pub(super) fn axes(changes: &[Change], height: i64, width: i64) -> (Vec<i32>, Vec<i32>) {
    let coefficients: Vec<[i32; 6]> =
        changes.iter().map(|change| fixed(origin(change, height as f64, width as f64))).collect();
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for coordinate in [0, 3] {
        for of in &coefficients {
            let [by_x, by_y, constant] = [0, 1, 2].map(|at| of[coordinate + at]);
            columns.extend((0..width as i32).map(|x| by_x * x + constant));
            rows.extend((0..height as i32).map(|y| by_y * y));
        }
    }
    (columns, rows)
}

/// Returns the coefficients of the source of pixel `(x, y)`: `(a·x + b·y + c, d·x + e·y + f)`, measured
/// from the corner.
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

/// Converts to 65536ths of a pixel, for pixel centres and with the frame included.
fn fixed([a, b, c, d, e, f]: [f64; 6]) -> [i32; 6] {
    let fixed = |value: f64| (65536.0 * value + 0.5).floor() as i32;
    [a, b, c + (a + b) / 2.0 + 1.0, d, e, f + (d + e) / 2.0 + 1.0].map(fixed)
}

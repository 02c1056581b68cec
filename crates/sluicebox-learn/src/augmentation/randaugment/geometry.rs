//! Operations that move pixels: one gather for all of them, from the nearest pixel, in PIL's own
//! fixed-point arithmetic with 16 fractional bits.

use crate::augmentation::randaugment::change::Change;
use crate::augmentation::randaugment::ranges::Op;
use crate::device::upload;
use tch::{Kind, Tensor};

/// Moves `images` `[G, C, H, W]` u8, each by its change.
pub(super) fn moved(images: &Tensor, changes: &[Change], fill: f64) -> Tensor {
    let (count, channels, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let device = images.device();
    let axes = Axes::new(changes, height, width);
    let part = |values: &[i32], shape: [i64; 3]| upload(&Tensor::from_slice(values).view(shape), device);
    // Source of each pixel, in an image with a frame of one pixel: [G, H, W].
    let from = |columns: &[i32], rows: &[i32], side: i64| {
        let mut at = part(columns, [count, 1, width]) + part(rows, [count, height, 1]);
        at.bitwise_right_shift_tensor_scalar_(16).clamp_(0, side + 1)
    };
    let mut places = from(&axes.y_columns, &axes.y_rows, height);
    let _ = places.g_mul_scalar_(width + 2).g_add_(&from(&axes.x_columns, &axes.x_rows, width));
    let places = places.to_kind(Kind::Int64).view([count, 1, height * width]);
    let framed = images.pad([1, 1, 1, 1], "constant", fill).view([count, channels, -1]);
    framed.gather(2, &places.expand([count, channels, height * width], false), false).view_as(images)
}

/// Contributions of a pixel's column and row to its source coordinates, in 65536ths of a pixel. They
/// are few compared to the pixels, so they are computed before the upload.
#[derive(Default)]
struct Axes {
    x_columns: Vec<i32>,
    x_rows: Vec<i32>,
    y_columns: Vec<i32>,
    y_rows: Vec<i32>,
}

impl Axes {
    fn new(changes: &[Change], height: i64, width: i64) -> Self {
        let mut axes = Self::default();
        for change in changes {
            let [a, b, c, d, e, f] = fixed(origin(change, height as f64, width as f64));
            axes.x_columns.extend((0..width as i32).map(|x| a * x + c));
            axes.x_rows.extend((0..height as i32).map(|y| b * y));
            axes.y_columns.extend((0..width as i32).map(|x| d * x + f));
            axes.y_rows.extend((0..height as i32).map(|y| e * y));
        }
        axes
    }
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

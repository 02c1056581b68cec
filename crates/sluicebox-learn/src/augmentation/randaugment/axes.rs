//! Sources of moved pixels, as far as they are computed before the upload: in PIL's own fixed-point arithmetic with 16
//! fractional bits.

use crate::augmentation::randaugment::change::Change;
use crate::augmentation::randaugment::ranges::Op;

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

//! Operations that move pixels: one gather for all of them, from the nearest pixel, in PIL's own
//! fixed-point arithmetic with 16 fractional bits.

use crate::augmentation::randaugment::amounts::Amounts;
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

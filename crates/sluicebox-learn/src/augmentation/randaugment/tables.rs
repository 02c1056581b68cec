//! Operations that map each level to another: a table of 256 levels per channel, and one gather for all
//! of them.

use crate::augmentation::randaugment::amounts::Amounts;
use crate::augmentation::randaugment::change::{Change, count};
use crate::augmentation::randaugment::ranges::Op;
use tch::{Kind, Tensor};

/// Maps the levels of `images` `[G, C, H, W]` u8. `changes` must be in the order of [`Op`].
pub(super) fn map(images: &Tensor, changes: &[Change], amounts: &mut Amounts) {
    let (total, channels, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let pixels = images.to_kind(Kind::Int64).view([-1, channels, height * width]); // [G, C, HW]
    let (stretched, equalized) = (count(changes, Op::Autocontrast), count(changes, Op::Equalize));
    let own = stretched + equalized;
    let mut tables = Vec::with_capacity(3);
    if own > 0 {
        let (low, high) = pixels.narrow(0, 0, own).aminmax(2, true); // [own, C, 1]
        let first = |tensor: &Tensor| tensor.narrow(0, 0, stretched);
        let second = |tensor: &Tensor| tensor.narrow(0, stretched, equalized);
        if stretched > 0 {
            tables.push(autocontrast(&first(&low), &first(&high), amounts));
        }
        if equalized > 0 {
            tables.push(equalize(&second(&pixels), &second(&high), amounts));
        }
    }
    if own < total {
        tables.push(amounts.tables(total - own).expand([-1, channels, 256], false));
    }
    let _ =
        Tensor::cat(&tables, 0).gather_out(&images.view([-1, channels, height * width]), 2, &pixels, false);
}

/// Maps the lowest level to 0 and the highest to 255; no change where they are equal. Levels that the image does not
/// have get any number.
fn autocontrast(low: &Tensor, high: &Tensor, amounts: &Amounts) -> Tensor {
    let shape = low.size();
    let factors = amounts.stretches.index_select(1, &(high - low).view(-1)); // [3, G·C]
    let [_, on_level, on_low] = [0, 1, 2].map(|row| factors.get(row).view(shape.as_slice()));
    let mut table = amounts.stretches.get(0) * on_level;
    table.g_sub_(&(low * on_low)).to_kind(Kind::Uint8)
}

/// Maps a level to the number of pixels below it, in units of 1/255 of the pixels below the highest level.
fn equalize(pixels: &Tensor, high: &Tensor, amounts: &Amounts) -> Tensor {
    let (groups, channels, _) = pixels.size3().unwrap_or((0, 0, 0));
    let levels = &amounts.levels;
    let one = levels.narrow(2, 1, 1).expand(pixels.size().as_slice(), false);
    let counts = Tensor::zeros([groups, channels, 257], (Kind::Int, pixels.device()));
    // Behind a place for the pixels below level 0.
    let _ = counts.narrow(2, 1, 256).scatter_add_(2, pixels, &one);
    let below = counts.cumsum(2, Kind::Int).narrow(2, 0, 256);
    let step = below.gather(2, high, false).floor_divide_scalar(255); // [G, C, 1]
    let table = (below + step.floor_divide_scalar(2)).floor_divide(&step.clamp_min(1));
    table.where_self(&step.gt(0), levels).clamp_max(255).to_kind(Kind::Uint8)
}

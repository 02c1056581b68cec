//! Operations that map each level to another: a table of 256 levels per channel, and one gather for all
//! of them.

use crate::augmentation::randaugment::change::{Change, count};
use crate::augmentation::randaugment::ranges::Op;
use crate::device::upload;
use tch::{Device, Kind, Tensor};

/// Maps the levels of `images` `[G, C, H, W]` u8. `changes` must be in the order of [`Op`].
pub(super) fn mapped(images: &Tensor, changes: &[Change]) -> Tensor {
    let (_, channels, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let pixels = images.to_kind(Kind::Int64).view([-1, channels, height * width]); // [G, C, HW]
    let (stretched, equalized) = (count(changes, Op::Autocontrast), count(changes, Op::Equalize));
    let given = &changes[(stretched + equalized) as usize..];
    let mut tables = Vec::with_capacity(3);
    if stretched > 0 {
        tables.push(autocontrast(&pixels.narrow(0, 0, stretched)));
    }
    if equalized > 0 {
        tables.push(equalize(&pixels.narrow(0, stretched, equalized)));
    }
    if !given.is_empty() {
        let given = upload(&fixed(given), images.device());
        tables.push(given.expand([-1, channels, 256], false));
    }
    Tensor::cat(&tables, 0).gather(2, &pixels, false).view_as(images)
}

/// Returns tables that do not depend on the image: `[G, 1, 256]` u8.
fn fixed(changes: &[Change]) -> Tensor {
    let mut tables = Vec::with_capacity(256 * changes.len());
    for Change { op, amount, .. } in changes {
        match op {
            Op::Posterize => {
                let mask = !(255u32 >> *amount as u32) as u8;
                tables.extend((0..=255u8).map(|level| level & mask));
            }
            _ => tables.extend((0..=255u8).map(|level| match f64::from(level) < *amount {
                true => level,
                false => 255 - level,
            })),
        }
    }
    Tensor::from_slice(&tables).view([-1, 1, 256])
}

fn levels(kind: Kind, device: Device) -> Tensor {
    Tensor::arange(256, (kind, device)).view([1, 1, 256])
}

/// Maps the lowest level to 0 and the highest to 255; no change where they are equal.
fn autocontrast(pixels: &Tensor) -> Tensor {
    let low = pixels.amin([2].as_slice(), true).to_kind(Kind::Double); // [G, C, 1]
    let high = pixels.amax([2].as_slice(), true).to_kind(Kind::Double);
    let levels = levels(Kind::Double, pixels.device());
    let scale = (&high - &low).reciprocal() * 255.0;
    let table = &levels * &scale - &low * &scale;
    table.where_self(&high.gt_tensor(&low), &levels).clamp_(0.0, 255.0).to_kind(Kind::Uint8)
}

/// Maps a level to the number of pixels below it, in units of 1/255 of the pixels below the highest level.
fn equalize(pixels: &Tensor) -> Tensor {
    let (groups, channels, size) = pixels.size3().unwrap_or((0, 0, 0));
    let options = (Kind::Int, pixels.device());
    let ones = Tensor::ones([1, 1, 1], options).expand(pixels.size().as_slice(), false);
    let counts = Tensor::zeros([groups, channels, 256], options).scatter_add(2, pixels, &ones);
    let highest = counts.gather(2, &pixels.amax([2].as_slice(), true), false); // [G, C, 1]
    let step = (highest * -1 + size).floor_divide_scalar(255);
    let below = counts.cumsum(2, Kind::Int) - counts;
    let table = (below + step.floor_divide_scalar(2)).floor_divide(&step.clamp_min(1));
    let table = table.where_self(&step.gt(0), &levels(Kind::Int, pixels.device()));
    table.clamp_max(255).to_kind(Kind::Uint8)
}

//! Operations that blend an image with a reduced one: black, its mean grey, its grey image, its
//! smoothed image. A factor of 0 returns the reduced image, 1 the image itself; above 1 extrapolates.

use crate::augmentation::randaugment::amounts::Amounts;
use crate::augmentation::randaugment::change::{Change, count, halfway};
use crate::augmentation::randaugment::ranges::Op;
use tch::{Kind, Tensor};

/// Blends `levels` `[G, C, H, W]` u8. `changes` must be in the order of [`Op`].
pub(super) fn blend(mut levels: Tensor, changes: &[Change], amounts: &mut Amounts) {
    let factors = amounts.factors(changes.len() as i64);
    let images = levels.to_kind(Kind::Float);
    let (mut rests, mut done) = (Vec::with_capacity(4), 0);
    for op in [Op::Brightness, Op::Contrast, Op::Color, Op::Sharpness] {
        let count = count(changes, op);
        if count > 0 {
            rests.push(rest(op, &images.narrow(0, done, count), amounts));
        }
        done += count;
    }
    let rests = Tensor::cat(&rests, 0);
    let sharp = count(changes, Op::Sharpness);
    if sharp > 0 {
        smooth(&rests.narrow(0, done - sharp, sharp));
    }
    let mut blend = images - &rests;
    let _ = blend.multiply_(&factors).g_add_(&rests);
    levels.copy_(&halfway(blend.clamp_(0.0, 255.0)));
}

/// Returns the reduced image (factor 0) of `images` `[G, C, H, W]` f32 with whole levels; one that is still to be
/// smoothed is the image itself.
fn rest(op: Op, images: &Tensor, amounts: &Amounts) -> Tensor {
    match op {
        Op::Contrast => {
            let mean = grey(images).mean_dim([1i64, 2, 3].as_slice(), true, Kind::Double);
            (mean + 0.5).floor_().to_kind(Kind::Float).expand_as(images)
        }
        Op::Color => grey(images).expand_as(images),
        Op::Sharpness => images.shallow_clone(),
        _ => amounts.zero().expand_as(images),
    }
}

/// Returns the grey images `[G, 1, H, W]`: ITU-R BT.601 in PIL's integer 65536ths, which f32 holds exactly.
fn grey(images: &Tensor) -> Tensor {
    if images.size()[1] != 3 {
        return images.shallow_clone();
    }
    let [red, green, blue] = [0, 1, 2].map(|channel| images.narrow(1, channel, 1));
    let sum = red * 19595.0 + green * 38470.0 + blue * 7471.0;
    ((sum + 32768.0) / 65536.0).floor_()
}

/// Replaces pixels by means over 3 by 3 of them in which the centre has weight 5; border pixels stay unchanged.
fn smooth(images: &Tensor) {
    let (_, _, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    if height < 3 || width < 3 {
        return;
    }
    let inner = images.narrow(2, 1, height - 2).narrow(3, 1, width - 2);
    let mut means = images.avg_pool2d([3, 3], [1, 1], [0, 0], false, true, None);
    // The means are 13ths of whole numbers: none is so near to the middle of two levels that rounding could err.
    let _ = means.lerp_(&inner, 4.0 / 13.0).round_out(&inner);
}

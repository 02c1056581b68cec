//! Operations that blend an image with a reduced one: black, its mean grey, its grey image, its
//! smoothed image. A factor of 0 returns the reduced image, 1 the image itself; above 1 extrapolates.

use crate::augmentation::randaugment::change::{Change, count, whole};
use crate::augmentation::randaugment::ranges::Op;
use crate::device::upload;
use crate::torch::copied;
use tch::{Kind, Tensor};

/// Blends `images` `[G, C, H, W]` u8. `changes` must be in the order of [`Op`].
pub(super) fn blended(images: &Tensor, changes: &[Change]) -> Tensor {
    let factors: Vec<f32> = changes.iter().map(|change| change.amount as f32).collect();
    let factors = upload(&Tensor::from_slice(&factors).view([-1, 1, 1, 1]), images.device());
    let images = images.to_kind(Kind::Float);
    let mut done = 0;
    let mut rests = Vec::with_capacity(4);
    for op in [Op::Brightness, Op::Contrast, Op::Color, Op::Sharpness] {
        let count = count(changes, op);
        if count > 0 {
            rests.push(rest(op, &images.narrow(0, done, count)));
        }
        done += count;
    }
    let rests = Tensor::cat(&rests, 0);
    let mut blend = images - &rests;
    let _ = blend.multiply_(&factors).g_add_(&rests);
    whole(&blend.clamp_(0.0, 255.0))
}

/// Returns the reduced image (factor 0) of `images` `[G, C, H, W]` f32 with whole levels.
fn rest(op: Op, images: &Tensor) -> Tensor {
    match op {
        Op::Contrast => {
            let mean = grey(images).mean_dim([1i64, 2, 3].as_slice(), true, Kind::Double);
            (mean + 0.5).floor_().to_kind(Kind::Float).expand_as(images)
        }
        Op::Color => grey(images).expand_as(images),
        Op::Sharpness => smoothed(images),
        _ => images.zeros_like(),
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

/// Returns means over 3 by 3 pixels in which the centre has weight 5; border pixels stay unchanged.
fn smoothed(images: &Tensor) -> Tensor {
    let (_, _, height, width) = images.size4().unwrap_or((0, 0, 0, 0));
    let smoothed = copied(images);
    if height < 3 || width < 3 {
        return smoothed;
    }
    let inner = |image: &Tensor| image.narrow(2, 1, height - 2).narrow(3, 1, width - 2);
    let three = |image: &Tensor, axis: i64, side: i64| {
        let [before, at, after] = [0, 1, 2].map(|start| image.narrow(axis, start, side - 2));
        before + at + after
    };
    let sums = three(&three(images, 2, height), 3, width);
    let means = ((sums + inner(images) * 4.0) / 13.0 + 0.5).floor_();
    inner(&smoothed).copy_(&means);
    smoothed
}

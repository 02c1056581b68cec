"""Makes randaugment.safetensors: torchvision's functional operations on PIL images, nearest pixels.

    python crates/sluicebox-learn/tests/golden/randaugment.py          (needs torch, torchvision, Pillow and safetensors)

Images are named `IMAGE`, results `IMAGE/OPERATION/AMOUNT`, all [C, H, W] u8. Amounts have the
units of RandAugment's own codes: PIL's matrix shifts to the left, torchvision to the right.
"""

import math
import pathlib

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

NEAREST = InterpolationMode.NEAREST


def affine(image, shift=(0, 0), shear=(0.0, 0.0)):
    degrees = [math.degrees(math.atan(slope)) for slope in shear]
    shift = [-pixels for pixels in shift]
    return F.affine(image, 0.0, shift, 1.0, degrees, NEAREST, fill=77, center=[0, 0])


OPERATIONS = {
    "identity": (lambda image, _: image, [0]),
    "autocontrast": (lambda image, _: F.autocontrast(image), [0]),
    "equalize": (lambda image, _: F.equalize(image), [0]),
    "brightness": (F.adjust_brightness, [0.05, 0.28, 0.95, 1.72]),
    "contrast": (F.adjust_contrast, [0.05, 0.28, 0.95, 1.72]),
    "color": (F.adjust_saturation, [0.05, 0.28, 0.95, 1.72]),
    "sharpness": (F.adjust_sharpness, [0.05, 0.28, 0.95, 1.72]),
    "posterize": (lambda image, bits: F.posterize(image, int(bits)), [1, 4, 7, 8]),
    "solarize": (F.solarize, [0, 26, 127.5, 231, 256]),
    "rotate": (lambda image, angle: F.rotate(image, angle, NEAREST, fill=77), [-30, -3, 12.3, 27]),
    "shear-x": (lambda image, slope: affine(image, shear=(slope, 0.0)), [-0.3, 0.03, 0.27]),
    "shear-y": (lambda image, slope: affine(image, shear=(0.0, slope)), [-0.3, 0.03, 0.27]),
    "translate-x": (lambda image, pixels: affine(image, shift=(pixels, 0)), [-9, 1, 4]),
    "translate-y": (lambda image, pixels: affine(image, shift=(0, pixels)), [-9, 1, 4]),
}


def picture(height, width, channels, seed):
    """A slope with a disc and some noise, from level 30 to 200."""
    noise = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    layers = []
    for channel in range(channels):
        slope = 40 + 60 * x / width + 40 * (channel + 1) * y / height / channels
        disc = 60 * ((x - width / 2) ** 2 + (y - height / 3) ** 2 < (height / (3 + channel)) ** 2)
        layers.append((slope + disc + noise.normal(0, 6, x.shape)).clip(30, 200))
    return numpy.stack(layers, 2).round().astype(numpy.uint8)


IMAGES = {
    "grey-28": picture(28, 28, 1, 0),
    "grey-8": picture(8, 8, 1, 1),
    "grey-flat": numpy.full((8, 8, 1), 90, numpy.uint8),
    "rgb-24x32": picture(24, 32, 3, 2),
    "rgb-9x7": picture(9, 7, 3, 3),
}


def tensor(array):
    return torch.from_numpy(numpy.array(array).reshape(array.shape[0], array.shape[1], -1)).permute(2, 0, 1)


file = {}
for name, pixels in IMAGES.items():
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    file[name] = tensor(pixels).contiguous()
    for operation, (apply, amounts) in OPERATIONS.items():
        for amount in amounts:
            result = numpy.asarray(apply(image, amount))
            file[f"{name}/{operation}/{amount}"] = tensor(result).contiguous()
save_file(file, pathlib.Path(__file__).with_suffix(".safetensors"))
print(len(file), "tensors")

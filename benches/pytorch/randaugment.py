"""RandAugment in torchvision's PIL operations, to compare with: the same operations, ranges and
chances as `randaugment` in Sluicebox, in two loader workers.

    python benches/pytorch/randaugment.py          (needs torch, torchvision and Pillow)

Reads lines `VARIANT CUTOUT` (`usb 1`, `google 0`) and answers each with images per second.
448 grey images of 28 by 28 pixels to 448 tensors is one round; a line is 10 of them.
"""

import math
import random
import sys
import time

import numpy
import torch
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

IMAGES, ROUNDS, SIDE = 448, 10, 28
NEAREST = InterpolationMode.NEAREST


def affine(image, shift=(0, 0), shear=(0.0, 0.0)):
    degrees = [math.degrees(math.atan(slope)) for slope in shear]
    return F.affine(image, 0.0, list(shift), 1.0, degrees, NEAREST, center=[0, 0])


OPERATIONS = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: F.autocontrast(image),
    "equalize": lambda image, _: F.equalize(image),
    "brightness": F.adjust_brightness,
    "contrast": F.adjust_contrast,
    "color": F.adjust_saturation,
    "sharpness": F.adjust_sharpness,
    "posterize": lambda image, bits: F.posterize(image, int(bits)),
    "solarize": F.solarize,
    "rotate": lambda image, angle: F.rotate(image, angle, NEAREST),
    "shear-x": lambda image, slope: affine(image, shear=(slope, 0.0)),
    "shear-y": lambda image, slope: affine(image, shear=(0.0, slope)),
    "translate-x": lambda image, pixels: affine(image, shift=(int(pixels), 0)),
    "translate-y": lambda image, pixels: affine(image, shift=(0, int(pixels))),
}
NAMES = list(OPERATIONS)
USB = {name: (0.05, 0.95) for name in ("brightness", "contrast", "color", "sharpness")}
USB |= {"rotate": (-30, 30), "shear-x": (-0.3, 0.3), "shear-y": (-0.3, 0.3), "posterize": (4, 8)}
USB |= {"translate-x": (-0.3 * SIDE, 0.3 * SIDE), "translate-y": (-0.3 * SIDE, 0.3 * SIDE), "solarize": (0, 256)}


def google(name):
    level = random.randint(1, 9)
    signed = level if random.random() < 0.5 else -level
    match name:
        case "rotate":
            return 3 * signed
        case "shear-x" | "shear-y":
            return 0.03 * signed
        case "translate-x" | "translate-y":
            return signed * SIDE / 32
        case "posterize":
            return 4 - int(0.4 * level)
        case "solarize":
            return 256 - int(25.6 * level)
    return 0.1 + 0.18 * level


def view(image, variant, cutout):
    if variant == "usb":
        for name in random.choices(NAMES, k=3):
            image = OPERATIONS[name](image, random.uniform(*USB.get(name, (0, 0))))
    else:
        for name in random.choices(NAMES, k=2):
            if random.random() < 0.5:
                image = OPERATIONS[name](image, google(name))
    size = SIDE // 2 if variant == "google" else round(random.uniform(0, SIDE / 2))
    if cutout and size:
        left, top = (random.randrange(SIDE) - size // 2 for _ in range(2))
        image = image.copy()
        ImageDraw.Draw(image).rectangle((left, top, left + size - 1, top + size - 1), 127)
    return F.to_tensor(image)


class Views(Dataset):
    def __init__(self, variant, cutout):
        self.variant, self.cutout = variant, cutout
        y, x = numpy.mgrid[0:SIDE, 0:SIDE]
        pixels = [(7 * x + 5 * y + 3 * number + x * y % 17) % 256 for number in range(IMAGES)]
        self.images = [Image.fromarray(one.astype(numpy.uint8)) for one in pixels]

    def __len__(self):
        return IMAGES * ROUNDS

    def __getitem__(self, place):
        return view(self.images[place % IMAGES], self.variant, self.cutout)


loaders = {}
torch.set_num_threads(1)
for line in sys.stdin:
    variant, cutout = line.split()
    fresh = line not in loaders
    if fresh:
        views = Views(variant, cutout == "1")
        loaders[line] = DataLoader(views, batch_size=64, num_workers=2, persistent_workers=True)
    for _ in range(1 + fresh):  # the first time also starts the workers
        start = time.perf_counter()
        images = sum(len(batch) for batch in loaders[line])
        seconds = time.perf_counter() - start
    print(images / seconds, flush=True)

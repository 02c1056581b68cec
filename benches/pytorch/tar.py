"""Reading images by `webdataset` or Pillow, to compare with: as bytes, channels first, and classes.

    python benches/pytorch/tar.py FOLDER          (needs webdataset, numpy and Pillow, and scikit-learn for photographs)

Reads lines: `write KIND SIDE COUNT PATH` writes images of KIND (png, jpg, or photo: JPEG of photographs) and classes, as an archive or, where PATH has
no ending, as a folder; `read COUNT PATH` reads them and answers samples per second, `read-on-all-cores` those of one process
per core, each of which reads all of them; `hello` is answered by `hello`.
"""

import io
import multiprocessing
import os
import pathlib
import sys
import time

import numpy as np
import webdataset as wds
from PIL import Image


def images(side, count):
    """Smooth colours with a little noise, as photographs have them."""
    draw = np.random.default_rng(side)
    rows, columns = np.mgrid[0:side, 0:side] / side
    for _ in range(count):
        waves = draw.uniform(0, 6, (3, 4))
        planes = [np.sin(a + b * rows) + np.sin(c + d * columns) for a, b, c, d in waves]
        noise = draw.normal(0, 4, (side, side, 3))
        yield np.clip(np.stack(planes, 2) * 60 + 128 + noise, 0, 255).astype(np.uint8)


def photographs(side, count):
    """Pieces of scikit-learn's two photographs at various scales, as JPEG of quality 90."""
    from sklearn.datasets import load_sample_images

    draw = np.random.default_rng(side)
    whole = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        image = whole[number % len(whole)]
        scale = draw.uniform(side / min(image.size), 1)
        image = image.resize([round(scale * length) + 1 for length in image.size], Image.Resampling.BICUBIC)
        left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
        content = io.BytesIO()
        image.crop((left, top, left + side, top + side)).save(content, "JPEG", quality=90)
        yield content.getvalue()


def write(kind, side, count, path):
    if kind == "photo":
        with wds.TarWriter(path) as out:
            for number, content in enumerate(photographs(side, count)):
                out.write({"__key__": f"{number:08d}", "jpg": content, "cls": number % 10})
        return
    if "." not in pathlib.Path(path).name:
        pathlib.Path(path).mkdir(exist_ok=True)
        for number, image in enumerate(images(side, count)):
            Image.fromarray(image).save(f"{path}/{number:08d}.{kind}")
        return
    with wds.TarWriter(path, compress=path.endswith(".gz")) as out:
        for number, image in enumerate(images(side, count)):
            out.write({"__key__": f"{number:08d}", kind: image, "cls": number % 10})


def of_folder(path):
    for file in sorted(pathlib.Path(path).iterdir()):
        with Image.open(file) as image:
            yield np.asarray(image.convert("RGB"))


def of_archive(path):
    samples = wds.WebDataset(path, shardshuffle=False).decode("rgb8").to_tuple("png;jpg", "cls")
    return (image for image, _ in samples)


def read(count, path):
    began = time.perf_counter()
    found = 0
    for image in of_archive(path) if "." in pathlib.Path(path).name else of_folder(path):
        np.ascontiguousarray(image.transpose(2, 0, 1))
        found += 1
    assert found == count, found
    return count / (time.perf_counter() - began)


def read_on_all_cores(count, path):
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("fork").Pool(cores) as processes:
        return sum(processes.starmap(read, [(count, path)] * cores, chunksize=1))


for line in sys.stdin:
    command, *words = line.split(maxsplit=4 if line.startswith("write") else 2)
    if command == "write":
        write(words[0], int(words[1]), int(words[2]), words[3].strip())
        print("written", flush=True)
    elif command == "read":
        print(read(int(words[0]), words[1].strip()), flush=True)
    elif command == "read-on-all-cores":
        print(read_on_all_cores(int(words[0]), words[1].strip()), flush=True)
    else:
        print("hello", flush=True)

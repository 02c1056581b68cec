"""Reading a WebDataset by the package of that name, to compare with: images as bytes, channels first, and classes.

    python benches/pytorch/tar.py FOLDER          (needs webdataset, numpy and Pillow)

Reads lines: `write SIDE COUNT FILE` writes an archive of PNG images and classes; `read COUNT FILE` reads it and answers
samples per second; `hello` is answered by `hello`.
"""

import sys
import time

import numpy as np
import webdataset as wds


def images(side, count):
    """Smooth colours with a little noise, as photographs have them."""
    draw = np.random.default_rng(side)
    rows, columns = np.mgrid[0:side, 0:side] / side
    for _ in range(count):
        waves = draw.uniform(0, 6, (3, 4))
        planes = [np.sin(a + b * rows) + np.sin(c + d * columns) for a, b, c, d in waves]
        noise = draw.normal(0, 4, (side, side, 3))
        yield np.clip(np.stack(planes, 2) * 60 + 128 + noise, 0, 255).astype(np.uint8)


def write(side, count, path):
    with wds.TarWriter(path, compress=path.endswith(".gz")) as out:
        for number, image in enumerate(images(side, count)):
            out.write({"__key__": f"{number:08d}", "png": image, "cls": number % 10})


def read(count, path):
    began = time.perf_counter()
    samples = wds.WebDataset(path, shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    found = 0
    for image, _ in samples:
        np.ascontiguousarray(image.transpose(2, 0, 1))
        found += 1
    assert found == count, found
    return count / (time.perf_counter() - began)


for line in sys.stdin:
    command, *words = line.split(maxsplit=3 if line.startswith("write") else 2)
    if command == "write":
        write(int(words[0]), int(words[1]), words[2].strip())
        print("written", flush=True)
    elif command == "read":
        print(read(int(words[0]), words[1].strip()), flush=True)
    else:
        print("hello", flush=True)

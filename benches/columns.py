"""Samples/s of Parquet by the source `files` and by pyarrow, on the same files in turn.

    cargo bench -p sluicebox-stream --bench files --no-run
    python benches/columns.py PROGRAM FOLDER [--rounds 3]

PROGRAM is what the first line built. Writes 1,000,000 rows of 64 numbers and 60,000 PNG images of 3×32×32 into FOLDER
unless they are there. pyarrow reads batches, of which NumPy makes one array of samples and one of classes, or Pillow
decodes each image. Needs pyarrow, NumPy and Pillow.
"""

import argparse
import io
import json
import pathlib
import statistics
import subprocess
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
draw = np.random.default_rng(0)
NUMBERS, FEATURES, IMAGES, BATCH = 1_000_000, 64, 60_000, 4096


def numbers(path):
    for part in range(4):
        count = NUMBERS // 4
        columns = {f"f{at:02}": draw.normal(size=count).astype(np.float32) for at in range(FEATURES)}
        columns["label"] = draw.integers(0, 10, count)
        pq.write_table(pa.table(columns), path / f"{part}.parquet", row_group_size=100_000)


def images(path):
    small = draw.integers(0, 255, (200, 4, 4, 3), np.uint8)
    files = []
    for image in small:
        file = io.BytesIO()
        Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC).save(file, "PNG")
        files.append(file.getvalue())
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for part in range(4):
        chosen = draw.integers(0, len(files), IMAGES // 4)
        rows = pa.array([{"bytes": files[at], "path": None} for at in chosen], kind)
        table = pa.table({"image": rows, "label": chosen % 10})
        pq.write_table(table, path / f"{part}.parquet", row_group_size=1000, use_dictionary=False)


def read_numbers(path):
    count = 0
    for file in sorted(path.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(BATCH):
            columns = [batch.column(at).to_numpy() for at in range(FEATURES)]
            samples, classes = np.stack(columns, 1), batch.column("label").to_numpy()
            assert np.isfinite(samples).all()
            count += len(classes) and len(samples)
    return count


def read_images(path):
    count = 0
    for file in sorted(path.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(BATCH):
            encoded = batch.column("image").field("bytes")
            decoded = [np.asarray(Image.open(io.BytesIO(image.as_py()))) for image in encoded]
            samples, classes = np.stack(decoded).transpose(0, 3, 1, 2), batch.column("label").to_numpy()
            count += len(classes) and len(samples)
    return count


def by_program(path):
    out = subprocess.run([args.program, f'path = "{path}"'], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


for name, write, read in [("numbers", numbers, read_numbers), ("images", images, read_images)]:
    path = args.folder / name
    if not path.exists():
        path.mkdir(parents=True)
        write(path)
    read(path), by_program(path)  # the files are in memory from here on
    ratios = []
    for _ in range(args.rounds):
        began = time.perf_counter()
        theirs = read(path) / (time.perf_counter() - began)
        ours = by_program(path)
        ratios.append(ours["samples_per_s"] / theirs)
        print(f"{name}: pyarrow {theirs:,.0f}/s, files {ours['samples_per_s']:,}/s, peak {ours['peak_mib']} MiB", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"{name}: {statistics.median(ratios):.2f} times ({low:.2f} to {high:.2f}), pyarrow {pa.__version__}", flush=True)

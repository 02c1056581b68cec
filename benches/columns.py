"""Samples/s of Parquet by the source `files` and by pyarrow, on the same files in turn.

    cargo bench -p sluicebox-stream --bench files --no-run
    python benches/columns.py PROGRAM FOLDER [--rounds 3]

PROGRAM is what the first line built. Writes 1,000,000 rows of 64 numbers and 60,000 PNG images of 3×32×32 into FOLDER
unless they are there. `files` reads them as a job does: shuffled in blocks of 4,096, each sample with its class and id.
Beside it stand

- arrays: pyarrow reads batches of 4,096 in all threads that it has, of which NumPy makes one shuffled array of samples and
  one of classes: what a loop of one's own does that never touches a row;
- rows: the same as PyTorch's DataLoader takes it from an IterableDataset, row by row, and makes batches of 1,024 of;
- images: Pillow decodes each image of such a batch.

Says samples/s by the clock, and CPU seconds of all threads, which do not depend on what else the machine does. Needs
pyarrow, NumPy, Pillow and, for the rows, PyTorch.
"""

import argparse
import io
import json
import pathlib
import resource
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


def arrays(path):
    for file in sorted(path.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(BATCH):
            columns = [batch.column(at).to_numpy() for at in range(FEATURES)]
            samples, classes = np.stack(columns, 1), batch.column("label").to_numpy()
            assert np.isfinite(samples).all()
            order = draw.permutation(len(samples))
            yield samples[order], classes[order]


def read_arrays(path):
    return sum(len(samples) for samples, _ in arrays(path))


def read_rows(path):
    class Rows(torch.utils.data.IterableDataset):
        def __iter__(self):
            for samples, classes in arrays(path):
                yield from zip(torch.from_numpy(samples), torch.from_numpy(classes))

    return sum(len(samples) for samples, _ in torch.utils.data.DataLoader(Rows(), batch_size=1024))


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


def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


try:
    import torch
except ModuleNotFoundError:
    torch = None
    print("rows: skipped, there is no PyTorch")
peers = [("numbers", "arrays", numbers, read_arrays), ("images", "images", images, read_images)]
if torch is not None:
    peers.insert(1, ("numbers", "rows", numbers, read_rows))
for name, what, write, read in peers:
    path = args.folder / name
    if not path.exists():
        path.mkdir(parents=True)
        write(path)
    read(path), by_program(path)  # the files are in memory from here on
    ratios, costs = [], []
    for _ in range(args.rounds):
        began, used = time.perf_counter(), cpu(resource.RUSAGE_SELF)
        count = read(path)
        theirs, their_cpu = count / (time.perf_counter() - began), cpu(resource.RUSAGE_SELF) - used
        used = cpu(resource.RUSAGE_CHILDREN)
        ours = by_program(path)
        our_cpu = cpu(resource.RUSAGE_CHILDREN) - used
        ratios.append(ours["samples_per_s"] / theirs)
        costs.append(their_cpu / our_cpu)
        print(
            f"{name}: pyarrow as {what} {theirs:,.0f}/s, {their_cpu:.2f} s CPU; files {ours['samples_per_s']:,}/s, "
            f"{our_cpu:.2f} s CPU, peak {ours['peak_mib']} MiB",
            flush=True,
        )
    spread = lambda of: f"{statistics.median(of):.2f} times ({min(of):.2f} to {max(of):.2f})"
    print(f"{name} beside {what}: {spread(ratios)} the samples/s, {spread(costs)} the samples per CPU second", flush=True)
print(f"pyarrow {pa.__version__}")

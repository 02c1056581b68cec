"""Samples/s of Parquet by the source `files` and by pyarrow, on the same files in turn.

    cargo bench --bench files --no-run
    python benches/columns.py PROGRAM FOLDER [--rounds 5] [--only table,lists,images]

PROGRAM is what the first line built. Writes into FOLDER, unless they are there: a table of 1,000,000 rows of 50 float
columns and a label, 400,000 rows with a list of 128 floats, and 40,000 PNG images of 3×32×32 as Hugging Face keeps them. Either
side ends with samples in memory as one f32 matrix (images: bytes, channels first) and their classes. `files` also shuffles
in blocks of 4,096, refuses what is not finite and gives each sample its id. Beside it stand

- frame: what one writes: `iter_batches`, `to_pandas`, `to_numpy` as float32 (lists: `np.stack`; images: Pillow and `np.stack`);
- arrays: raw columns of `iter_batches` as NumPy arrays, stacked; no row, no frame. Nothing for images;
- rows: the same arrays as PyTorch's DataLoader takes them from an IterableDataset, in batches of 1,024.

Each pair once with all cores and once with one core for either (`taskset`, one thread of pyarrow). Says samples/s by the
clock, CPU seconds of all threads, and whether others used the machine. Needs pyarrow, pandas, NumPy, Pillow and, for the
rows, PyTorch.
"""

import argparse
import io
import json
import os
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
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", default="table,lists,images")
args = parser.parse_args()
draw = np.random.default_rng(0)
FEATURES, LIST, BATCH, PARTS = 50, 128, 4096, 4
COUNTS = {"table": 1_000_000, "lists": 400_000, "images": 40_000}


def table(count):
    columns = {f"f{at:02}": draw.normal(size=count).astype(np.float32) for at in range(FEATURES)}
    return pa.table(columns | {"label": draw.integers(0, 10, count)})


def lists(count):
    values = pa.array(draw.normal(size=count * LIST).astype(np.float32))
    offsets = pa.array(np.arange(0, count * LIST + 1, LIST, dtype=np.int32))
    return pa.table({"x": pa.ListArray.from_arrays(offsets, values), "label": draw.integers(0, 10, count)})


def images(count):
    small, files = draw.integers(0, 255, (200, 4, 4, 3), np.uint8), []
    for image in small:
        file = io.BytesIO()
        Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC).save(file, "PNG")
        files.append(file.getvalue())
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    chosen = draw.integers(0, len(files), count)
    rows = pa.array([{"bytes": files[at], "path": None} for at in chosen], kind)
    return pa.table({"image": rows, "label": chosen % 10})


def batches(path):
    for file in sorted(path.glob("*.parquet")):
        yield from pq.ParquetFile(file).iter_batches(BATCH)


def table_frame(batch):
    frame = batch.to_pandas()
    return frame.drop(columns="label").to_numpy(np.float32), frame["label"].to_numpy()


def table_arrays(batch):
    samples = np.empty((batch.num_rows, FEATURES), np.float32)
    for at in range(FEATURES):
        samples[:, at] = batch.column(at).to_numpy()
    return samples, batch.column("label").to_numpy()


def lists_frame(batch):
    frame = batch.to_pandas()
    return np.stack(frame["x"].to_list()).astype(np.float32, copy=False), frame["label"].to_numpy()


def lists_arrays(batch):
    samples = batch.column("x").flatten().to_numpy().reshape(batch.num_rows, LIST).copy()
    return samples, batch.column("label").to_numpy()


def images_frame(batch):
    encoded = batch.column("image").field("bytes")
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(image.as_py()))) for image in encoded])
    return np.ascontiguousarray(decoded.transpose(0, 3, 1, 2)), batch.column("label").to_numpy()


def reader(of_batch):
    return lambda path: sum(len(classes) and len(samples) for samples, classes in map(of_batch, batches(path)))


def rows(of_batch):
    class Rows(torch.utils.data.IterableDataset):
        def __init__(self, path):
            self.path = path

        def __iter__(self):
            for samples, classes in map(of_batch, batches(self.path)):
                yield from zip(torch.from_numpy(samples), torch.from_numpy(classes))

    return lambda path: sum(len(samples) for samples, _ in torch.utils.data.DataLoader(Rows(path), batch_size=1024))


def by_program(path):
    out = subprocess.run([args.program, f'path = "{path}"'], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def others():
    """Cores that others use, measured for 2 s in which this program waits."""

    def busy():
        user, nice, system, _idle, _wait, *more = map(int, open("/proc/stat").readline().split()[1:])
        return (user + nice + system + sum(more[:3])) / os.sysconf("SC_CLK_TCK")

    before = busy()
    time.sleep(2)
    return (busy() - before) / 2


def tell_others():
    used = others()
    state = "the machine is idle" if used < 0.1 else f"THE MACHINE IS NOT IDLE: others use {used:.1f} cores"
    print(f"{state}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)


def compare(name, what, read, path, cores):
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everything)[:cores])
    pa.set_cpu_count(cores)
    ratios, costs, counts = [], [], []
    for _ in range(args.rounds):
        began, used = time.perf_counter(), cpu(resource.RUSAGE_SELF)
        count = read(path)
        theirs, their_cpu = count / (time.perf_counter() - began), cpu(resource.RUSAGE_SELF) - used
        used = cpu(resource.RUSAGE_CHILDREN)
        ours = by_program(path)
        our_cpu = cpu(resource.RUSAGE_CHILDREN) - used
        ratios.append(ours["samples_per_s"] / theirs)
        costs.append(their_cpu / our_cpu)
        counts.append((theirs, their_cpu, ours["samples_per_s"], our_cpu, ours["peak_mib"]))
    os.sched_setaffinity(0, everything)
    spread = lambda of: f"{statistics.median(of):.2f} ({min(of):.2f} to {max(of):.2f})"
    theirs, their_cpu, ours, our_cpu, peak = (statistics.median(column) for column in zip(*counts))
    print(
        f"{name:<7} {what:<7} {cores} core(s): pyarrow {theirs:>9,.0f}/s {their_cpu:5.2f} s CPU; files {ours:>9,.0f}/s "
        f"{our_cpu:5.2f} s CPU, peak {peak:.0f} MiB; times as fast: {spread(ratios)}, per CPU second: {spread(costs)}",
        flush=True,
    )


try:
    import torch
except ModuleNotFoundError:
    torch = None
    print("rows: skipped, there is no PyTorch")
ways = {
    "table": (table, {"frame": reader(table_frame), "arrays": reader(table_arrays)}, table_arrays),
    "lists": (lists, {"frame": reader(lists_frame), "arrays": reader(lists_arrays)}, lists_arrays),
    "images": (images, {"frame": reader(images_frame)}, None),
}
print(f"pyarrow {pa.__version__}; medians of {args.rounds} alternating rounds, and the least and the greatest")
tell_others()
for name in args.only.split(","):
    write, peers, for_rows = ways[name]
    path = args.folder / name
    if not path.exists():
        path.mkdir(parents=True)
        for part in range(PARTS):
            written = write(COUNTS[name] // PARTS)
            pq.write_table(written, path / f"{part}.parquet", row_group_size=1000 if name == "images" else 100_000)
    if torch is not None and for_rows is not None:
        peers["rows"] = rows(for_rows)
    by_program(path)  # the files are in memory from here on
    for what, read in peers.items():
        for cores in sorted({1, len(os.sched_getaffinity(0))}):
            compare(name, what, read, path, cores)
tell_others()

"""Writes the tables of this folder with pyarrow, pandas, polars and Hugging Face datasets. Each has 40 rows. Row i of a
table of numbers is [i, i / 4, i % 2], an image or list of pixels is 6×8 with (20 i + 8 y + x) % 251; the class is i % 3:
ant, bee, cat. Run it here: python write.py"""
import io
import os
import shutil
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from PIL import Image

COUNT, HEIGHT, WIDTH = 40, 6, 8
NAMES = ["ant", "bee", "cat"]
rows = range(COUNT)
i, y, x = np.mgrid[0:COUNT, 0:HEIGHT, 0:WIDTH]
pixels = ((20 * i + 8 * y + x) % 251).astype(np.uint8)
number = [i % 3 for i in rows]
name = [NAMES[i % 3] for i in rows]
a, b, c = list(rows), [i / 4 for i in rows], [i % 2 for i in rows]


def write(file, columns, **options):
    pq.write_table(pa.table(columns), file, **({"row_group_size": 16} | options))


frame = pd.DataFrame({"a": a, "b": b, "c": [bool(c) for c in c], "label": name})
frame.index = [f"row {i}" for i in rows]
frame.to_parquet("pandas.parquet", row_group_size=16)
frame.assign(label=pd.Categorical(name)).reset_index(drop=True).to_feather("pandas.feather")
polars.DataFrame({"a": a, "b": b, "c": c, "label": name}).write_parquet("polars.parquet", row_group_size=16)
polars.DataFrame({"a": a, "b": b, "c": c, "label": name}).write_ipc("polars.arrow", compression="zstd")

types = {
    "i8": (pa.int8(), pa.float16(), pa.uint8()),
    "i32": (pa.int32(), pa.float32(), pa.uint16()),
    "u64": (pa.uint64(), pa.float64(), pa.int64()),
}
for kind, (first, second, third) in types.items():
    write(
        f"{kind}.parquet",
        {
            "a": pa.array(a, first),
            "b": pa.array(np.array(b, np.float16), second) if kind == "i8" else pa.array(b, second),
            "c": pa.array(c, third),
            "target": pa.array(number, pa.int8()),
        },
        row_group_size=7,
        data_page_version="2.0",
        use_dictionary=False,
    )
decimals = pa.array([Decimal(i) / 4 for i in rows], pa.decimal128(9, 2))
write("decimal.parquet", {"a": a, "b": decimals, "c": c, "class": number})
for packing in ["none", "snappy", "gzip", "lz4", "zstd", "brotli"]:
    for version in ["1.0", "2.0"]:
        write(
            f"{packing}-{version[0]}.parquet",
            {"a": a, "b": b, "c": c, "label": name},
            compression=packing,
            data_page_version=version,
            write_page_checksum=True,
        )

# Rows 3, 5 and 7 have no value somewhere; rows 4, 6 and 8 have no class.
holes = pa.array([None if i == 3 else i for i in rows], pa.int64())
nans = pa.array([None if i == 5 else float("nan") if i == 7 else i / 4 for i in rows], pa.float64())
unlabelled = pa.array([None if i == 4 else -1 if i in (6, 8) else i % 3 for i in rows])
write("missing.parquet", {"a": holes, "b": nans, "c": c, "label": unlabelled})
texts = pa.array([None if i == 4 else "" if i == 6 else "?" if i == 8 else name[i] for i in rows])
write("missing-names.parquet", {"a": holes, "b": nans, "c": c, "label": texts})

ids = [f"00000000-0000-4000-8000-{i:012}" for i in rows]
write("uuids.parquet", {"id": ids, "a": a, "b": b, "c": c, "label": pa.array(name).dictionary_encode()})
snowflakes = [2**62 + i for i in rows]
write("snowflakes.parquet", {"key": snowflakes, "a": a, "b": b, "c": c, "label": number})

write("categories.parquet", {"a": a, "b": b, "c": ["even" if i % 2 else "odd" for i in rows], "label": name})
when = pa.array([1_700_000_000 + i for i in rows], pa.timestamp("s"))
write("dates.parquet", {"when": when, "a": a, "b": b, "c": c, "label": name})
write("inexact.parquet", {"a": [2**24 + 1 if i == 9 else i for i in rows], "b": b, "c": c, "label": name})
write("extra.parquet", {"a": a, "b": b, "c": c, "d": c, "label": name})

flat = [list(map(int, image.ravel())) for image in pixels]
write("lists.parquet", {"x": pa.array(flat, pa.list_(pa.float32())), "label": number})
write("large-lists.parquet", {"x": pa.array(flat, pa.large_list(pa.int64())), "label": number})
write("fixed-lists.parquet", {"x": pa.array(flat, pa.list_(pa.uint8(), HEIGHT * WIDTH)), "label": number})
nested = pa.array([image.tolist() for image in pixels], pa.list_(pa.list_(pa.uint8())))
write("nested.parquet", {"x": nested, "label": number})
last = [np.stack([image, image, image], -1).tolist() for image in pixels]
write("channels-last.parquet", {"x": pa.array(last, pa.list_(pa.list_(pa.list_(pa.uint8())))), "label": number})
ragged = [row[:-1] if i == 9 else None if i == 10 else row for i, row in enumerate(flat)]
write("ragged.parquet", {"x": pa.array(ragged, pa.list_(pa.uint8())), "label": number})


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


pngs = [png(image) for image in pixels]
write("bytes.parquet", {"image": [b"no image" if i == 9 else png for i, png in enumerate(pngs)], "label": number})
struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
paths = [{"bytes": None if i == 9 else png, "path": f"{i}.png"} for i, png in enumerate(pngs)]
write("paths.parquet", {"image": pa.array(paths, struct), "label": number})

features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)})
images = [Image.fromarray(image) for image in pixels]
hugging_face = datasets.Dataset.from_dict({"image": images, "kind": number}, features=features)
hugging_face.to_parquet("hf-images.parquet", batch_size=16)
hugging_face.save_to_disk("saved")
os.replace("saved/data-00000-of-00001.arrow", "hf-images.arrow")
shutil.rmtree("saved")
grid = datasets.Features({"x": datasets.Array2D((HEIGHT, WIDTH), "uint8"), "label": datasets.ClassLabel(names=NAMES)})
datasets.Dataset.from_dict({"x": pixels, "label": number}, features=grid).to_parquet("hf-arrays.parquet")

table = pa.table({"a": a, "b": b, "c": c, "label": pa.array(name).dictionary_encode()})
with pa.ipc.new_file("file.arrow", table.schema) as file:
    file.write_table(table, max_chunksize=16)
with pa.ipc.new_stream("stream.arrow", table.schema) as stream:
    stream.write_table(table, max_chunksize=16)
pyarrow.feather.write_feather(table, "lz4.feather", compression="lz4", chunksize=16)

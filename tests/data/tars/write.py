"""Writes the archives beside this script: pip install webdataset==1.0.2 numpy pillow, then python write.py.

What the package `webdataset` reads of them is in expected.json."""

import gzip
import io
import json
import os
import tarfile

import numpy as np
import webdataset as wds
from PIL import Image

os.chdir(os.path.dirname(os.path.abspath(__file__)))
CLASSES = ["ant", "bee", "cat"]


def image(number):
    """4×3 pixels of one colour each row, without loss in PNG."""
    rows = np.zeros((3, 4, 3), np.uint8)
    rows[0], rows[1], rows[2] = number, 2 * number, 255 - number
    return rows


def writer(name):
    # Times would make the files differ from run to run.
    return wds.TarWriter(name, mtime=0, user="", group="", compress=False)


# Two shards, as ShardWriter numbers them; the class is a number.
for shard in range(2):
    with writer(f"shard-{shard:06d}.tar") as out:
        for number in range(shard * 5, shard * 5 + 5):
            out.write({"__key__": f"{number:08d}", "png": image(number), "cls": number % 3})

# Classes by name, captions, metadata with more than is read; keys with folders and dots in them.
with writer("metadata.tar") as out:
    for number in range(4):
        said = {"id": f"photo-{number}", "label": CLASSES[number % 3], "width": 4, "tags": [{"a": None}]}
        out.write({"__key__": f"v1.0/{number:03d}", "png": image(number), "txt": "an insect", "json": said})

# Arrays of one sample each, one without a class; packed.
with writer("arrays.tar") as out:
    for number in range(4):
        sample = {"__key__": f"{number}", "npy": np.float32([number, 0.5, -number])}
        if number != 2:
            sample["cls"] = CLASSES[number % 3]
        out.write(sample)
with open("arrays.tar", "rb") as plain, open("arrays.tar.gz", "wb") as packed:
    packed.write(gzip.compress(plain.read(), mtime=0))
os.remove("arrays.tar")


def png(number):
    file = io.BytesIO()
    Image.fromarray(image(number)).save(file, "png")
    return file.getvalue()


def archive(name, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(name, "w", format=form) as out:
        for member in members:
            path, content = member[:2]
            info = tarfile.TarInfo(path)
            if len(member) > 2:
                info.type, info.linkname = member[2], content
                out.addfile(info)
            else:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))


# Long names in the two ways, a folder, and a name that is absolute.
long = "deep/" * 30 + "x" * 120
for name, form in [("gnu.tar", tarfile.GNU_FORMAT), ("pax.tar", tarfile.PAX_FORMAT)]:
    archive(
        name,
        [
            ("deep", "", tarfile.DIRTYPE),
            (f"{long}1.png", png(1)),
            (f"{long}1.cls", b"1\n"),
            (f"/abs/{'é' * 60}/2.PNG", png(2)),
            (f"/abs/{'é' * 60}/2.cls", b" bee "),
        ],
        form,
    )

# A bad sample of each kind, with a good one before and behind it.
archive(
    "bad.tar",
    [
        ("00.png", png(0)),
        ("00.cls", b"0"),
        ("01.png", png(1)[:40]),
        ("02.png", png(2)),
        ("02.jpg", png(2)),
        ("03.cls", b"1"),
        ("04.png", png(4)),
        ("04.cls", b"dog"),
        ("05.png", png(5)),
        ("05.cls", b"ant"),
        ("05.json", b'{"label": "bee"}'),
        ("06.png", png(6)),
        ("06.png", png(6)),
        ("07.png", "00.png", tarfile.SYMTYPE),
        ("07.cls", b"1"),
        ("08.png", png(8)),
        ("08.json", b'{"label": '),
        ("09.seg.png", png(9)),
        ("09.cls", b"0"),
        ("10.png", png(10)),
        ("10.cls", b"7" * 2000),
        ("11.png", png(11)),
        ("11.cls", b"?"),
        ("12.png", png(12)),
        ("12.seg.png", png(13)),
        ("12.cls", b"-1"),
        ("13.png", png(13)),
        ("13.cls", b"ant\nbee"),
        ("README", b"no sample"),
        ("notes.txt", b"no sample"),
        ("._14.png", b"no sample"),
        ("14.png", png(14)),
        ("14.cls", b"2"),
    ],
)

expected = {}
for name in ["shard-000000.tar", "shard-000001.tar", "metadata.tar", "arrays.tar.gz", "gnu.tar", "pax.tar"]:
    found = []
    for sample in wds.WebDataset(name, shardshuffle=False).decode("rgb8", only=["png", "npy", "json"]):
        values = sample["npy"] if "npy" in sample else np.transpose(sample["png"], (2, 0, 1))
        label = sample["json"]["label"] if "json" in sample else sample.get("cls")
        label = label.decode().strip() if isinstance(label, bytes) else label
        found.append({"key": sample["__key__"], "values": values.flatten().tolist(), "label": label})
    expected[name] = found
with open("expected.json", "w") as out:
    json.dump(expected, out, indent=1)

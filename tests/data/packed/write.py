"""Packs one table and one array as Python's own modules and NumPy do, and zstd by its command. Run it here: python
write.py"""
import bz2
import gzip
import io
import lzma
import subprocess
import zipfile

import numpy as np

rows = "a,b,label\n" + "".join(f"{i},{i / 2},{'ant' if i % 2 else 'bee'}\n" for i in range(40))
open("rows.csv", "w").write(rows)
packed = gzip.compress(rows[:200].encode(), mtime=0) + gzip.compress(rows[200:].encode(), mtime=0)
open("rows.csv.gz", "wb").write(packed)
open("rows.csv.xz", "wb").write(lzma.compress(rows[:200].encode()) + lzma.compress(rows[200:].encode()))
subprocess.run(["zstd", "-q", "-f", "-19", "rows.csv", "-o", "rows.csv.zst"], check=True)
with zipfile.ZipFile("rows.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(zipfile.ZipInfo("rows.csv"), rows, zipfile.ZIP_DEFLATED)
open("rows.csv.bz2", "wb").write(bz2.compress(rows.encode()))

x = (np.arange(12 * 4) % 50).reshape(12, 4).astype(np.float32)
y = np.arange(12) % 3
np.savez("arrays.npz", x=x, y=y)
np.savez_compressed("arrays-small.npz", x=x, y=y)
np.savez("one.npz", x)

"""Packs the UCI handwritten digits into crates/sluicebox-stream/src/source/digits.bin.

    python scripts/pack-digits.py            (needs scikit-learn)

The data: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI
Machine Learning Repository, CC BY 4.0; the 1,797 images of the test part, as distributed with
scikit-learn (`load_digits`). Each record is 64 pixels from 0 to 16, row by row, and the class.
Prints the file's SHA-256.
"""

import hashlib
import pathlib

from sklearn.datasets import load_digits

digits = load_digits()
records = b"".join(
    image.astype("uint8").tobytes() + bytes([label]) for image, label in zip(digits.images, digits.target)
)
path = pathlib.Path(__file__).parent.parent / "crates/sluicebox-stream/src/source/digits.bin"
path.write_bytes(records)
print(hashlib.sha256(records).hexdigest(), path)

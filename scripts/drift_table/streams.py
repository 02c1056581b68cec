"""A stream in a file, and the protocol under which it is learned."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# What is not the same for every stream: how many rows are labelled first, what part of the others gets
# its label late and how many rows late, and a transform of the features.
EXCEPTIONS = {
    "keystroke": {"labelled_first": 100, "rate": 0.1, "delay": 100},
    "gradual-balanced": {"name": "insects", "transform": "signed-log1p"},
    "insects": {"transform": "signed-log1p"},
}


@dataclass(frozen=True)
class Stream:
    """A file and its protocol."""

    path: Path
    name: str
    labelled_first: int = 300
    rate: float = 0.05
    delay: int = 500
    transform: str = "none"

    def _lines(self):
        open_file = gzip.open if self.path.suffix == ".gz" else open
        with open_file(self.path, "rt") as lines:
            return [line.rstrip("\r\n").split(",") for line in lines]

    def streamed(self):
        """Returns the number of rows after the first labelled ones."""
        return len(self._lines()) - self.labelled_first

    def read(self):
        """Returns the standardised rows and their classes.

        Rows are standardised as the product does it: by the first labelled rows, then by all rows so
        far, the row itself among them."""
        cells = self._lines()
        rows = np.array([row[:-1] for row in cells], dtype=np.float64)
        _, classes = np.unique([row[-1].strip() for row in cells], return_inverse=True)
        if self.transform == "signed-log1p":
            rows = np.sign(rows) * np.log1p(np.abs(rows))
        # Sums of deviations from the first rows: sums of the rows themselves would lose digits.
        gaps = rows - rows[: self.labelled_first].mean(axis=0)
        count = np.arange(1, len(rows) + 1)[:, None]
        mean = np.cumsum(gaps, axis=0) / count
        variance = (np.cumsum(gaps**2, axis=0) - count * mean**2) / np.maximum(count - 1, 1)
        first, last = slice(0, self.labelled_first), self.labelled_first - 1
        mean[first], variance[first] = mean[last], variance[last]
        deviation = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0)
        return (gaps - mean) / deviation, classes


def found(paths):
    """Returns the streams in files and folders, in the order given."""
    files = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.csv*")) if path.is_dir() else [path]
    streams = []
    for path in files:
        stem = path.name.split(".csv")[0]
        streams.append(Stream(path.resolve(), **{"name": stem, **EXCEPTIONS.get(stem, {})}))
    return streams

"""Writes the files of this folder with pandas. Each holds 60 rows: id = row-i, f1 = i, f2 = i / 4, ok = i is even, when,
and kind, the class. Row 5 has no f2, row 7 no class. Run it here: python write.py"""
import pandas as pd

COUNT = 60
table = pd.DataFrame(
    {
        "id": [f"row-{i}" for i in range(COUNT)],
        "f1": range(COUNT),
        "f2": [None if i == 5 else i / 4 for i in range(COUNT)],
        "ok": [i % 2 == 0 for i in range(COUNT)],
        "when": pd.date_range("2020-01-01", periods=COUNT),
        "kind": [None if i == 7 else ["ant", "bee", "cat"][i % 3] for i in range(COUNT)],
    }
)
table.to_json("records.jsonl", orient="records", lines=True)
table.to_json("records.jsonl.gz", orient="records", lines=True, compression={"method": "gzip", "mtime": 0})
table.iloc[::-1, ::-1].to_json("reversed.ndjson", orient="records", lines=True, date_format="iso")

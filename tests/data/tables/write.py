"""Writes the tables of this folder with pandas and liac-arff. Each holds 60 rows: f1 = i, f2 = i / 4, proto, state and
the class. Run it here: python write.py"""
import arff
import pandas as pd

COUNT = 60
protos, states, classes = ["icmp", "tcp", "udp"], ["São Paulo", "Île"], ["ant", "bee", "cat"]
rows = [
    [i, i / 4, protos[i % 3], states[i % 2], classes[i // 2 % 3]] for i in range(COUNT)
]
names = ["f1", "f2", "proto", "state", "class"]
table = pd.DataFrame(rows, columns=names)

table.to_csv("categories.csv", index=False)
table.to_csv("utf16.csv", index=False, encoding="utf-16")
table.to_csv("latin1.csv", index=False, encoding="latin-1")
table.to_csv("bom.csv", index=False, encoding="utf-8-sig")
with open("comments.csv", "w") as file:
    file.write("# made by pandas\n")
    table[:30].to_csv(file, index=False)
    file.write("# the second half\n")
    table[30:].to_csv(file, index=False, header=False)
missing = table.copy()
missing.loc[5, "proto"] = None
missing.to_csv("missing-category.csv", index=False)
shifted = table.astype(object)
shifted.loc[7] = ["x"] + rows[7][:4]  # a shifted row does not make a category of f1
shifted.to_csv("shifted.csv", index=False)
dates = table.copy()
dates["when"] = [f"2020-01-01 00:{i:02}:00" for i in range(COUNT)]
dates[["when"] + names].to_csv("dates.csv", index=False)
many = table.copy()
many["proto"] = [f"p{i % 25}" for i in range(COUNT)]
many.to_csv("many.csv", index=False)

attributes = [("f1", "INTEGER"), ("f2", "REAL"), ("proto", protos), ("state", states), ("the class", classes)]
document = {"description": "made up\nof two lines", "relation": "a table", "attributes": attributes, "data": rows}
open("table.arff", "w").write(arff.dumps(document))
with_missing = [list(row) for row in rows]
with_missing[3][1], with_missing[4][4] = None, None
open("missing.arff", "w").write(arff.dumps({**document, "data": with_missing}))
sparse = [{0: 1, 4: "bee"}, {1: 2.5, 4: "cat"}]
encoder = arff.ArffEncoder()
text = encoder.encode({**document, "data": rows[:20]})
open("sparse-row.arff", "w").write(text + "{0 1, 4 bee}\n")

# The same rows as typed columns and as records by name, with a bad and two missing values in `gaps`.
table.to_json("categories.jsonl", orient="records", lines=True)
table.to_parquet("categories.parquet", index=False)
kinds = table.astype({"proto": "category", "state": "category"})
kinds.to_parquet("dictionary.parquet", index=False)
kinds.to_feather("dictionary.feather")
gaps = table.copy()
gaps.loc[5, "proto"], gaps.loc[7, "f2"] = None, None
gaps.loc[9, "proto"] = "gre"
gaps.loc[[11], ["f2", "proto", "state"]] = None
gaps.to_json("gaps.jsonl", orient="records", lines=True)
gaps.to_parquet("gaps.parquet", index=False)
gaps.to_csv("gaps.csv", index=False)

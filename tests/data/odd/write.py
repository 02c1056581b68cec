"""Writes the odd inputs of this folder with pyarrow, NumPy, Pillow and Python's own packers. Run it here: python write.py

`expected.txt` says what becomes of each: `== NAME | OPTIONS` of the source `files`, then its samples and its dead letters, or
why it is refused. It was checked by hand."""
import gzip
import io
import lzma
import tarfile
import zipfile
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
from PIL import Image

COUNT = 6
a = pa.array(np.arange(COUNT, dtype=np.float32))
b = pa.array(np.arange(COUNT) / 4)
label = pa.array(["ant", "bee"] * 3)
plain = pa.table({"a": a, "b": b, "label": label})


def parquet(name, columns, **options):
    table = columns if isinstance(columns, pa.Table) else pa.table({"a": a, "label": label} | columns)
    pq.write_table(table, f"{name}.parquet", **options)


def decimals(texts, digits, scale, kind=pa.decimal128):
    return pa.array([None if text is None else Decimal(text) for text in texts], kind(digits, scale))


# Numbers of all kinds, and what no number is.
parquet("decimal-whole", {"b": decimals(["1", "16777217", "16777216", "-16777217", "2", None], 20, 0)})
parquet("decimal", {"b": decimals(["0.1", "12345678901234567.8901", "-0.5", "0.0001", "3", None], 38, 4)})
parquet("decimal256", {"b": decimals(["1e50", "0.1", "1", "2", "3", "1e38"], 76, 2, pa.decimal256)})
parquet("float16", {"b": pa.array(np.array([0.1, 65504, np.inf, np.nan, -0.0, 6e-8], np.float16))})
parquet("int64", {"b": pa.array([2**53 + 1, 2**53, 2**24 + 1, 2**24, -(2**63), 2**62])})
parquet("not-finite", {"b": pa.array([1e39, np.inf, -np.inf, np.nan, 3.4e38, 1e-50])})
parquet("delta", {"b": pa.array([-1, 2**31, 3, 4, 5, 6])}, use_dictionary=False,
        column_encoding={"b": "DELTA_BINARY_PACKED", "label": "DELTA_BYTE_ARRAY"})
parquet("split-bytes", {"b": b}, use_dictionary=False,
        column_encoding={"a": "BYTE_STREAM_SPLIT", "b": "BYTE_STREAM_SPLIT", "label": "DELTA_LENGTH_BYTE_ARRAY"})
# Columns that are no numbers.
parquet("struct", {"s": pa.array([{"x": 1.0, "y": {"z": 2.0}}] * COUNT)})
parquet("map", {"m": pa.array([[("k", 1.0)]] * COUNT, pa.map_(pa.string(), pa.float32()))})
parquet("time", {"t": pa.array([1] * COUNT, pa.time32("s"))})
parquet("fixed-bytes", {"x": pa.array([b"abcd"] * COUNT, pa.binary(4))})
parquet("list-of-texts", {"x": pa.array([["1", "2"]] * COUNT)})
# Classes.
parquet("dictionary-class", {"label": pa.array(["ant", None, "bee", "", "ant", "bee"]).dictionary_encode()})
parquet("decimal-class", {"label": decimals(["0", "1", "1.0", "-1", None, "1.5"], 10, 1)})
parquet("float-class", {"label": pa.array([1.0, 0.0, float("nan"), -1.0, 1.5, None])})
parquet("bool-class", {"label": pa.array([True, False, None, True, False, True])})
parquet("u64-class", {"label": pa.array([2**64 - 1, 1, 2**64 - 1, 1, 1, 1], pa.uint64())})
parquet("bytes-class", {"label": pa.array([b"ant", b"bee"] * 3)})
parquet("blank-class", {"label": pa.array([" ant", "ant ", "ant", "Ant", "bee", "b\0e"])})
parquet("class-twice", pa.Table.from_arrays([a, label, label], names=["a", "label", "label"]))
# Ids.
parquet("decimal-id", {"id": decimals(["9007199254740993", "9007199254740992", "1", "2", "1e37", "3"], 38, 0)})
parquet("int64-id", {"id": pa.array([2**53 + 1, 2**53, 2**63 - 1, -1, 0, None])})
parquet("float-id", {"id": pa.array([2.0**53, 2.0**53 + 2, 1.5, 1.0, float("nan"), None])})
# Rows and lists.
parquet("no-rows", plain.slice(0, 0))
with pq.ParquetWriter("empty-groups.parquet", plain.schema) as out:
    for first, count in [(0, 0), (0, 2), (0, 0), (2, 4), (0, 0)]:
        out.write_table(plain.slice(first, count))
parquet("name-twice", pa.Table.from_arrays([a, b, label], names=["x", "x", "label"]))
parquet("ragged", pa.table({"x": pa.array([[1.0, 2], [1, 2, 3], [], None, [1, None], [5, 6]]), "label": label}))
inner = [[[1, 2], [3, 4]], [[1], [2, 3, 4]], [[1, 2], [3]], [[5, 6], [7, 8]], [None, [1, 2]], [[9, 9], [8, 8]]]
parquet("ragged-inner", pa.table({"x": pa.array(inner, pa.list_(pa.list_(pa.uint8()))), "label": label}))
fixed = pa.array([[1, 2], None, [3, 4], [None, 5], [6, 7], [8, 9]], pa.list_(pa.float32(), 2))
parquet("fixed-gaps", pa.table({"x": fixed, "label": label}))


def arrow(name, table, kind=ipc.new_file, **options):
    with pa.OSFile(f"{name}.arrow", "wb") as file:
        with kind(file, table.schema, options=ipc.IpcWriteOptions(**options)) as out:
            for batch in table.to_batches(max_chunksize=2):
                out.write_batch(batch)


arrow("stream-zstd", plain, ipc.new_stream, compression="zstd")
arrow("file-lz4", plain, compression="lz4")
schema = pa.schema([("a", pa.float32()), ("label", pa.dictionary(pa.int8(), pa.string()))])


def numbered(first, names, numbers):
    numbers = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int8()), names)
    return pa.record_batch([a.slice(first, 2), numbers], schema=schema)


later = [numbered(2, ["bee", "cow"], [0, 1]), numbered(4, ["bee", "cow", "ant"], [2, 1])]
arrow("dictionary-replaced", pa.Table.from_batches([numbered(0, ["ant", "bee"], [0, 1]), *later]), ipc.new_stream)
arrow("dictionary-grows", pa.Table.from_batches(later), ipc.new_stream, emit_dictionary_deltas=True)
runs = pa.RunEndEncodedArray.from_arrays(pa.array([3, 6], pa.int32()), pa.array([1.0, 2], pa.float32()))
arrow("runs", pa.table({"a": a, "r": runs, "label": label}))
union = pa.UnionArray.from_sparse(pa.array([0] * COUNT, pa.int8()), [a])
arrow("union", pa.table({"a": a, "u": union, "label": label}))
arrow("nothing", pa.table({"a": a, "n": pa.nulls(COUNT), "label": label}))
lists = pa.array([[1.0, 2], [3, 4], [5, 6], [7, 8], [9, 9], [1, 1]])
arrow("sliced", pa.table({"x": lists, "label": label}).slice(3))


def png(grey):
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


def pairs(count, name="{}"):
    members = [[(f"{name.format(at)}.png", png(at)), (f"{name.format(at)}.cls", b"%d" % (at % 2))] for at in range(count)]
    return [member for pair in members for member in pair]


def tar(name, members, kind=tarfile.GNU_FORMAT, behind=b"", **header):
    with open(f"{name}.tar", "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=kind) as out:
            for path, content, *more in members:
                info = tarfile.TarInfo(path)
                info.size = len(content)
                for key, value in (dict(header, **more[0]) if more else header).items():
                    setattr(info, key, value(content) if callable(value) else value)
                out.addfile(info, io.BytesIO(content))
        file.write(behind)


long = "p" * 90 + "/" + "q" * 60 + "{}"
tar("gnu-long-names", pairs(3, long))
tar("pax-long-names", pairs(3, long + "é"), tarfile.PAX_FORMAT)
tar("pax-sizes", pairs(3), tarfile.PAX_FORMAT, pax_headers=lambda content: {"size": str(len(content)), "comment": "x"})
tar("pax-wrong-size", [("0.png", png(0), {"pax_headers": {"size": "3"}}), *pairs(2)[1:]], tarfile.PAX_FORMAT)
tar("absolute-paths", pairs(3, "/abs/../x/{}"))
tar("keys-again", [*pairs(2), ("0.png", png(9)), ("0.cls", b"1")])
tar("interleaved", sorted(pairs(2), key=lambda member: member[0].endswith("cls")))
tar("hard-link", [*pairs(1), ("1.png", b"", {"type": tarfile.LNKTYPE, "linkname": "0.png"}), ("1.cls", b"1"), *pairs(3)[4:]])
tar("something-behind", pairs(2), behind=b"garbage" * 500)
texts = [b"1\n", b"01", b"1.0", b" 1 ", b"\xef\xbb\xbf0", "１".encode(), b"1\x00", b"0 \n\n", b"1\n0"]
tar("classes", [member for at, text in enumerate(texts) for member in ((f"{at}.png", png(at)), (f"{at}.cls", text))])


def write(name, content):
    with open(name, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


HEADER = "a,b,label\n"
write("zero-bytes.csv", b"a,b,label\n1,2,ant\n3,\x004,bee\n5,6,be\x00e\n7\x00,8,ant\n9,9,bee\n")
write("line-ends.csv", "a,b,label\r\n1,2,ant\n3,4,bee\r5,6,ant\r\n7,8,bee\n\r\n9,9,ant")
write("header-again.csv", HEADER + "1,2,ant\n3,4,bee\n" + HEADER + "5,6,ant\n")
write("quotes.csv", HEADER + '1,2,ant\n3,"4"5,bee\n5,6,"b"ee\n7,8,"ant"\n"9",9,"bee"\n1,1,"ant" \n2,2, "bee"\n1,2,"an\nt"\n')
numbers = ["0x10", "1_000", "1e5", "+5", ".5", "5.", "inf", "１２", "1 2", " 7 ", '"1,234"', "1d5", "1e400", "-0", "--1", "5%"]
write("numbers.csv", HEADER + "".join(f"{text},1,{'ant' if at % 2 else 'bee'}\n" for at, text in enumerate(numbers)))
write("short-and-long.csv", HEADER + "1,2,ant\n3,4\n5,6,bee,7\n\n8,9,ant\n,,\n")
write("byte-order-marks.csv", "\ufeff" + HEADER + "1,2,ant\n\ufeff3,4,bee\n5,6,bee\n")
lines = ['{"values":[1,2],"values":[3,4]}', '{"values":[1,2],"label":"ant","label":"bee"}', "[1e400,1]", "[1e39,1]", "[NaN,1]",
         "[1,2,]", "[1,2][3,4]", '{"values":[1,2],"label":true}', '{"values":[1,2],"label":1.5}', '{"values":[1,2],"label":1.0}',
         '{"values":[1,2],"label":["ant"]}', '{"values":[1,2],"label":"\\ud800"}', "[true,1]", '["1",2]', "[null,1]", "[[1],[2]]",
         "[" * 200 + "]" * 200, '{"a":' * 100 + "1" + "}" * 100, "[1e-400,0.1]", "{}", "[]", "1,2", "\ufeff[1,2]",
         '{"values":[1,2],"id":9007199254740993}', '{"values":[1,2],"id":9007199254740993.0}', '{"values":[1,2],"id":1e3}',
         "[01,2]", "[1.,2]", "[+1,2]", "[1,2]\0"]
write("lines.ndjson", "\n".join(lines))

np.savez("arrays.npz", x=np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3)), o=np.array([[1.0, None]], object))
pair = io.BytesIO()
np.save(pair, np.arange(6.0).reshape(3, 2))
write("cut.npy", pair.getvalue()[:-4])
np.save(pair, np.arange(6.0).reshape(3, 2))
write("two-arrays.npy", pair.getvalue())
np.save("no-samples.npy", np.zeros((0, 3)))
np.save("no-values.npy", np.zeros((3, 0)))
np.save("long-double.npy", np.ones((2, 2), np.longdouble))

ARFF = "@relation r\n@attribute a numeric\n@attribute \"b c\" real\n@attribute class {ant,'big bee'}\n@data\n"
write("sparse.arff", ARFF + "1,2,ant\n{0 3, 2 'big bee'}\n{1 5}\n4,5,'big bee'\n")
write("weights.arff", ARFF + "1,2,ant,{5}\n3,?,ant\n5,6,'big bee'\n7,8,bee\n% comment\n9,9,\"big bee\"\n")

rows = (HEADER + "".join(f"{at},{at + 1},{'ant' if at % 2 else 'bee'}\n" for at in range(4))).encode()
packed = gzip.compress(rows, mtime=0)
write("something-behind.csv.gz", packed + b"garbage")
write("padded.csv.gz", packed + b"\0" * 512)
write("members.csv.gz", gzip.compress(rows[:20], mtime=0) + gzip.compress(rows[20:], mtime=0))
write("cut.csv.gz", packed[:-9])
write("checksum.csv.gz", packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:])
write("not-packed.csv.gz", rows)
write("called-csv.csv", packed)
write("padded.csv.xz", lzma.compress(rows) + b"\0" * 8)
with zipfile.ZipFile("two-files.csv.zip", "w", zipfile.ZIP_DEFLATED) as out:
    for name in ["a.csv", "b.csv"]:
        out.writestr(zipfile.ZipInfo(name), rows)
with zipfile.ZipFile("from-a-mac.csv.zip", "w") as out:
    for name, content in [("rows.csv", rows), ("__MACOSX/._rows.csv", b"x")]:
        out.writestr(zipfile.ZipInfo(name), content)
with zipfile.ZipFile("spreadsheet.csv.zip", "w") as out:
    for name in ["[Content_Types].xml", "xl/workbook.xml"]:
        out.writestr(zipfile.ZipInfo(name), "<x/>")
write("lzma.csv.xz", lzma.compress(rows, lzma.FORMAT_ALONE))
write("something-behind.csv.zst", bytes(pa.compress(rows, "zstd", asbytes=True)) + b"garbage")

# Names of classes that differ in what nobody sees, and names that are none.
names = ["café", "cafe\u0301", "\u00a0café", "café\u200b", "bee", "\u2003bee\ufeff"]
write("unseen-classes.csv", HEADER + "".join(f"{at},1,{name}\n" for at, name in enumerate(names)))
markers = ["N/A", "NULL", "<NA>", "#N/A", "\u00a0", "ant", "bee", "None"]
write("no-classes.csv", HEADER + "".join(f"{at},1,{name}\n" for at, name in enumerate(markers)))
write("missing-values.csv", HEADER + "1,2,ant\nNULL,3,bee\n5,n/a,ant\n")
write("namibia.csv", HEADER + "1,2,NA\n3,4,US\n5,6,\n")
parquet("pandas-labels", {"label": pa.array([" ant", "NULL", None, "N/A", "bee\u00a0", "ant"])})
# Headers of numbers, and a line that Excel writes for itself.
write("counted-and-label.csv", "0,1,label\n1,2,ant\n3,4,bee\n")
write("years.csv", "2019,2020,Class\n1,2,ant\n3,4,bee\n")
write("excel.csv", "sep=|\r\na|b|label\r\n1|2|ant\r\n3|4|bee\r\n")
write("wide.csv", (HEADER + "1,2,ant\n3,4,bee\n").encode("utf-16-le"))
write("web-page.csv", "<!DOCTYPE html><html><body>404</body></html>\n")
# Tensors, whose axes are in their type, and an index of pandas that has a name.
pixels = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3))
parquet("tensors", pa.table({"x": pixels, "label": pa.array(["ant", "bee"])}))
turned = pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=[1, 0])
turned = pa.ExtensionArray.from_storage(turned, pa.array([[1.0, 2, 3, 4, 5, 6]] * 2, pa.list_(pa.float32(), 6)))
parquet("turned-tensors", pa.table({"x": turned, "label": pa.array(["ant", "bee"])}))
index = plain.append_column("k", pa.array(range(10, 10 + COUNT))).slice(0, 2)
parquet("named-index", index.replace_schema_metadata({"pandas": '{"index_columns": ["k"]}'}))

# JSON beside an image: an array of boxes, and a class under another key.
tar("boxes", [(f"{at}.{ending}", content) for at in range(3) for ending, content in
              [("png", png(at)), ("json", [b'[1, "1"]', b'{"kind": 1, "boxes": []}', b'{"kind": "", "id": "x"}'][at])]])
tar("labels-unknown", [(f"{at}.{ending}", content) for at, label in enumerate(['""', '"?"', "-1", '"1"', "0.0"])
                       for ending, content in [("png", png(at)), ("json", b'{"label": %s}' % label.encode())]])

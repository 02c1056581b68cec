"""Writes records of Avro with fastavro, each behind the five bytes of a schema registry: one message a file. Run it here:
python write.py"""
import io
import json
import struct

import fastavro

FIRST = {
    "type": "record",
    "name": "Reading",
    "namespace": "org.example",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "x1", "type": "double"},
        {"name": "at", "type": {"type": "record", "name": "Place", "fields": [{"name": "x", "type": ["null", "float"]}]}},
        {"name": "kind", "type": ["null", {"type": "enum", "name": "Kind", "symbols": ["ant", "bee", "cat"]}]},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
# Later: fields come and go, and have another order and another type.
SECOND = {
    "type": "record",
    "name": "Reading",
    "namespace": "org.example",
    "fields": [
        {"name": "at", "type": {"type": "map", "values": ["null", "long"]}},
        {"name": "when", "type": ["null", "string"], "default": None},
        {"name": "kind", "type": ["null", "string"]},
        {"name": "id", "type": ["null", "long"]},
        {"name": "x1", "type": ["null", "int"]},
    ],
}
# All values in one field.
ARRAY = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "values", "type": {"type": "array", "items": "float"}},
        {"name": "label", "type": "int"},
    ],
}
BYTES = {"type": "record", "name": "Raw", "fields": [{"name": "values", "type": "bytes"}]}
LIST = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "x1", "type": "double"}, {"name": "next", "type": ["null", "Node"]}],
}
schemas = {1: FIRST, 2: SECOND, 3: ARRAY, 4: BYTES, 5: LIST}
messages = {
    "first": (1, {"id": "a-1", "x1": 0.5, "at": {"x": 3.0}, "kind": "bee", "when": 1577836800000}),
    "first-unlabelled": (1, {"id": "a-2", "x1": 1.5, "at": {"x": -1.0}, "kind": None, "when": 0}),
    "first-missing": (1, {"id": "a-3", "x1": 1.5, "at": {"x": None}, "kind": None, "when": 0}),
    "second": (2, {"at": {"x": 7}, "when": None, "kind": "cat", "id": 12, "x1": 4}),
    "array": (3, {"values": [0.25, -2.0], "label": 2}),
    "bytes": (4, {"values": struct.pack("<2f", 1.0, 2.0)}),
    "list": (5, {"x1": 1.0, "next": {"x1": 2.0, "next": None}}),
}
for name, (number, record) in messages.items():
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, fastavro.parse_schema(schemas[number]), record)
    with open(f"{name}.avro", "wb") as file:
        file.write(b"\0" + struct.pack(">I", number) + datum.getvalue())
with open("schemas.json", "w") as file:
    json.dump(schemas, file, indent=1)

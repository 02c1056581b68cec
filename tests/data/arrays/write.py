"""Writes the arrays of this folder with NumPy. Each holds 12 images of 6×8 pixels: pixel (y, x) of image i is
(20 i + 8 y + x) % 251. Run it here: python write.py"""
import numpy as np

COUNT, HEIGHT, WIDTH = 12, 6, 8
i, y, x = np.mgrid[0:COUNT, 0:HEIGHT, 0:WIDTH]
grey = ((20 * i + 8 * y + x) % 251).astype(np.uint8)
classes = np.arange(COUNT) % 3


def save(name, array):
    np.save(f"{name}.npy", array)


save("u8", grey)
save("bool", grey > 100)
save("i8", (grey // 2).astype(np.int8))
save("u16", grey.astype(np.uint16) * 257)
save("big-endian", grey.astype(">i4"))
save("i64", grey.astype(np.int64))
save("f16", grey.astype(np.float16))
save("f32", grey.astype(np.float32))
save("f64", grey.astype(np.float64))
save("unit", (grey / 255).astype(np.float32))
save("standardised", ((grey - 120.0) / 70.0).astype(np.float32))
for channels in (1, 2, 3, 4):
    save(f"last{channels}", np.stack([grey + 1 * c for c in range(channels)], -1).astype(np.uint8))
save("first4", np.stack([grey + c for c in range(4)], 1).astype(np.uint8))
save("square", np.zeros((COUNT, 4, 4, 4), np.uint8))
save("fortran", np.asfortranarray(grey))
save("complex", grey.astype(np.complex64))
save("records", np.zeros(COUNT, dtype=[("a", "<f4"), ("b", "<f4")]))
one_bad = grey.astype(np.float32) / 255
one_bad[5, 0, 0] = 7
save("one-outside", one_bad)

save("labels", classes)
save("labels-f64", classes.astype(np.float64))
save("labels-column", classes[:, None].astype(np.uint8))
save("labels-names", np.array(["ant", "bee", "cockchafer"])[classes])
save("labels-bytes", np.array([b"ant", b"bee", b"cockchafer"])[classes])
save("labels-from-1", (classes + 1).astype(np.int32))
unknown = classes.copy()
unknown[::2] = -1
save("labels-unknown", unknown)
nan = classes.astype(np.float32)
nan[::2] = np.nan
save("labels-nan", nan)
empty = np.array(["ant", "bee", "cockchafer"])[classes]
empty[::2] = ""
save("labels-empty", empty)
save("labels-one-hot", np.eye(3)[classes])
unequal = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, -1])
save("labels-unequal", unequal)


def idx(name, array, code):
    """Writes LeCun's format, as numpy.ndarray.tofile does behind a header."""
    with open(name, "wb") as file:
        file.write(bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes())
        file.write(array.tobytes())


idx("u1.idx3-ubyte", grey, 0x08)
idx("i1.idx", (grey // 2).astype(np.int8), 0x09)
idx("i2.idx", grey.astype(">i2"), 0x0B)
idx("i4.idx", grey.astype(">i4"), 0x0C)
idx("f4.idx", grey.astype(">f4"), 0x0D)
idx("f8.idx", grey.astype(">f8"), 0x0E)
idx("rgb.idx", np.stack([grey + c for c in range(3)], 1).astype(np.uint8), 0x08)
idx("labels-u1.idx", (classes + 1).astype(np.uint8), 0x08)
idx("labels-i4.idx", (classes + 1).astype(">i4"), 0x0C)
save("labels-255", np.where(np.arange(COUNT) % 2, classes, 255).astype(np.uint8))
save("objects", np.array([None] * COUNT))
save("dates", np.arange(COUNT).astype("datetime64[s]"))

"""Writes the images of this folder with Pillow, and `expected.json`: the pixels of each as Pillow reads it, put on
white, as [red, green, blue] from top left. Run it here: python write.py"""
import io
import json

import numpy as np
from PIL import Image, ImageDraw

SIDE = 8
expected = {}


def scene(shift=0):
    """A picture whose quarters differ, without sharp edges."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    planes = [40 + 20 * x, 220 - 15 * y, 60 + 8 * (x + y) + shift]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def on_white(image):
    if image.mode == "P" and "transparency" in image.info or "A" in image.mode:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def save(name, image, expects=None, **options):
    image.save(name, **options)
    expect(name, expects)


def expect(name, image=None):
    image = image or Image.open(name)
    image.seek(0)
    expected[name] = np.array(on_white(image)).reshape(-1, 3).tolist()


rgb, grey = scene(), scene().convert("L")
glyph = np.zeros((SIDE, SIDE, 4), np.uint8)
glyph[2:6, 2:6, 3] = 255
glyph = Image.fromarray(glyph)
half = rgb.copy()
half.putalpha(60)

save("rgb.png", rgb)
save("glyph.png", glyph)
save("half.png", half)
save("grey-alpha.png", Image.new("LA", (SIDE, SIDE), (128, 10)))
save("palette.png", rgb.convert("P", palette=Image.Palette.ADAPTIVE))
save("palette-transparent.png", Image.new("P", (SIDE, SIDE), 0), transparency=0)
save("bilevel.png", grey.convert("1"))
levels = np.arange(64).reshape(SIDE, SIDE).astype(np.uint16)
save("grey16.png", Image.fromarray(levels * 1024), expects=Image.fromarray((levels * 4).astype(np.uint8)))
save("photo.jfif", rgb, format="JPEG", quality=95)
save("grey.jpg", grey, quality=95)
save("progressive.jpg", rgb, quality=95, progressive=True)
save("cmyk.jpg", rgb.convert("CMYK"), quality=95)
turned = Image.new("RGB", (SIDE, SIDE))
ImageDraw.Draw(turned).rectangle((0, 0, SIDE - 1, SIDE // 2 - 1), fill=(255, 255, 255))
exif = Image.Exif()
exif[0x0112] = 6  # to be turned by a quarter, clockwise
turned.save("turned.jpg", quality=95, exif=exif)
expect("turned.jpg", Image.open("turned.jpg").transpose(Image.Transpose.ROTATE_270))
jpeg = io.BytesIO()
rgb.save(jpeg, "JPEG", quality=95)
film = b"\0\0\0\x18ftypmp42" + bytes([0x11, 0xFF, 0xDA, 0x22])
open("motion-photo.jpg", "wb").write(jpeg.getvalue() + film)
expect("motion-photo.jpg")
open("without-end.jpg", "wb").write(jpeg.getvalue()[:-2])
save("lossy.webp", rgb, quality=95)
save("lossless.webp", rgb, lossless=True)
save("glyph.webp", glyph, lossless=True)
save("film.webp", rgb, save_all=True, append_images=[scene(90)], lossless=True, duration=100)
save("rgb.bmp", rgb)
save("grey.bmp", grey)
save("palette.bmp", rgb.convert("P", palette=Image.Palette.ADAPTIVE))
save("rgb.gif", rgb)
save("glyph.gif", glyph)
save("film.gif", rgb, save_all=True, append_images=[scene(90), scene(20)])
save("rgb.tif", rgb)
save("half.tif", half)
save("lzw.tiff", rgb, compression="tiff_lzw")
save("deflate.tiff", rgb, compression="tiff_adobe_deflate")
save("packbits.tiff", grey, compression="packbits")
save("jpeg.tiff", rgb, compression="jpeg")
save("bilevel.tiff", grey.convert("1"))
save("fax.tiff", grey.convert("1"), compression="group4")
save("grey16.tiff", Image.fromarray(levels * 1024), expects=Image.fromarray((levels * 4).astype(np.uint8)))
save("cmyk.tiff", rgb.convert("CMYK"))
save("pages.tiff", rgb, save_all=True, append_images=[scene(90)])
save("palette.tiff", rgb.convert("P", palette=Image.Palette.ADAPTIVE))
Image.fromarray(np.array(grey).astype(np.float32) / 255).save("float.tiff")
rgb.save("webp-called.jpg", "WEBP", lossless=True)
expect("webp-called.jpg")

with open("expected.json", "w") as file:
    file.write("{\n")
    lines = [f"{json.dumps(name)}: {json.dumps(pixels, separators=(',', ':'))}" for name, pixels in sorted(expected.items())]
    file.write(",\n".join(lines) + "\n}\n")

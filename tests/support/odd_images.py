# SPDX-License-Identifier: MIT
"""Images of odd kinds, as files: what cameras, phones, scanners, browsers and accidents leave."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

__all__ = ["EDGE", "READ", "REFUSED", "SIZED", "photo"]

EDGE = 64


def photo(mode: str = "RGB", size: tuple[int, int] = (EDGE, EDGE), seed: int = 0) -> Image.Image:
    """Smooth colours with some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int64)
    noisy = pixels + rng.integers(-12, 13, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


def saved(form: str, mode: str = "RGB", image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (photo(mode) if image is None else image).save(buffer, form, **options)
    return buffer.getvalue()


def more() -> dict[str, Any]:
    """Options to save two further images; new ones, as Pillow notes its options in them."""
    return {"save_all": True, "append_images": [photo(seed=i) for i in (1, 2)]}


def without(jpeg: bytes, *markers: int) -> bytes:
    """A JPEG file without some of the segments before its first scan."""
    at, kept = 2, [jpeg[:2]]
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] not in markers:
            kept.append(jpeg[at : at + length])
        at += length
    return b"".join([*kept, jpeg[at:]])


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def numbered(jpeg: bytes, *ids: int) -> bytes:
    """A JPEG file whose components have other numbers."""
    data = bytearray(jpeg)
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    for i, number in enumerate(ids):
        data[frame + 10 + 3 * i] = data[scan + 5 + 2 * i] = number
    return bytes(data)


def adobe(jpeg: bytes, transform: int) -> bytes:
    """A JPEG file whose Adobe marker says another colour space."""
    data = bytearray(jpeg)
    data[jpeg.index(b"Adobe") + 11] = transform
    return bytes(data)


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def png(pixels: np.ndarray, depth: int = 8, passes: Any = None, extra: bytes = b"") -> bytes:
    """A PNG file of colours, of 16 bits or interlaced if so asked."""
    raw = pixels.astype(">u2") if depth == 16 else pixels
    parts = [raw] if passes is None else [raw[y::dy, x::dx] for x, y, dx, dy in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, int(passes is not None))
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def spoilt(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def turned(orientation: int, thumbnail: bytes = b"") -> bytes:
    """EXIF of a turned picture, with another picture in it."""
    tags = [(0x0112, 3, 1, orientation)]
    first = struct.pack("<H", 1) + b"".join(
        struct.pack("<HHIHH", tag, kind, count, value, 0) for tag, kind, count, value in tags
    )
    next_at = 8 + len(first) + 4 if thumbnail else 0
    data_at = next_at + 2 + 24 + 4
    second = struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, data_at)
    second += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail)) + struct.pack("<I", 0)
    table = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", next_at)
    return b"Exif\0\0" + table + (second + thumbnail if thumbnail else b"")


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]
COLOURS = np.asarray(photo())
DEEP = np.random.default_rng(1).integers(0, 1024, (EDGE, EDGE), dtype=np.uint16)
JPEG = saved("JPEG")
KEPT = saved("JPEG", keep_rgb=True)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PALETTE = photo().convert("P", palette=Image.Palette.ADAPTIVE, colors=200)
ZEROS = b"\0" * 30
TOP_DOWN = struct.pack("<IiiHHIIiiII", 40, EDGE, -EDGE, 1, 24, 0, 0, 0, 0, 0, 0)

# as Pillow reads them; named after the file, which tells nothing but that it is an image
READ: dict[str, bytes] = {
    "444.jpg": saved("JPEG", subsampling=0),
    "422.jpg": saved("JPEG", subsampling=1),
    "420.JPG": saved("JPEG", subsampling=2),
    "coarse.jpg": saved("JPEG", quality=1),
    "fine.jpeg": saved("JPEG", quality=100),
    "progressive.jpg": saved("JPEG", progressive=True),
    "restarts.jpg": saved("JPEG", restart_marker_blocks=1),
    "grey.jpg": saved("JPEG", "L"),
    "cmyk.jpg": saved("JPEG", "CMYK"),
    "ycck.jpg": adobe(saved("JPEG", "CMYK"), 2),
    "rgb.jpg": KEPT,
    "rgb by its numbers.jpg": without(KEPT, 0xE0, 0xEE),
    "ycc without jfif.jpg": without(JPEG, 0xE0),
    "numbered from 0.jpg": numbered(JPEG, 0, 1, 2),
    "odd numbers.jpg": numbered(without(JPEG, 0xE0), 7, 8, 9),
    "unit.jfif": JPEG,
    "turned.jpg": JPEG[:2] + segment(0xE1, turned(6)) + JPEG[2:],
    "turned, thumbnail.jpg": JPEG[:2] + segment(0xE1, turned(8, saved("JPEG", "L"))) + JPEG[2:],
    "broken exif.jpg": JPEG[:2] + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f") + JPEG[2:],
    "profile.jpg": saved("JPEG", icc_profile=SRGB),
    "profile in parts.jpg": saved("JPEG", icc_profile=bytes(150_000)),
    "end mark in a comment.jpg": saved("JPEG", comment=b"\xff\xd9" * 9),
    "fill bytes.jpg": JPEG.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1),
    "bytes after.jpg": JPEG + ZEROS,
    "much after.jpg": JPEG + bytes(5000),
    "another one after.jpg": JPEG + saved("JPEG", image=photo(seed=5)),
    "two pictures.jpg": saved("MPO", **more()),
    "plain.png": png(COLOURS),
    "interlaced.png": png(COLOURS, passes=ADAM7),
    "sixteen bits.png": png(COLOURS.astype(np.uint16) * 257, depth=16),
    "gamma.png": png(COLOURS, extra=chunk(b"gAMA", struct.pack(">I", 100_000))),
    "one bit.png": saved("PNG", "1"),
    "palette.png": saved("PNG", image=PALETTE),
    "palette, alpha.png": saved("PNG", image=PALETTE, transparency=bytes(range(200))),
    "sixteen colours.png": saved("PNG", image=photo().quantize(16), bits=4),
    "grey, alpha.png": saved("PNG", "LA"),
    "colours, alpha.png": saved("PNG", "RGBA"),
    "grey, deep.png": saved("PNG", image=Image.fromarray(DEEP)),
    "animated.png": saved("PNG", **more()),
    "bytes after.png": png(COLOURS) + ZEROS,
    "palette.gif": saved("GIF", image=PALETTE),
    "animated.gif": saved("GIF", **more()),
    "really a gif.jpg": saved("GIF", image=PALETTE, transparency=3),
    "lossy.webp": saved("WEBP"),
    "animated, alpha.webp": saved("WEBP", "RGBA", lossless=True, **more()),
    "lzw.tif": saved("TIFF", compression="tiff_lzw"),
    "deflated.tiff": saved("TIFF", "CMYK", compression="tiff_adobe_deflate"),
    "jpeg within.tif": saved("TIFF", compression="jpeg"),
    "fax.tif": saved("TIFF", "1", compression="group4"),
    "packbits.tif": saved("TIFF", "P", compression="packbits"),
    "pages.tif": saved("TIFF", **more()),
    "deep.tif": saved("TIFF", image=Image.fromarray(DEEP)),
    "integers.tif": saved("TIFF", image=Image.fromarray(DEEP.astype(np.int32) - 200)),
    "fractions.tif": saved("TIFF", image=Image.fromarray(DEEP.astype(np.float32) / 3 - 9)),
    "palette.bmp": saved("BMP", image=PALETTE),
    "top down.bmp": b"BM" + struct.pack("<IHHI", 54 + COLOURS.size, 0, 0, 54) + TOP_DOWN
    + np.ascontiguousarray(COLOURS[..., ::-1]).tobytes(),
    "colours, alpha.bmp": saved("BMP", "RGBA"),
    "grey.pgm": saved("PPM", "L"),
    "in letters.ppm": b"P3 64 64 255\n" + b" ".join(b"%d" % v for v in COLOURS.ravel()),
    "deep.pgm": b"P5 64 64 1023\n" + DEEP.astype(">u2").tobytes(),
    "really a tga.png": saved("TGA"),
    "really an icon.png": saved("ICO", "RGBA", sizes=[(EDGE, EDGE)]),
}  # fmt: skip
if features.check("jpg_2000"):
    READ["really a jp2.jpg"] = saved("JPEG2000")
if "avif" in features.modules and features.check("avif"):
    READ["photo.avif"] = saved("AVIF")

# of other sizes than 64x64, which a loader has to resize
SIZED: dict[str, bytes] = {
    "a point.jpg": saved("JPEG", image=photo(size=(1, 1))),
    "a line.jpg": saved("JPEG", image=photo(size=(1, 300))),
    "a stripe.png": saved("PNG", image=photo(size=(3000, 3))),
    "a hair.png": saved("PNG", image=photo(size=(20_000, 20))),
    "no whole blocks.jpg": saved("JPEG", image=photo(size=(131, 77))),
    "restarts by rows.jpg": saved("JPEG", image=photo(size=(99, 50)), restart_marker_rows=1),
    "grey and odd.jpg": saved("JPEG", image=photo("L", (67, 121)), progressive=True),
}

REFUSED: dict[str, bytes] = {
    "empty.jpg": b"",
    "half.jpg": JPEG[: len(JPEG) // 2],
    "head.jpg": JPEG[:20],
    "half, progressive.jpg": saved("JPEG", progressive=True)[:-700],
    "junk before.jpg": b"\r\n\r\n" + JPEG,
    "zeros.jpg": bytes(3000),
    "half.png": png(COLOURS)[:5000],
    "spoilt.png": spoilt(png(COLOURS), 3000),
    "half.gif": saved("GIF", image=PALETTE)[:1500],
    "half.webp": saved("WEBP")[:300],
    "half.tif": saved("TIFF", compression="tiff_lzw")[:2000],
    "half.bmp": saved("BMP")[:2000],
    "half.ppm": saved("PPM")[:2000],
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>',
    "404.jpg": b"<!DOCTYPE html><title>404 Not Found</title>",
}

"""Files that are called like pictures: cut, damaged, huge, strange, or something else."""

import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.corpus import EITHER, LEFT_OUT, READ, Entry, encode, noise

RED, BLUE = (255, 0, 0), (0, 0, 255)
CUT = "truncated|cannot be decoded|known format"


def picture(
    name: str, content: Callable[[], bytes], expected: str, says: str = "", ending: str = "jpg", **more: Any
) -> Entry:
    def make(root: Path) -> None:
        (root / f"train/anger/hostile.{ending}").write_bytes(content())

    return Entry(name, make, expected, says, **more)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *before: bytes, data: bytes | None = None, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG of any size that holds as much data as told: one row of zeros, unless told otherwise."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = zlib.compress(bytes(1 + min(width, 99))) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    """Return a JPEG whose header claims another size."""
    content = bytearray(encode(noise(), "jpeg"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(encode(noise((8, 8)), "gif"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(encode(noise((8, 8, 3)), "bmp"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def webp_of(side: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + 2 * struct.pack("<I", side - 1)[:3]
    body += encode(noise((8, 8, 3)), "webp")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff_of(width: int, height: int) -> bytes:
    content = encode(Image.new("L", (257, 258)), "tiff")
    return content.replace(
        struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 257), struct.pack("<HHII", 256, 4, 1, width)
    ).replace(struct.pack("<HHI", 257, 4, 1) + struct.pack("<I", 258), struct.pack("<HHII", 257, 4, 1, height))


def zipped() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**6))
    return buffer.getvalue()


class Runs:
    """Would make a file if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def exif_jpeg(content: bytes) -> bytes:
    return encode(Image.new("RGB", (16, 16), RED), "jpeg", exif=content)


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE, BLUE)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **_lossless(kind))


def _lossless(kind: str) -> dict[str, bool]:
    return {"lossless": True} if kind == "webp" else {}


def transparent_palette(entry: int | bytes) -> bytes:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 250, 240, 230])
    return encode(image, transparency=entry)


ENCODED: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(noise(), "jpeg"),
    "progressive jpeg": lambda: encode(noise(), "jpeg", progressive=True),
    "png": lambda: encode(noise()),
    "gif": lambda: encode(noise((24, 24)), "gif"),
    "bmp": lambda: encode(noise(), "bmp"),
    "webp": lambda: encode(noise(), "webp"),
    "tiff": lambda: encode(noise(), "tiff"),
    "deflated tiff": lambda: encode(noise(), "tiff", compression="tiff_adobe_deflate"),
    "ppm": lambda: encode(noise(), "ppm"),
}


def _cut(kind: str, percent: int) -> bytes:
    content = ENCODED[kind]()
    return content[: len(content) * percent // 100]


def _damaged(kind: str, seed: int) -> bytes:
    draw = random.Random(seed)
    content = bytearray(ENCODED[kind]())
    for _ in range(10):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content)


def cut() -> Iterator[Entry]:
    for kind in ENCODED:
        each = range(5, 100, 5) if kind in ("jpeg", "png") else (10, 50, 90)
        for percent in each:
            yield picture(f"{kind} cut at {percent} percent", lambda k=kind, p=percent: _cut(k, p), LEFT_OUT, CUT)


def damaged() -> Iterator[Entry]:
    for kind in ENCODED:
        for seed in range(2):
            yield picture(f"{kind} with ten wrong bytes {seed}", lambda k=kind, s=seed: _damaged(k, s), EITHER)


BOMB = "more than 67108864 pixels; scale it down"
NO_PICTURE = "not a picture in a known format"

PICTURES = [
    *cut(),
    *damaged(),
    # No picture at all.
    picture("zero bytes", lambda: b"", LEFT_OUT, NO_PICTURE),
    picture("one byte", lambda: b"\xff", LEFT_OUT, NO_PICTURE),
    picture("html", lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>", LEFT_OUT, NO_PICTURE),
    picture("svg with a script", lambda: b"<svg><script>alert(1)</script></svg>", LEFT_OUT, NO_PICTURE),
    picture("pdf", lambda: b"%PDF-1.4\n1 0 obj <</OpenAction 1>>", LEFT_OUT, NO_PICTURE),
    picture("eps", lambda: encode(noise(), "eps"), LEFT_OUT, NO_PICTURE),
    picture(
        "eps that runs a command",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch executed) (w) file\n%%EOF",
        LEFT_OUT,
        NO_PICTURE,
    ),
    picture("zip", zipped, LEFT_OUT, NO_PICTURE),
    picture("pickle that runs", lambda: pickle.dumps(Runs()), LEFT_OUT, NO_PICTURE),
    picture("shell script", lambda: b"#!/bin/sh\ntouch executed\n", LEFT_OUT, NO_PICTURE),
    picture("program", lambda: b"\x7fELF" + bytes(100), LEFT_OUT, NO_PICTURE),
    picture("only zeros", lambda: bytes(1000), LEFT_OUT, NO_PICTURE),
    picture("random bytes", lambda: random.Random(0).randbytes(1000), LEFT_OUT, NO_PICTURE),
    picture("icon", lambda: encode(noise(), "ico"), LEFT_OUT, NO_PICTURE),
    picture("targa", lambda: encode(noise(), "tga"), LEFT_OUT, NO_PICTURE),
    picture("jpeg signature alone", lambda: b"\xff\xd8\xff", LEFT_OUT, CUT),
    picture("jpeg markers without end", lambda: b"\xff\xd8" + b"\xff\xe1\x00\x02" * 1000, LEFT_OUT, CUT),
    picture("png signature alone", lambda: b"\x89PNG\r\n\x1a\n", LEFT_OUT, CUT),
    picture("png without data", lambda: png(8, 8, data=b""), LEFT_OUT, CUT),
    picture("png with one row of many", lambda: png(16, 16), EITHER),
    picture("png with a wrong sum", lambda: encode(noise()).replace(b"IDAT", b"IDAX"), LEFT_OUT, CUT),
    picture("png with more data than pixels", lambda: png(9, 1, data=zlib.compress(bytes(10**6))), EITHER),
    picture("png of depth 7", lambda: png(8, 8, depth=7), LEFT_OUT, CUT),
    picture("png of no width", lambda: png(0, 8), LEFT_OUT, "no pixels|cannot be decoded|known format"),
    picture("png without pixels", lambda: png(0, 0), LEFT_OUT, "no pixels|cannot be decoded|known format"),
    picture("png of negative size", lambda: png(2**32 - 8, 2**32 - 8), LEFT_OUT, "pixels|cannot be decoded"),
    picture("jpeg of no height", lambda: jpeg_of(24, 0), LEFT_OUT, "no pixels|cannot be decoded|known format"),
    picture("bmp of negative width", lambda: bmp_of(-8, 8), EITHER),
    # Decompression bombs.
    picture("png bomb of 2.5 billion", lambda: png(50_000, 50_000), LEFT_OUT, BOMB),
    picture("png bomb of a million by a million", lambda: png(10**6, 10**6), LEFT_OUT, BOMB),
    picture("png one row over the limit", lambda: png(8192, 8193), LEFT_OUT, BOMB),
    picture("png of 90 million", lambda: png(9_000, 10_001), LEFT_OUT, BOMB),
    picture("png one-bit bomb", lambda: png(30_000, 30_000, depth=1), LEFT_OUT, BOMB),
    picture("jpeg bomb", lambda: jpeg_of(65_500, 65_500), LEFT_OUT, BOMB),
    picture("gif bomb", lambda: gif_of(65_535, 65_535), LEFT_OUT, BOMB),
    picture("bmp bomb", lambda: bmp_of(100_000, 100_000), LEFT_OUT, BOMB),
    picture("webp bomb", lambda: webp_of(16_383), LEFT_OUT, f"{BOMB}|{CUT}"),
    picture("tiff bomb", lambda: tiff_of(100_000, 100_000), LEFT_OUT, BOMB),
    picture("ppm bomb", lambda: b"P6 100000 100000 255\n" + bytes(100), LEFT_OUT, BOMB),
    picture("png with a text bomb", lambda: png(9, 1, _zipped_text()), EITHER),
    picture("png with a profile bomb", lambda: png(9, 1, _zipped_profile()), EITHER),
    # Sound, but unusual.
    picture("animated gif", lambda: animation("gif"), READ, centre=RED),
    picture("animated png", lambda: animation("png"), READ, centre=RED),
    picture("animated webp", lambda: animation("webp"), READ, centre=RED),
    picture("tiff of three pages", lambda: animation("tiff"), READ, centre=RED),
    picture("mpo of two pictures", lambda: animation("mpo"), READ, centre=(254, 0, 0)),
    picture("1 by 1 png", lambda: encode(noise((1, 1))), READ),
    picture("1 by 1 jpeg", lambda: encode(noise((1, 1, 3)), "jpeg"), READ),
    picture("20000 by 1", lambda: encode(noise((1, 20_000))), READ),
    picture("1 by 20000", lambda: encode(noise((20_000, 1, 3))), READ),
    picture("20000 by 1 jpeg", lambda: encode(noise((1, 20_000)), "jpeg"), READ),
    picture("palette", lambda: encode(Image.new("RGB", (16, 16), RED).convert("P")), READ, centre=RED),
    picture("palette with a transparent entry", lambda: transparent_palette(0), READ, centre=(128, 128, 128)),
    picture("palette with half transparent entries", lambda: transparent_palette(b"\x80\x00"), READ),
    picture("palette with indices beyond it", lambda: png(9, 1, chunk(b"PLTE", b"\1\2\3"), data=zlib.compress(b"\0" + bytes(range(9))), colour=3), EITHER),
    picture("one bit", lambda: encode(Image.new("1", (16, 16), 1)), READ, centre=(255,)),
    picture("grey with alpha", lambda: encode(Image.new("LA", (16, 16), (200, 0))), READ, centre=(128,)),
    picture("rgba", lambda: encode(Image.new("RGBA", (16, 16), (255, 0, 0, 255))), READ, centre=RED),
    picture("grey with a transparent value", lambda: encode(Image.new("L", (16, 16), 7), transparency=7), READ),
    picture("16-bit grey png", lambda: encode(Image.fromarray(np.full((16, 16), 51_400, np.uint16))), READ, centre=(200,)),
    picture("16-bit colour png", lambda: png(1, 1, data=zlib.compress(b"\0\xff\xff\0\0\0\0"), depth=16, colour=2), READ, centre=RED),
    picture("16-bit grey tiff", lambda: encode(Image.fromarray(np.full((16, 16), 51_400, np.uint16)), "tiff"), READ, centre=(200,)),
    picture("32-bit whole numbers", lambda: encode(Image.fromarray(np.full((16, 16), 51_400, np.int32)), "tiff"), READ, centre=(200,)),
    picture("floating point", lambda: encode(Image.new("F", (16, 16), 0.5), "tiff"), LEFT_OUT, "floating-point"),
    picture("cmyk jpeg", lambda: encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "jpeg"), READ, centre=(254, 0, 0)),
    picture("cmyk tiff", lambda: encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "tiff"), READ, centre=RED),
    picture("lab tiff", lambda: encode(Image.new("LAB", (16, 16), (100, 0, 0)), "tiff"), READ),
    picture("jpeg called png", lambda: encode(Image.new("RGB", (16, 16), BLUE), "jpeg"), READ, ending="png"),
    picture("png called JPG", lambda: encode(Image.new("RGB", (16, 16), BLUE)), READ, ending="JPG", centre=BLUE),
    picture("jpeg with bytes after its end", lambda: exif_jpeg(b"") + b"<?php system('touch executed') ?>", READ),
    picture("jpeg with a comment of 60000 bytes", lambda: encode(Image.new("L", (16, 16)), "jpeg", comment=b"x" * 60_000), READ),
    # Wrong EXIF and other things beside the pixels.
    picture("exif turned", lambda: exif_jpeg(oriented(6)), READ, centre=(254, 0, 0)),
    picture("exif orientation 99", lambda: exif_jpeg(oriented(99)), READ, centre=(254, 0, 0)),
    picture("exif orientation 0", lambda: exif_jpeg(oriented(0)), READ, centre=(254, 0, 0)),
    picture("exif of garbage", lambda: exif_jpeg(b"Exif\0\0" + b"\xff" * 60), READ, centre=(254, 0, 0)),
    picture("exif of zeros", lambda: exif_jpeg(bytes(100)), READ, centre=(254, 0, 0)),
    picture("exif cut off", lambda: exif_jpeg(oriented(6)[:-9]), READ, centre=(254, 0, 0)),
    picture("exif cut in its header", lambda: exif_jpeg(oriented(6)[:9]), READ, centre=(254, 0, 0)),
    picture("exif that points to itself", lambda: exif_jpeg(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"), READ, centre=(254, 0, 0)),
    picture("exif with 65535 entries", lambda: exif_jpeg(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40)), READ, centre=(254, 0, 0)),
    picture("exif orientation as text", lambda: exif_jpeg(b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0"), READ, centre=(254, 0, 0)),
    picture("png with exif of garbage", lambda: png(9, 1, chunk(b"eXIf", b"\xff" * 30)), READ),
    picture("profile of garbage", lambda: encode(Image.new("RGB", (16, 16), RED), "jpeg", icc_profile=b"\xff" * 999), READ, centre=(254, 0, 0)),
    picture("xmp of garbage", lambda: encode(Image.new("RGB", (16, 16), RED), "jpeg", xmp=b"<x:xmpmeta" * 99), READ, centre=(254, 0, 0)),
    picture("xmp with an entity bomb", lambda: encode(Image.new("RGB", (16, 16), RED), "jpeg", xmp=b'<!DOCTYPE a [<!ENTITY b "ha">]><a tiff:Orientation="6">&b;</a>'), READ),
]  # fmt: skip


def _zipped_text() -> bytes:
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8)))


def _zipped_profile() -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(10**8)))

"""Hostile WebP and BMP files, polyglots, and files of other formats under a picture's name."""

import io
import struct
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Final

from PIL import Image

from tests.corpus.cases import EITHER, INVALID, OTHER_KIND, STILL, TOO_WIDE, Case
from tests.unit.api.pictures import BMP, GIF, JPEG, PNG, WEBP, animated, saved

SIDE: Final = 6324


@cache
def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(zipfile.ZipInfo("../../etc/cron.d/hello"), "hello")
    return out.getvalue()


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def extended(width: int, height: int, *, flags: int = 0) -> tuple[bytes, bytes]:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def lossless(width: int, height: int) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 32


def one_frame(width: int, height: int) -> bytes:
    """An animation whose only frame declares these sides."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(extended(width, height, flags=2), (b"ANMF", b"\0" * 6 + sides + b"\0" * 4 + WEBP[12:]))


def bmp(width: int, height: int, *, depth: int = 24, packing: int = 0, pixels: bytes = b"", colours: int = 0) -> bytes:
    start = 54 + 4 * colours
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, packing, 0, 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + b"\0" * 4 * colours + pixels


def transparent() -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (SIDE, SIDE), (90, 120, 30, 9)).save(out, "WEBP", lossless=True)
    return out.getvalue()


def cases() -> Iterator[Case]:
    """Every case of this module."""
    yield Case("webp: 16,384 on each side", lambda: riff(lossless(16_384, 16_384)), TOO_WIDE)
    yield Case(
        "webp: a canvas of 16 million on each side", lambda: riff(extended(2**24, 2**24), lossless(64, 64)), TOO_WIDE
    )
    yield Case("webp: canvas and frame differ", lambda: riff(extended(64, 64), lossless(6000, 6000)), INVALID)
    yield Case("webp: 40 megapixels and alpha in 2 KB", transparent, STILL)
    yield Case("webp: 38 megapixels of noise", lambda: riff(lossless(6200, 6200)), EITHER)
    yield Case("webp: 21,000 chunks", lambda: riff(*[(b"junk", b"")] * 21_000, lossless(64, 64)), INVALID)
    yield Case("webp: animated", lambda: animated("WEBP"), frozenset({"animated_image"}))
    yield Case(
        "webp: a frame within a still",
        lambda: riff(extended(64, 64), (b"ANMF", b"\0" * 40), lossless(64, 64)),
        frozenset({"animated_image"}),
    )
    yield Case("webp: one frame of an animation", lambda: one_frame(48, 32), STILL)
    yield Case("webp: one frame that lies", lambda: one_frame(6_000, 6_000), INVALID)
    yield Case(
        "webp: 10,000 frames of nothing",
        lambda: riff(extended(48, 32, flags=2), *[(b"ANMF", b"\0" * 16)] * 10_000),
        frozenset({"animated_image"}),
    )
    yield Case(
        "webp: alpha of noise",
        lambda: riff(extended(48, 32, flags=0x10), (b"ALPH", b"\xff" * 99), (b"VP8 ", WEBP[20:])),
        EITHER,
    )
    yield Case(
        "webp: EXIF and XMP of 4 MB",
        lambda: riff(
            extended(48, 32, flags=0x0C),
            (b"VP8 ", WEBP[20:]),
            (b"EXIF", b"MM\0*" + b"\xff" * 2_000_000),
            (b"XMP ", b"<" * 2_000_000),
        ),
        EITHER,
    )
    yield Case("webp: a size of 4 GB", lambda: b"RIFF\xff\xff\xff\xff" + WEBP[8:], INVALID)
    yield Case("bmp: 30,000 on each side", lambda: bmp(30_000, 30_000), TOO_WIDE)
    yield Case("bmp: a height of -2^31", lambda: bmp(1, -(2**31)), TOO_WIDE)
    yield Case("bmp: a width of -1", lambda: bmp(-1, 5, pixels=b"\0" * 99), INVALID)
    yield Case(
        "bmp: 40 megapixels in runs of 2 bytes",
        lambda: bmp(SIDE, SIDE, depth=8, packing=1, colours=256, pixels=b"\0\1"),
        OTHER_KIND,
    )
    yield Case(
        "bmp: runs that leave the picture",
        lambda: bmp(64, 64, depth=8, packing=1, colours=256, pixels=b"\0\2\xff\xff" * 500 + b"\xff\1" * 5000 + b"\0\1"),
        OTHER_KIND,
    )
    yield Case(
        "bmp: runs of 4 bits that leave it",
        lambda: bmp(
            64, 64, depth=4, packing=2, colours=16, pixels=b"\0\xff" + b"\x12" * 200 + b"\xff\x12" * 5000 + b"\0\1"
        ),
        OTHER_KIND,
    )
    yield Case(
        "bmp: 4 billion colours",
        lambda: bmp(8, 8, depth=8, pixels=b"\0" * 4000)[:46] + b"\xff\xff\xff\xff" + b"\0" * 4000,
        EITHER,
    )
    yield Case("bmp: a JPEG inside", lambda: bmp(64, 64, packing=4, pixels=JPEG), OTHER_KIND)
    yield Case("bmp: pixels far outside", lambda: BMP[:10] + struct.pack("<I", 2**31) + BMP[14:], INVALID)
    yield Case(
        "bmp: 40 megapixels of one bit", lambda: bmp(SIDE, SIDE, depth=1, colours=2, pixels=b"\x55" * 5_010_000), STILL
    )
    yield Case("behind its end: PNG and 1 MB of another", lambda: PNG + b"\x9c\xed" * 500_000, STILL)
    yield Case("behind its end: WebP and itself", lambda: WEBP + WEBP, STILL)
    yield Case("behind its end: BMP and a JPEG", lambda: BMP + JPEG, STILL)
    yield Case("two faces: JPEG and ZIP", lambda: JPEG + archive(), INVALID)
    yield Case("two faces: PNG and web page", lambda: PNG + b"<html><script>alert(1)</script>", INVALID)
    yield Case("two faces: PNG and ZIP", lambda: PNG + archive(), INVALID)
    yield Case("two faces: WebP and PDF", lambda: WEBP + b"%PDF-1.7\n", INVALID)
    yield Case("two faces: BMP and program", lambda: BMP + b"\x7fELF\x02\x01\x01\0", INVALID)
    yield Case("two faces: GIF that ends as JPEG", lambda: GIF + JPEG, OTHER_KIND)
    yield Case("disguised: GIF", lambda: GIF, OTHER_KIND)
    yield Case("disguised: TIFF", lambda: saved("TIFF"), OTHER_KIND)
    yield Case("disguised: icon around a PNG", lambda: saved("ICO"), OTHER_KIND)
    yield Case(
        "disguised: SVG with an entity bomb",
        lambda: b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaa">]><svg>&a;</svg>',
        OTHER_KIND,
    )
    yield Case(
        "disguised: ImageMagick script",
        lambda: b"push graphic-context\nimage over 0,0 0,0 'url(https://127.0.0.1/)'\n",
        OTHER_KIND,
    )
    yield Case("disguised: PostScript", lambda: b"%!PS-Adobe-3.0\n(/etc/passwd) run\n", OTHER_KIND)
    yield Case("disguised: ZIP", archive, OTHER_KIND)

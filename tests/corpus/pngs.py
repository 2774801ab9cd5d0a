"""Hostile PNG files: bombs in every chunk that is compressed, frames that lie, headers out of place."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from tests.corpus.cases import EITHER, INVALID, STILL, TOO_WIDE, Case
from tests.unit.api.pictures import chunk

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
END: Final = chunk(b"IEND", b"")
SIDE: Final = 6324
"""Its square is just below the accepted 40 megapixels."""
BLOCK: Final = 1_000_000
ADLER: Final = 65_521
"""The modulus of a zlib stream's checksum."""
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
TEXT: Final = 7_900_000
"""Bytes that a text chunk unpacks to; libpng's own limit is 8,000,000."""


def header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def zeros(count: int) -> bytes:
    """A zlib stream (RFC 1950) of this many zeros, built without holding or compressing them all."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(b"\0" * BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)  # depends on nothing before it
    rest = packer.compress(b"\0" * (count % BLOCK)) + packer.flush()
    checksum = struct.pack(">I", count % ADLER << 16 | 1)
    return b"\x78\xda" + block * (count // BLOCK) + rest + checksum


def png(
    width: int = 64, height: int = 64, *, depth: int = 8, colour: int = 2, extra: bytes = b"", more: int = 0
) -> bytes:
    """A complete black picture, with `extra` chunks before its pixels and `more` zeros after them in their stream."""
    row = 1 + (width * CHANNELS[colour] * depth + 7) // 8
    pixels = chunk(b"IDAT", zeros(row * height + more))
    return SIGNATURE + header(width, height, depth=depth, colour=colour) + extra + pixels + END


def interlaced() -> bytes:
    head = header(SIDE, SIDE, depth=16, colour=6, interlaced=1)
    return SIGNATURE + head + chunk(b"IDAT", zeros(SIDE * SIDE * 8 + 2 * SIDE)) + END


def texts(name: bytes, before: bytes) -> Callable[[], bytes]:
    """400 chunks of 8 KB that unpack to 8 MB each."""

    def make() -> bytes:
        packed = zlib.compress(b"a" * TEXT, 9)
        return png(colour=6, extra=b"".join(chunk(name, b"k%d" % number + before + packed) for number in range(400)))

    return make


def frame(number: int, width: int, height: int, left: int = 0, top: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, left, top, 1, 10, 0, 0))


def animated(*frames: bytes, count: int = 1) -> bytes:
    return png(colour=6, extra=chunk(b"acTL", struct.pack(">II", count, 0)) + b"".join(frames))


FRAMES: Final = {
    "huge": frame(0, 60_000, 60_000),
    "outside": frame(0, 64, 64, 60_000, 60_000),
    "wrapping": frame(0, 2**31, 2, 2**31),
    "of nothing": frame(0, 0, 0),
}
PLTE: Final = chunk(b"PLTE", b"\1\2\3")


def cases() -> Iterator[Case]:
    """Every hostile PNG."""
    yield Case(
        "png: 900 megapixels in 60 bytes",
        lambda: SIGNATURE + header(30_000, 30_000) + chunk(b"IDAT", b"") + END,
        TOO_WIDE,
    )
    yield Case(
        "png: sides of 2^31-1", lambda: SIGNATURE + header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b"x") + END, TOO_WIDE
    )
    yield Case("png: no height", lambda: SIGNATURE + header(64, 0) + chunk(b"IDAT", b"x") + END, INVALID)
    yield Case("png: 40 megapixels of zeros", lambda: png(SIDE, SIDE), STILL)
    yield Case("png: 40 megapixels, 16 bits and alpha", lambda: png(SIDE, SIDE, depth=16, colour=6), STILL)
    yield Case("png: the same, interlaced", interlaced, STILL)
    yield Case("png: 200 MB of pixels behind the last", lambda: png(more=200_000_000), EITHER)
    yield Case("png: texts of 3 GB (zTXt)", texts(b"zTXt", b"\0\0"), STILL)
    yield Case("png: texts of 3 GB (iTXt)", texts(b"iTXt", b"\0\1\0\0\0"), STILL)
    yield Case(
        "png: XMP of 200 MB",
        lambda: png(extra=chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(200_000_000))),
        STILL,
    )
    yield Case("png: colour profile of 200 MB", lambda: png(extra=chunk(b"iCCP", b"k\0\0" + zeros(200_000_000))), STILL)
    yield Case("png: suggested palettes", lambda: png(extra=chunk(b"sPLT", b"k\0\x08" + b"\1" * 6 * 600_000)), STILL)
    yield Case("png: 25,000 empty chunks", lambda: png(extra=chunk(b"abCd", b"") * 25_000), INVALID)
    yield Case(
        "png: a chunk of 4 GB", lambda: SIGNATURE + header(64, 64) + b"\xff\xff\xff\xffIDAT" + b"\0" * 64, INVALID
    )
    yield Case("png: a second header", lambda: png(extra=header(40_000, 40_000)), EITHER)
    yield Case("png: a palette that is missing", lambda: png(colour=3), EITHER)
    yield Case("png: a palette of nothing", lambda: png(colour=3, extra=chunk(b"PLTE", b"")), EITHER)
    yield Case(
        "png: more transparency than colours", lambda: png(colour=3, extra=PLTE + chunk(b"tRNS", b"\1" * 256)), EITHER
    )
    yield Case("png: transparency too short", lambda: png(depth=16, extra=chunk(b"tRNS", b"\0")), EITHER)
    yield Case("png: 3 bits", lambda: SIGNATURE + header(64, 64, depth=3) + chunk(b"IDAT", zeros(9000)) + END, EITHER)
    yield Case(
        "png: pixels that are no zlib", lambda: SIGNATURE + header(64, 64) + chunk(b"IDAT", b"\xff" * 99) + END, EITHER
    )
    yield Case("png: too few pixels", lambda: SIGNATURE + header(4000, 4000) + chunk(b"IDAT", zeros(64)) + END, EITHER)
    yield Case("png: EXIF of 65,535 entries", lambda: png(colour=6, extra=chunk(b"eXIf", LONG_EXIF)), STILL)
    for name, lying in FRAMES.items():
        yield Case(f"apng: a frame {name}", partial(animated, lying), EITHER)
    yield Case(
        "apng: 4,000,000,000 frames", lambda: animated(frame(0, 64, 64), count=2**32 - 1), frozenset({"animated_image"})
    )


LONG_EXIF: Final = b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\3\0\0\0\1\0\6\0\0" * 1000

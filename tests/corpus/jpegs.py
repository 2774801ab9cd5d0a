"""Hostile JPEG files: endless scans, tables and segments, and EXIF that leads in circles."""

import io
import struct
from collections.abc import Iterator
from functools import cache, partial
from typing import Final

from PIL import Image

from tests.corpus.cases import EITHER, INVALID, OTHER_KIND, STILL, TOO_WIDE, Case
from tests.unit.api.pictures import JPEG, saved

SIDE: Final = 6324


def segment(code: int, payload: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(payload) + 2) + payload


def beginning_with(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def exif(tiff: bytes) -> bytes:
    return beginning_with(segment(0xE1, b"Exif\0\0" + tiff))


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack(">HHII", tag, kind, count, value)


def ifd(*entries: bytes, count: int | None = None, following: int = 8) -> bytes:
    """A directory at offset 8; by default it points to itself."""
    total = len(entries) if count is None else count
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", total) + b"".join(entries) + struct.pack(">I", following)


@cache
def large(side: int = SIDE) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 30)).save(out, "JPEG", progressive=True)
    return out.getvalue()


def scans(count: int) -> bytes:
    """A progressive picture whose last scan repeats many times."""
    whole = large()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (count - whole.count(b"\xff\xda")) + whole[last:]


def claiming(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def restarts() -> bytes:
    """Thousands of restart markers in the pixels."""
    at = JPEG.index(b"\xff\xda")
    return (
        JPEG[:at]
        + segment(0xDD, b"\0\1")
        + JPEG[at:-2]
        + b"".join(b"\xff" + bytes([0xD0 + n % 8]) for n in range(200_000))
        + JPEG[-2:]
    )


def unended(side: int, count: int, *, restarts: bool = False, noise: bool = False) -> bytes:
    """No end marker, and a scan of this many zeros, few of which encode a gray block."""
    gray = saved("JPEG", mode="L")
    scan = gray.index(b"\xff\xda")
    frame = gray.index(b"\xff\xc0") + 5
    head = gray[:frame] + struct.pack(">HH", side, side) + gray[frame + 4 : scan]
    if noise:
        head += segment(0xC4, b"\0" + b"\1" * 16 + bytes(range(16))) + segment(
            0xC4, b"\x10" + b"\1" * 16 + bytes(range(16))
        )
    if restarts:
        head += segment(0xDD, b"\0\1")
    return head + gray[scan : scan + 10] + (b"\0\0\xff\xd0" if restarts else b"\0") * count


def adobe(transform: int) -> bytes:
    """Four components that contradict Adobe's segment."""
    cmyk = saved("JPEG", mode="CMYK")
    at = cmyk.index(b"Adobe")
    return cmyk[: at + 11] + bytes([transform]) + cmyk[at + 12 :]


EXIFS: Final = {
    "that leads to itself": ifd(entry(0x8769, 4, 1, 8), entry(0x8825, 4, 1, 8)),
    "of 65,535 entries": ifd(*[entry(0x0112, 3, 1, 6 << 16)] * 5000, count=65_535),
    "of texts beyond its end": ifd(*[entry(0x010F, 2, 65_535, 0)] * 5000),
    "far outside": b"II*\0\xf0\xff\xff\x7f\0\1",
    "of 4 billion orientations": ifd(entry(0x0112, 3, 2**32 - 1, 2**32 - 16)),
    "of one byte": b"M",
    "of fractions over nothing": ifd(entry(0x013E, 5, 2, 2**32 - 8), entry(0x011A, 5, 65_535, 8)),
    "of noise": b"MM\0*" + bytes(range(256)) * 250,
}


def cases() -> Iterator[Case]:
    """Every hostile JPEG."""
    yield Case("jpeg: 65,535 on each side", lambda: claiming(65_535, 65_535), TOO_WIDE)
    yield Case("jpeg: no width", lambda: claiming(0, 32), INVALID)
    yield Case("jpeg: 39 megapixels of 32 lines", lambda: claiming(6_200, 6_300), EITHER)
    yield Case("jpeg: progressive, 40 megapixels", large, STILL)
    yield Case("jpeg: the same with 100 scans", lambda: scans(100), EITHER)
    yield Case("jpeg: the same with 1,000 scans", lambda: scans(1000), INVALID)
    yield Case("jpeg: 200,000 restart markers", restarts, EITHER)
    yield Case(
        "jpeg: 15,000 quantisation tables", lambda: beginning_with(segment(0xDB, b"\0" + b"\1" * 64) * 15_000), STILL
    )
    yield Case("jpeg: 50,000 segments", lambda: beginning_with(segment(0xFE, b"") * 50_000), INVALID)
    yield Case(
        "jpeg: a comment of 65,533 bytes, 70 times", lambda: beginning_with(segment(0xFE, b"x" * 65_533) * 70), STILL
    )
    yield Case(
        "jpeg: colour profile in 75 pieces",
        lambda: beginning_with(*[segment(0xE2, b"ICC_PROFILE\0\1\xff" + b"A" * 64_900)] * 75),
        STILL,
    )
    yield Case(
        "jpeg: XMP in 70 pieces",
        lambda: beginning_with(*[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 65_000)] * 70),
        STILL,
    )
    yield Case("jpeg: Huffman tables of noise", lambda: beginning_with(segment(0xC4, b"\0" + b"\xff" * 300)), EITHER)
    yield Case("jpeg: fill bytes of 4 MB", lambda: JPEG[:2] + b"\xff" * 4_000_000 + JPEG[2:], STILL)
    yield Case("jpeg: 4 MB between two segments", lambda: JPEG[:20] + b"\xff\0" * 2_000_000 + JPEG[20:], STILL)
    yield Case("jpeg: no end, 250 KB of zeros", partial(unended, 64, 250_000), STILL)
    yield Case("jpeg: no end, 39 megapixels of zeros", partial(unended, 6_200, 250_000), INVALID)
    yield Case("jpeg: no end, restarts after each block", partial(unended, 6_200, 120_000, restarts=True), INVALID)
    yield Case(
        "jpeg: no end, 15,000 Huffman tables",
        lambda: beginning_with(segment(0xC4, JPEG[JPEG.index(b"\xff\xc4") + 4 :][:29]) * 15_000)[:-2],
        STILL,
    )
    yield Case("jpeg: no end, Huffman tables of noise", lambda: unended(64, 200_000, noise=True), EITHER)
    yield Case("jpeg: two pictures' heads", lambda: JPEG[:-2] + JPEG[2:], EITHER)
    yield Case("jpeg: arithmetic coding", lambda: JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), OTHER_KIND)
    for transform in (0, 1, 2, 255):
        yield Case(f"jpeg: CMYK, Adobe's transform {transform}", partial(adobe, transform), EITHER)
    for name, tiff in EXIFS.items():
        yield Case(f"jpeg: EXIF {name}", partial(exif, tiff), STILL)

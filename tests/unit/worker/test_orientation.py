"""One orientation reader for every format, held against Pillow."""

import struct
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.image_header.exif import orientation_of
from shared.image_header.inspection import inspect_image
from tests import pictures
from tests.corpus.others import extended, riff
from tests.pictures import Pixels, encoded, quarters
from tests.unit.api.pictures import chunk
from worker.images import decode

PREFIX = b"Exif\0\0"
TYPES = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "SSHORT": (8, "h"), "SLONG": (9, "i")}
WIDTH, HEIGHT = 64, 48


def tiff(orientation: int, *, order: str, kind: str, count: int = 1, before: int = 0) -> bytes:
    """An EXIF block with this orientation in its main directory, after `before` other entries."""
    number, request = TYPES[kind]
    value = struct.pack(f"{order}{request}", orientation).ljust(4, b"\0")
    others = [struct.pack(f"{order}HHII", 0x0100 + index, 4, 1, 8) for index in range(before)]
    entries = [*others, struct.pack(f"{order}HHI", 0x0112, number, count) + value]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0\0\0\0"


def jpeg(exif: bytes) -> bytes:
    plain = encoded(quarters(), "JPEG", quality=95)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + PREFIX + exif + plain[2:]


def png(exif: bytes, *, pixels: Pixels | None = None, late: bool = False) -> bytes:
    plain = encoded(quarters() if pixels is None else pixels)
    at = plain.rindex(b"IEND") - 4 if late else 33
    return plain[:at] + chunk(b"eXIf", exif) + plain[at:]


def webp(exif: bytes, *, lossless: bool = True) -> bytes:
    plain = encoded(quarters(), "WEBP", lossless=lossless)
    return riff(extended(WIDTH, HEIGHT, flags=0x08), (plain[12:16], plain[20:]), (b"EXIF", exif))


def transparent(exif: bytes) -> bytes:
    return png(exif, pixels=np.dstack([quarters(), np.full((HEIGHT, WIDTH), 255, np.uint8)]))


FILES: dict[str, Callable[[bytes], bytes]] = {
    "jpeg": jpeg, "png": png, "png with alpha": transparent, "png, EXIF behind its pixels": partial(png, late=True),
    "webp": webp, "webp, lossy": partial(webp, lossless=False),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", FILES)
def test_every_orientation_is_read_as_pillow_reads_it(name: str, order: str, kind: str) -> None:
    for orientation, prefix in product(range(10), (b"", PREFIX)):
        data = FILES[name](prefix + tiff(orientation, order=order, kind=kind, before=orientation % 3))
        seen = decode(data, max_pixels=10_000).pixels
        viewed = pictures.as_viewed(data)
        assert seen.shape == viewed.shape, (orientation, prefix)
        assert np.abs(seen.astype(int) - viewed).max() <= 3, (orientation, prefix)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduced", [None, 30])
def test_a_reduced_jpeg_is_turned_too(orientation: int, reduced: int | None) -> None:
    data = jpeg(tiff(orientation, order=">", kind="LONG"))
    picture = decode(data, max_pixels=10_000, min_long_side=reduced)
    sides = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    assert (picture.width, picture.height) == sides
    corner = picture.pixels[1, 1].astype(int) - pictures.as_viewed(data)[2, 2]
    assert np.abs(corner).max() < 12


def test_the_first_of_two_exif_blocks_counts() -> None:
    first, second = (tiff(orientation, order="<", kind="SHORT") for orientation in (6, 3))
    pixels = encoded(quarters(), "WEBP")
    files = (
        jpeg(first)[: 12 + len(first)] + jpeg(second)[2:],
        png(first)[: 45 + len(first)] + png(second)[33:],
        riff(extended(WIDTH, HEIGHT, flags=0x08), (b"VP8L", pixels[20:]), (b"EXIF", first), (b"EXIF", second)),
    )
    for data in files:
        assert inspect_image(data, max_pixels=10_000).orientation == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"", b"MM", b"Exif\0\0", b"MM\0*\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"XX\0*\0\0\0\x08",
        tiff(6, order="<", kind="SHORT", count=2), tiff(6, order="<", kind="SHORT", count=0),
        tiff(6, order=">", kind="BYTE"),
        tiff(65_535, order="<", kind="SHORT"), tiff(0x60000, order=">", kind="LONG"), tiff(-6, order=">", kind="SLONG"),
        tiff(6, order=">", kind="LONG")[:-6],
    ],
)  # fmt: skip
def test_what_says_no_orientation_is_upright(exif: bytes) -> None:
    assert orientation_of(exif) == 1


def test_an_orientation_outside_the_main_directory_does_not_count() -> None:
    thumbnail = tiff(6, order=">", kind="SHORT")[8:]
    exif = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x0100, 4, 1, 8) + struct.pack(">I", 26) + thumbnail
    data = jpeg(exif)
    assert orientation_of(exif) == 1
    assert pictures.as_viewed(data).shape == (HEIGHT, WIDTH, 3)


@given(st.binary(max_size=60), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", PREFIX]))
def test_any_bytes_are_one_of_the_eight(tail: bytes, head: bytes) -> None:
    assert 1 <= orientation_of(head + tail) <= 8

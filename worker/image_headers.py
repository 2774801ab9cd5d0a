"""Reads what an image file says before its pixels are read: its size, its orientation, whether it has transparency."""

import struct
from typing import Final

from shared.errors import ErrorCode, ImageError

JPEG: Final = b"\xff\xd8\xff"
PNG: Final = b"\x89PNG\r\n\x1a\n"
PICTURE: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""The chunks of a PNG that make its pixels and turn them upright."""


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header promises, before orientation.

    The gateway has refused what it did not like; this is the worker's own guard against a file that would swell.

    Raises:
        ImageError: `invalid_image` where this is none of the four kinds, or its header is cut off.
    """
    try:
        if data[:3] == JPEG:
            size = _jpeg_size(data)
        elif data[:8] == PNG and data[12:16] == b"IHDR":
            size = struct.unpack_from(">II", data, 16)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            size = _webp_size(data)
        elif data[:2] == b"BM" and struct.unpack_from("<I", data, 14)[0] >= 40:  # noqa: PLR2004 - BITMAPINFOHEADER
            wide, high = struct.unpack_from("<ii", data, 18)
            size = wide, abs(high)
        elif data[:2] == b"BM":
            size = struct.unpack_from("<HH", data, 18)
        else:
            raise damaged()
    except (struct.error, IndexError):
        raise damaged() from None
    if min(size) < 1:
        raise damaged()
    return size[0], size[1]


def bare(data: bytes) -> bytes:
    """The same picture without what a PNG carries beside it: texts, colour profiles, frames. Other kinds as they are.

    A decoder unpacks texts as it meets them, 8 MB from 8 KB each, a thousand times: 3 GB and 10 s for a file of 3 MB.

    Raises:
        ImageError: `invalid_image` for a chunk that is cut off; a decoder first makes room for all that it promises.
    """
    if data[:8] != PNG:
        return data
    kept, at, whole = [PNG], 8, True
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise damaged()
        if data[at + 4 : at + 8] in PICTURE:
            kept.append(data[at:end])
        else:
            whole = False
        at = end
    return data if whole else b"".join([*kept, data[at:]])


def orientation_of(exif: bytes) -> int:
    """Orientation of a TIFF-shaped EXIF block; 1, upright, where it says none or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == 0x0112:  # noqa: PLR2004 - the tag's number in the standard
                return int(value)
    except struct.error:
        pass
    return 1


def has_alpha(data: bytes) -> bool:
    """Whether a PNG or WebP file may have transparent pixels."""
    if data[:4] == b"\x89PNG":
        return data[25:26] in {b"\x04", b"\x06"} or b"tRNS" in data[: data.find(b"IDAT")]
    flags = {b"VP8X": data[20:21], b"VP8L": data[24:25]}.get(data[12:16], b"")
    return bool(int.from_bytes(flags, "little") & 0x10)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFFFF:  # noqa: PLR2004 - a fill byte
            at += 1
            continue
        if 0xFFC0 <= marker <= 0xFFCF and marker not in {0xFFC4, 0xFFC8, 0xFFCC}:  # noqa: PLR2004 - start of frame
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker < 0xFFC0:  # noqa: PLR2004 - no marker at all
            raise damaged()
        at += 2 + max(2, length)


def _webp_size(data: bytes) -> tuple[int, int]:
    form = data[12:16]
    if form == b"VP8X":
        wide, high = data[24:27], data[27:30]
        return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    if form == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def damaged() -> ImageError:
    """What a file is answered with that is no whole image of the four kinds."""
    return ImageError(ErrorCode.INVALID_IMAGE, "The image cannot be decoded: it is damaged or cut off.")

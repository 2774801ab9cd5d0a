"""Reads WebP files, RFC 9649."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.image_header.exif import orientation_of
from shared.image_header.header import MAX_PIECES, CheckSize, ImageHeader, reject, reject_animation, u24le, u32le
from shared.image_header.trailer import check_trailer

_ANIMATION, _EXIF, _ALPHA = 0x02, 0x08, 0x10
_FRAME_HEADER: Final = 16


@dataclass(slots=True)
class _Still:
    """The chunks of one picture, as byte ranges of the file."""

    size: tuple[int, int] | None = None
    bits: tuple[int, int] | None = None
    alpha: tuple[int, int] | None = None
    lossless_alpha: bool = False

    def take(self, data: bytes, name: bytes, at: int, end: int) -> None:
        """Record a chunk if it is the first of its kind."""
        if name == b"ALPH" and self.alpha is None and self.bits is None:
            self.alpha = at, end
        if name in {b"VP8 ", b"VP8L"} and self.bits is None:
            self.size, self.bits = _frame_size(data, at), (at, end)
            self.lossless_alpha = name == b"VP8L" and bool(data[at + 12] & _ALPHA)


def read_webp(data: bytes, check_size: CheckSize) -> ImageHeader:
    """Walk the chunks of a still image, or of an animation with a single frame that fills the canvas."""
    extended = data[12:16] == b"VP8X"
    if extended and len(data) < 30:  # noqa: PLR2004 - RIFF header, chunk header, 10 bytes
        reject("webp", "it is truncated")
    flags = data[20] if extended else 0
    canvas = (u24le(data, 24) + 1, u24le(data, 27) + 1) if extended else _frame_size(data, 12)
    check_size(*canvas)
    end = 8 + u32le(data, 4)
    if end > len(data):
        reject("webp", "it is truncated")
    still, exif = _Still(), b""
    for name, at, stop in _chunks(data, 12, end):
        if name == b"ANMF":
            _take_frame(data, at, stop, canvas if flags & _ANIMATION else None, still)
        elif name == b"EXIF" and flags & _EXIF and not exif:
            exif = data[at + 8 : stop]
        elif not flags & _ANIMATION:
            still.take(data, name, at, stop)
    if still.bits is None or still.size is None:
        reject("webp", "it has no pixels")
    if still.size != canvas:
        reject("webp", "its two headers state different sizes")
    check_trailer(data, end, kind="webp")
    return _header(still, canvas, orientation_of(exif))


def _header(still: _Still, size: tuple[int, int], orientation: int) -> ImageHeader:
    """Return the picture as a separate file: VP8 with its alpha channel, or VP8L."""
    chunks = [chunk for chunk in (still.alpha, still.bits) if chunk]
    has_alpha = still.alpha is not None or still.lossless_alpha
    head = b""
    if still.alpha is not None:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        head = b"VP8X" + struct.pack("<II", 10, _ALPHA) + sides
    length = 4 + len(head) + sum(end - at for at, end in chunks)
    prefix = b"RIFF" + struct.pack("<I", length) + b"WEBP" + head
    return ImageHeader("webp", *size, orientation, has_alpha=has_alpha, spans=tuple(chunks), prefix=prefix)


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk between `at` and `end`, with the padding after an odd size."""
    for _ in range(MAX_PIECES):
        if at + 8 > end:
            return
        size = u32le(data, at + 4)
        if at + 8 + size > end:
            reject("webp", "it is truncated")
        stop = min(at + 8 + size + (size & 1), end)
        yield data[at : at + 4], at, stop
        at = stop
    reject("webp", f"it has more than {MAX_PIECES} chunks")


def _take_frame(data: bytes, at: int, end: int, canvas: tuple[int, int] | None, still: _Still) -> None:
    """Read the first frame of an animation. `canvas` is None for a still image, which must not have frames."""
    payload = at + 8
    if canvas is None or still.bits is not None:
        reject_animation("an animated WebP")
    if payload + _FRAME_HEADER > end:
        reject("webp", "its frame header is damaged or truncated")
    left, top = u24le(data, payload), u24le(data, payload + 3)
    if (left, top, u24le(data, payload + 6) + 1, u24le(data, payload + 9) + 1) != (0, 0, *canvas):
        reject_animation("an animated WebP whose first frame does not fill it")
    for name, start, stop in _chunks(data, payload + _FRAME_HEADER, end):
        still.take(data, name, start, stop)


def _frame_size(data: bytes, at: int) -> tuple[int, int]:  # noqa: RET503 - reject never returns
    name, payload = data[at : at + 4], data[at + 8 : at + 18]
    if name == b"VP8 " and len(payload) == 10 and payload[3:6] == b"\x9d\x01\x2a" and not payload[0] & 1:  # noqa: PLR2004
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(payload) >= 5 and payload[0] == 0x2F:  # noqa: PLR2004 - signature and 28 bits
        bits = u32le(payload, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    reject("webp", "its frame header is damaged or truncated")

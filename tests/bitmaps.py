"""Writes BMP files with any header, depth and color masks."""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.pictures import Pixels

DEFAULT: Final = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
FIVE_SIX_FIVE: Final = (0xF800, 0x07E0, 0x001F, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a BMP; masks of None are the defaults of the depth, without compression."""

    header: int = 40
    depth: int = 24
    masks: tuple[int, int, int, int] | None = None
    top_down: bool = False
    palette: int = 0
    """Number of palette colors; 0 means as many as the depth allows."""
    packing: int | None = None


def bitmap(pixels: Pixels, layout: Layout) -> bytes:
    """Write pixels of shape (height, width, 3) or, with alpha, 4; BGR. A palette needs few enough colors."""
    height, width = pixels.shape[:2]
    packing = (0 if layout.masks is None else 3) if layout.packing is None else layout.packing
    palette, rows = _palette(pixels, layout) if layout.depth <= 8 else (b"", _direct(pixels, layout))
    padding = b"\0" * (-len(rows[0]) % 4)
    rows = rows if layout.top_down else rows[::-1]
    body = b"".join(row + padding for row in rows)
    if layout.header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, layout.depth)
    else:
        signed = -height if layout.top_down else height
        sizes = (layout.header, width, signed, 1, layout.depth, packing, len(body), 2835, 2835, layout.palette, 0)
        masks = b"" if layout.masks is None else struct.pack("<4I", *layout.masks)
        fields = struct.pack("<IiiHHIIiiII", *sizes)
        if layout.header == 40:
            head = fields + (masks if packing == 6 else masks[:12])
        else:
            head = (fields + masks).ljust(layout.header, b"\0")[: layout.header]
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


def _palette(pixels: Pixels, layout: Layout) -> tuple[bytes, list[bytes]]:
    colors, indices = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    size = layout.palette or 1 << layout.depth
    entries = [bytes(color) + b"\0" * (layout.header > 12) for color in colors]
    entries += [entries[0]] * (size - len(entries))
    bits = (indices.reshape(-1, 1) >> np.arange(layout.depth - 1, -1, -1) & 1).astype(np.uint8)
    rows = bits.reshape(len(pixels), -1)
    return b"".join(entries), [np.packbits(row).tobytes() for row in rows]


def _direct(pixels: Pixels, layout: Layout) -> list[bytes]:
    if layout.depth == 24:
        return [row.tobytes() for row in pixels[..., :3]]
    red, green, blue, alpha = layout.masks or DEFAULT[layout.depth]
    words = np.zeros(pixels.shape[:2], np.uint64)
    for channel, mask in enumerate((blue, green, red, alpha)[: pixels.shape[2]]):
        if mask:
            shift, most = (mask & -mask).bit_length() - 1, (1 << mask.bit_count()) - 1
            words |= (pixels[..., channel].astype(np.uint64) * most + 127) // 255 << np.uint64(shift)
    return [row.astype("<u2" if layout.depth == 16 else "<u4").tobytes() for row in words]

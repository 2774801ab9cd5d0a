"""Decode the pixels of BMP files. OpenCV decodes some kinds incorrectly and others not at all."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.image_header.bitmap import Bitmap
from shared.image_header.header import ImageHeader
from worker.engine.base import Image

_BYTE: Final = 8
_WORDS: Final = {16: "<u2", 32: "<u4"}


def unpack(data: bytes, header: ImageHeader, bitmap: Bitmap) -> Image:
    """Return pixels of shape (height, width, 3), uint8, BGR; 4 channels if any pixel has an alpha above zero."""
    rows = _rows(data, header, bitmap)
    if bitmap.palette_size:
        pixels = _palette(data, bitmap)[_indices(rows, bitmap.depth, header.width)]
    elif bitmap.depth in _WORDS:
        pixels = _masked(rows, bitmap, header.width)
    else:
        pixels = rows[:, : 3 * header.width].reshape(header.height, header.width, 3)
    return np.ascontiguousarray(pixels if bitmap.top_down else pixels[::-1])


def _rows(data: bytes, header: ImageHeader, bitmap: Bitmap) -> NDArray[np.uint8]:
    stride = bitmap.stride(header.width)
    count = stride * header.height
    stored = np.frombuffer(data, np.uint8, offset=bitmap.pixels_at)[:count]
    if stored.size < count:  # the padding of the last row may be missing
        stored = np.append(stored, np.zeros(count - stored.size, np.uint8))
    return stored.reshape(header.height, stride)


def _palette(data: bytes, bitmap: Bitmap) -> NDArray[np.uint8]:
    """Return 256 colors; undefined entries are black."""
    palette = np.zeros((256, 3), np.uint8)
    size, entry = bitmap.palette_size, bitmap.palette_entry
    stored = np.frombuffer(data, np.uint8, count=size * entry, offset=bitmap.palette_at)
    palette[:size] = stored.reshape(size, entry)[:, :3]
    return palette


def _indices(rows: NDArray[np.uint8], depth: int, width: int) -> NDArray[np.uint8]:
    if depth == _BYTE:
        return rows[:, :width]
    shifts = np.arange(_BYTE - depth, -1, -depth, dtype=np.uint8)
    parts = rows[..., None] >> shifts & np.uint8((1 << depth) - 1)
    return parts.reshape(len(rows), -1)[:, :width]


def _masked(rows: NDArray[np.uint8], bitmap: Bitmap, width: int) -> NDArray[np.uint8]:
    words: NDArray[Any] = rows.view(_WORDS[bitmap.depth])[:, :width]
    red, green, blue, alpha = bitmap.masks
    masks = (blue, green, red, alpha) if alpha and (words & words.dtype.type(alpha)).any() else (blue, green, red)
    pixels = np.empty((*words.shape, len(masks)), np.uint8)
    for channel, mask in enumerate(masks):
        pixels[..., channel] = _scaled(words & words.dtype.type(mask), mask)
    return pixels


def _scaled(values: NDArray[Any], mask: int) -> NDArray[np.uint8]:
    """Scale the bits of a mask to 0-255."""
    shift, bits = (mask & -mask).bit_length() - 1, mask.bit_count()
    if bits >= _BYTE:
        return np.asarray(values >> values.dtype.type(shift + bits - _BYTE), np.uint8)
    most = (1 << bits) - 1
    levels = np.asarray((np.arange(most + 1) * 255 + most // 2) // most, np.uint8)
    return np.asarray(levels[values >> values.dtype.type(shift)], np.uint8)

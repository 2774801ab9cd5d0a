"""Reads BMP files with headers of Windows (40, 52, 56, 108 or 124 bytes) or OS/2 (12 or 64), [MS-WMF] 2.2.2."""

import struct
from typing import Final

from shared.image_header.bitmap import Bitmap
from shared.image_header.header import CheckSize, ImageHeader, reject, reject_type, u16le, u32le
from shared.image_header.trailer import check_trailer

LEAST: Final = 26
HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
_CORE, _OS2 = 12, 64
_RGB, _RUNS_8, _RUNS_4, _MASKS, _MASKS_WITH_ALPHA = 0, 1, 2, 3, 6
_ALPHA_HEADER: Final = 56
"""Size of the smallest header that has an alpha mask, in bytes."""
_DEPTHS: Final = frozenset({1, 4, 8, 16, 24, 32})
_MASKED: Final = frozenset({16, 32})
_DEFAULT_MASKS: Final = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0x00FF00, 0x0000FF, 0)}


def read_bmp(data: bytes, check_size: CheckSize) -> ImageHeader:
    """Read the header. The file size stated there is ignored, as viewers do."""
    header = u32le(data, 14)
    if len(data) < 14 + header:
        reject("bmp", "its header is truncated")
    core = header == _CORE
    width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
    check_size(width, abs(height))  # a negative height means that rows are stored from the top
    depth = u16le(data, 24 if core else 28)
    packing = 0 if core else u32le(data, 30)
    _check_packing(depth, packing, header)
    bitmap = _bitmap(data, header, depth, packing, top_down=height < 0)
    end = bitmap.pixels_at + bitmap.stride(width) * (abs(height) - 1) + bitmap.row_bytes(width)
    if end > len(data):
        reject("bmp", "it is truncated, or its pixels are not where its header says")
    check_trailer(data, end, kind="bmp")
    return ImageHeader("bmp", width, abs(height), has_alpha=bool(bitmap.masks[3]), spans=((0, end),), bitmap=bitmap)


def _check_packing(depth: int, packing: int, header: int) -> None:
    if packing in {_RUNS_8, _RUNS_4}:
        reject_type("a run-length encoded BMP, which decoders interpret differently: save it without compression")
    if packing not in {_RGB, _MASKS, _MASKS_WITH_ALPHA} or (header == _OS2 and packing):
        reject_type("a BMP that contains another type of image")
    if depth not in _DEPTHS or (packing and depth not in _MASKED):
        reject("bmp", "its color depth is invalid")


def _bitmap(data: bytes, header: int, depth: int, packing: int, *, top_down: bool) -> Bitmap:
    pixels_at, palette_at = u32le(data, 10), 14 + header
    masks = _DEFAULT_MASKS.get(depth, (0, 0, 0, 0))
    if packing:
        with_alpha = packing == _MASKS_WITH_ALPHA or header >= _ALPHA_HEADER
        masks = (u32le(data, 54), u32le(data, 58), u32le(data, 62), u32le(data, 66) if with_alpha else 0)
        palette_at = max(palette_at, 70 if packing == _MASKS_WITH_ALPHA else 66)
        _check_masks(masks, depth)
    if pixels_at < palette_at:
        reject("bmp", "its pixels are not where its header says")
    entry, size = 3 if header == _CORE else 4, 0
    if depth <= 8:  # noqa: PLR2004 - deeper pixels contain their color
        declared = 0 if header == _CORE else u32le(data, 46)
        size = min(declared or 1 << depth, 1 << depth, (pixels_at - palette_at) // entry)
        if size < 1:
            reject("bmp", "it has no palette")
    return Bitmap(depth, top_down, pixels_at, palette_at, size, entry, masks)


def _check_masks(masks: tuple[int, int, int, int], depth: int) -> None:
    """Check that each mask is one run of bits and that no two masks overlap."""
    taken = 0
    for position, mask in enumerate(masks):
        run = mask // (mask & -mask) if mask else 0
        if run & (run + 1) or mask >> depth or mask & taken or (not mask and position < 3):  # noqa: PLR2004 - not alpha
            reject("bmp", "its color masks are damaged")
        taken |= mask

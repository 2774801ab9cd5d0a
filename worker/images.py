"""Decodes the bytes of an image to an upright array."""

import struct
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, ImageError
from worker.engine.base import Image

WHITE: Final = 255

# A damaged image is the caller's trouble, and answered as such: OpenCV need not tell standard error as well.
# (libjpeg and libpng still write a line of their own; they have no switch.)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes, *, max_pixels: int) -> Image:
    """The image of a JPEG, PNG, WebP or BMP file, upright.

    EXIF orientation is applied. Grey, palette and CMYK become colour, 16 bits become the upper 8, and what is
    transparent is laid on white, as a viewer shows it.

    Returns:
        Shape (height, width, 3), uint8, BGR, contiguous.

    Raises:
        ImageError: `invalid_image` for bytes that are no whole image of these four kinds,
            `image_dimensions_too_large` for a header that promises more than `max_pixels`; nothing is decoded then.
    """
    width, height = _stored_size(data)
    if width * height > max_pixels:
        raise ImageError(
            ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE,
            f"The image has {width}x{height} pixels; at most {max_pixels} are taken.",
        )
    array = np.frombuffer(data, np.uint8)
    try:
        pixels = _on_white(array) if _has_alpha(data) else cv2.imdecode(array, cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _invalid()
    return np.ascontiguousarray(pixels, np.uint8)


def _invalid() -> ImageError:
    return ImageError(ErrorCode.INVALID_IMAGE, "The image cannot be decoded: it is damaged or cut off.")


def _on_white(array: NDArray[np.uint8]) -> Image | None:
    """Decode an image with transparency. Reading alpha makes OpenCV ignore orientation, so it is applied here."""
    decoded, kinds, blobs = cv2.imdecodeWithMetadata(array, flags=cv2.IMREAD_UNCHANGED)
    pixels: Any = decoded  # None where damaged, else uint8 or uint16: OpenCV's annotation knows neither
    if pixels is None:
        return None
    if pixels.ndim != 3 or pixels.shape[2] != 4:  # noqa: PLR2004 - one grey tone declared transparent: not kept apart
        return np.asarray(cv2.imdecode(array, cv2.IMREAD_COLOR), np.uint8)
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    alpha = pixels[..., 3:].astype(np.uint16)
    colour = (pixels[..., :3] * alpha + WHITE * (WHITE - alpha) + WHITE // 2) // WHITE
    exif = next((bytes(blob) for kind, blob in zip(kinds, blobs, strict=True) if kind == cv2.IMAGE_METADATA_EXIF), b"")
    return _upright(colour.astype(np.uint8), orientation=_orientation(exif))


def _upright(image: Image, *, orientation: int) -> Image:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112); what is not 2 to 8 changes nothing."""
    if orientation in {5, 6, 7, 8}:
        image = image.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return image


def _orientation(exif: bytes) -> int:
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


def _has_alpha(data: bytes) -> bool:
    if data[:4] == b"\x89PNG":
        return data[25:26] in {b"\x04", b"\x06"} or b"tRNS" in data[: data.find(b"IDAT")]
    flags = {b"VP8X": data[20:21], b"VP8L": data[24:25]}.get(data[12:16], b"")
    return bool(int.from_bytes(flags, "little") & 0x10)


def _stored_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header promises, before orientation.

    The gateway has refused what it did not like; this is the worker's own guard against a file that would swell.

    Raises:
        ImageError: `invalid_image` where this is none of the four kinds, or its header is cut off.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            size = _jpeg_size(data)
        elif data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            size = struct.unpack_from(">II", data, 16)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            size = _webp_size(data)
        elif data[:2] == b"BM" and struct.unpack_from("<I", data, 14)[0] >= 40:  # noqa: PLR2004 - BITMAPINFOHEADER
            wide, high = struct.unpack_from("<ii", data, 18)
            size = wide, abs(high)
        elif data[:2] == b"BM":
            size = struct.unpack_from("<HH", data, 18)
        else:
            raise _invalid()
    except (struct.error, IndexError):
        raise _invalid() from None
    if min(size) < 1:
        raise _invalid()
    return size[0], size[1]


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
            raise _invalid()
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

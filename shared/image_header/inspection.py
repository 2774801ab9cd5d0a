"""Decides which files are images and of what size, for the gateway and the worker alike."""

from collections.abc import Callable
from typing import Final

from shared.errors import ErrorCode, ImageError
from shared.image_header.bmp import read_bmp
from shared.image_header.header import MAX_SIDE, CheckSize, ImageHeader, Kind, reject
from shared.image_header.jpeg import read_jpeg
from shared.image_header.kinds import kind_of
from shared.image_header.png import read_png
from shared.image_header.webp import read_webp

_READERS: Final[dict[Kind, Callable[[bytes, CheckSize], ImageHeader]]] = {
    "jpeg": read_jpeg,
    "png": read_png,
    "webp": read_webp,
    "bmp": read_bmp,
}


def inspect_image(data: bytes, *, max_bytes: int | None = None, max_pixels: int) -> ImageHeader:
    """Read the header of a still image and check the structure of the file without decoding it.

    Time is linear in the size of the file. Width and height are checked as soon as they are read.

    Raises:
        ImageError: `empty_image`, `image_too_large`, `unsupported_image_type`, `animated_image`,
            `image_dimensions_too_large`, or `invalid_image` for damaged and truncated files.
    """
    if not data:
        raise ImageError(ErrorCode.EMPTY_IMAGE, "The image file is empty.")
    if max_bytes is not None and len(data) > max_bytes:
        raise ImageError(
            ErrorCode.IMAGE_TOO_LARGE, f"The image has {len(data)} bytes; at most {max_bytes} are allowed."
        )
    kind = kind_of(data)

    def check_size(width: int, height: int) -> None:
        if width < 1 or height < 1:
            reject(kind, "its width or height is zero")
        if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
            raise ImageError(
                ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE,
                f"The image is {width} x {height} pixels; at most {max_pixels} pixels and {MAX_SIDE} on a side are"
                " allowed.",
            )

    return _READERS[kind](data, check_size)

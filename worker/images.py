"""Decode the bytes of an image to an upright picture."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, ImageError
from shared.image_header.header import ImageHeader
from shared.image_header.inspection import inspect_image
from worker.bitmaps import unpack
from worker.engine.base import Image
from worker.execution.memory import require

WHITE: Final = 255
WITH_ALPHA: Final = 4
"""Number of channels."""
NEEDED: Final = 16
"""Maximum bytes per pixel for decoding: up to 8 for the stored pixels, and the same for intermediate ones."""
BAND: Final = 256
"""Rows composited on white at a time, because the intermediate values are twice as wide."""
REDUCED: Final = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
"""OpenCV flags for a half, a quarter or an eighth of each side."""
QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""
FLIPS: Final = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""OpenCV flip code of each orientation, applied after transposition: 1 horizontal, 0 vertical, -1 both."""

# A damaged image is a client error and reported as such, so OpenCV need not log it to standard error.
# (libjpeg and libpng still write a line, which cannot be disabled.)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture, possibly at a fraction of the size of its file."""

    pixels: Image
    width: int
    """Pixels of the whole upright image; `pixels` may have fewer."""
    height: int
    """Pixels of the whole upright image; `pixels` may have fewer."""
    file: bytes | None = None
    """The bytes of a JPEG file, which can be decoded again at another fraction; None for other formats."""
    turn: int = 0
    """Clockwise rotation applied after decoding, in degrees: 0, 90, 180 or 270."""

    @property
    def scale(self) -> tuple[float, float]:
        """Horizontal and vertical factors from a position in `pixels` to one in the whole image; at least 1.

        If a side does not divide evenly, the factor is slightly less than 2, 4 or 8, an error of less than one pixel.
        """
        high, wide = self.pixels.shape[:2]
        return self.width / wide, self.height / high

    @property
    def reduced(self) -> bool:
        """Whether the file has more pixels than `pixels` and can be decoded again."""
        high, wide = self.pixels.shape[:2]
        return self.file is not None and (wide, high) != (self.width, self.height)

    def whole(self) -> "Picture":
        """Return the picture at full size, decoding the file again if necessary."""
        return self if not self.reduced else self._read_again(min_long_side=None)

    def at(self, min_long_side: int) -> "Picture":
        """Return the picture as `decode` reads it with `min_long_side`; this object if that is its full size."""
        if self.file is None or reduction(self.width, self.height, min_long_side=min_long_side) == 1:
            return self.whole()
        return self._read_again(min_long_side=min_long_side)

    def turned(self, degrees: int) -> "Picture":
        """Return the picture rotated clockwise by a multiple of 90 degrees."""
        quarters = degrees // 90 % 4
        if not quarters:
            return self
        width, height = (self.width, self.height) if quarters == 2 else (self.height, self.width)  # noqa: PLR2004
        pixels = np.ascontiguousarray(np.rot90(self.pixels, -quarters))
        return replace(self, pixels=pixels, width=width, height=height, turn=(self.turn + 90 * quarters) % 360)

    def _read_again(self, *, min_long_side: int | None) -> "Picture":
        again = decode(self.file or b"", max_pixels=self.width * self.height, min_long_side=min_long_side)
        return again.turned(self.turn)


def decode(data: bytes, *, max_pixels: int, min_long_side: int | None = None) -> Picture:
    """Decode a JPEG, PNG, WebP or BMP file to an upright picture.

    The file is inspected by the same rules as in the gateway. Only the bytes of the picture reach a decoder, without
    metadata or trailing data. EXIF orientation is applied. Gray, palette and CMYK images are converted to color, 16-bit
    values to their upper 8 bits, and transparent pixels are composited on white, as in a viewer.

    A JPEG is decoded at a half, a quarter or an eighth of its size: the smallest of these whose long side is at least
    `min_long_side`, because libjpeg then skips most of the work (docs/decisions/0011). Other formats are always decoded
    at full size; OpenCV would only scale them down afterward.

    Returns:
        Pixels of shape (height, width, 3), uint8, BGR, contiguous; and the size of the whole upright image.

    Raises:
        MemoryError: there is not enough memory for this picture.
        ImageError: `inspect_image` rejects the file, whose size it checks before anything is decoded; or
            `invalid_image` if the pixels are damaged.
    """
    header = inspect_image(data, max_pixels=max_pixels)
    width, height = header.width, header.height
    divisor = (
        1 if min_long_side is None or header.kind != "jpeg" else reduction(width, height, min_long_side=min_long_side)
    )
    try:
        pixels = _pixels(data, header, divisor)
    except cv2.error:
        pixels = None
    if pixels is None:
        require(NEEDED * width * height)  # the decoder does not report whether the file or the memory is the cause
        raise _damaged()
    if pixels.shape[:2] != _divided(height, width, by=divisor):
        raise _damaged()  # the decoder and the header inspection disagree about the size
    pixels = np.ascontiguousarray(_upright(pixels, orientation=header.orientation), np.uint8)
    if header.orientation in QUARTER_TURNS:
        width, height = height, width
    return Picture(pixels, width, height, file=data if header.kind == "jpeg" else None)


def _damaged() -> ImageError:
    return ImageError(ErrorCode.INVALID_IMAGE, "The image cannot be decoded: its pixels are damaged or truncated.")


def min_long_side_for(sides: Iterable[int]) -> int:
    """Return the minimum long side at which to decode a picture for a detector with these input sizes.

    This is 2.5 times the largest input size. The detector's input is then still scaled down, and it finds the same
    faces; with a factor of 2, it missed one of 10 pixels. At 640, a 12-megapixel photo (4000 wide) is decoded at half
    its size and a 40-megapixel one (7300) at a quarter. A face that is then too small for the other models is read from
    the whole picture (`Work.in_detail`).
    """
    return 5 * max(sides) // 2


def reduction(width: int, height: int, *, min_long_side: int) -> int:
    """Return the largest divisor (1, 2, 4 or 8) that leaves a JPEG's long side at least `min_long_side` pixels."""
    return next((divisor for divisor in REDUCED if max(width, height) >= divisor * min_long_side), 1)


def _divided(width: int, height: int, *, by: int) -> tuple[int, int]:
    """Return the size of a picture that libjpeg reduces, rounded up."""
    return -(-width // by), -(-height // by)


def _pixels(data: bytes, header: ImageHeader, divisor: int) -> Image | None:
    """Decode the stored pixels to 3 channels; return None if the decoder rejects them."""
    if header.bitmap is not None:
        pixels = unpack(data, header, header.bitmap)
        return _on_white(pixels) if pixels.shape[2] == WITH_ALPHA else pixels
    array = np.frombuffer(header.picture_bytes(data), np.uint8)
    if header.has_alpha:
        decoded: Any = cv2.imdecode(array, cv2.IMREAD_UNCHANGED)
        if decoded is None or (decoded.ndim > 2 and decoded.shape[2] == WITH_ALPHA):  # noqa: PLR2004
            return None if decoded is None else _on_white(decoded)
        # a single gray level is declared transparent, which OpenCV ignores
    flags = REDUCED.get(divisor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    color: Any = cv2.imdecode(array, flags)  # None if damaged, contrary to OpenCV's annotation
    return None if color is None else np.asarray(color, np.uint8)


def _on_white(pixels: NDArray[Any]) -> Image:
    """Composite BGRA of 8 or 16 bits on white, in bands, by OpenCV: exactly rounded, and without the interpreter lock.

    On white, a channel v with alpha a becomes 255 - (255 - v) a / 255. No product of two bytes, divided by 255, lies
    halfway between two integers, so it does not matter how OpenCV rounds such values.
    """
    color = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), BAND):
        band = pixels[top : top + BAND]
        if band.dtype == np.uint16:
            band = (band >> 8).astype(np.uint8)
        shade: Any = cv2.bitwise_not(cv2.cvtColor(band, cv2.COLOR_BGRA2BGR))
        alpha: Any = cv2.cvtColor(cv2.extractChannel(band, 3), cv2.COLOR_GRAY2BGR)
        cv2.bitwise_not(cv2.multiply(shade, alpha, shade, 1 / WHITE), color[top : top + BAND])
    return color


def _upright(image: Image, *, orientation: int) -> Image:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112)."""
    if orientation in QUARTER_TURNS:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = FLIPS.get(orientation)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)

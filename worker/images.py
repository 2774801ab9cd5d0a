"""Decodes the bytes of an image to an upright picture."""

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
"""Channels."""
NEEDED: Final = 16
"""Bytes for each pixel that reading a picture may take: 8 as it is stored, at most, and as much again on the way."""
BAND: Final = 256
"""Rows that are laid on white at once: the numbers between are twice as wide."""
REDUCED: Final = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
"""How OpenCV is asked for a half, a quarter or an eighth of each side."""
QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""
FLIPS: Final = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""OpenCV's flip for each orientation, after the transposition of a quarter turn: 1 across, 0 down, -1 both."""

# A damaged image is the caller's trouble, and answered as such: OpenCV need not tell standard error as well.
# (libjpeg and libpng still write a line of their own; they have no switch.)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture, perhaps at a fraction of the size that its file has."""

    pixels: Image
    width: int
    """Pixels of the whole upright image; `pixels` may have fewer."""
    height: int
    """Pixels of the whole upright image; `pixels` may have fewer."""
    file: bytes | None = None
    """The file of a JPEG, which can be read again at another fraction; None of other kinds."""
    turn: int = 0
    """Degrees, clockwise, that the picture was turned after it was read: 0, 90, 180 or 270."""

    @property
    def scale(self) -> tuple[float, float]:
        """What a position in `pixels` is multiplied with, across and down, to be one in the whole image; 1 or more.

        Sides that do not divide evenly make it a hair less than 2, 4 or 8: off by less than one of `pixels`.
        """
        high, wide = self.pixels.shape[:2]
        return self.width / wide, self.height / high

    @property
    def reduced(self) -> bool:
        """Whether the file has more pixels than `pixels`, and can be read again."""
        high, wide = self.pixels.shape[:2]
        return self.file is not None and (wide, high) != (self.width, self.height)

    def whole(self) -> "Picture":
        """The same picture with every pixel of its file, decoded again if this one has fewer."""
        return self if not self.reduced else self._read_again(min_long_side=None)

    def at(self, min_long_side: int) -> "Picture":
        """The picture as `decode` reads it with `min_long_side`; this object if it has every pixel and all are read."""
        if self.file is None or reduction(self.width, self.height, min_long_side=min_long_side) == 1:
            return self.whole()
        return self._read_again(min_long_side=min_long_side)

    def turned(self, degrees: int) -> "Picture":
        """The picture turned clockwise by a multiple of 90 degrees."""
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
    """The picture of a JPEG, PNG, WebP or BMP file, upright.

    The file is inspected by the gateway's rule, and only the bytes of its picture reach a decoder: no metadata, and
    nothing behind its end. EXIF orientation is applied. Gray, palette and CMYK become color, 16 bits become the upper
    8, and transparent pixels are laid on white, as a viewer shows them.

    A JPEG is decoded at a half, a quarter or an eighth of its size, at the smallest of these whose long side is at
    least `min_long_side`: libjpeg then skips most of the work (docs/decisions/0011). The other formats are always
    decoded whole; OpenCV would only scale them down afterwards.

    Returns:
        Pixels of shape (height, width, 3), uint8, BGR, contiguous; and the size of the whole upright image.

    Raises:
        MemoryError: there is not enough memory for this picture.
        ImageError: the file is rejected by `inspect_image`, which checks its size before anything is decoded; or
            `invalid_image` where its pixels are damaged.
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
        require(NEEDED * width * height)  # the decoder does not say whether it was the file or the memory
        raise _damaged()
    if pixels.shape[:2] != _divided(height, width, by=divisor):
        raise _damaged()  # the decoder found another size in the file than we did
    pixels = np.ascontiguousarray(_upright(pixels, orientation=header.orientation), np.uint8)
    if header.orientation in QUARTER_TURNS:
        width, height = height, width
    return Picture(pixels, width, height, file=data if header.kind == "jpeg" else None)


def _damaged() -> ImageError:
    return ImageError(ErrorCode.INVALID_IMAGE, "The image cannot be decoded: its pixels are damaged or cut off.")


def min_long_side_for(sides: Iterable[int]) -> int:
    """The long side that a picture is worth reading at, for a detector that looks at squares of these sides.

    Two and a half times the largest: what the detector sees is then still scaled down by as much, and it finds the same
    faces; at twice the largest it lost one of 10 pixels. At 640 a 12-megapixel photo (4000 wide) is read at half its
    size and a 40-megapixel one (7300) at a quarter. A face that has become too small for the other models is read from
    the whole picture (`Work.in_detail`).
    """
    return 5 * max(sides) // 2


def reduction(width: int, height: int, *, min_long_side: int) -> int:
    """How many times smaller a JPEG may be read so that its long side keeps `min_long_side` pixels: 1, 2, 4 or 8."""
    return next((divisor for divisor in REDUCED if max(width, height) >= divisor * min_long_side), 1)


def _divided(width: int, height: int, *, by: int) -> tuple[int, int]:
    """The size that libjpeg gives a reduced picture: rounded up."""
    return -(-width // by), -(-height // by)


def _pixels(data: bytes, header: ImageHeader, divisor: int) -> Image | None:
    """Pixels as they are stored, 3 channels; None where the decoder rejects them."""
    if header.bitmap is not None:
        pixels = unpack(data, header, header.bitmap)
        return _on_white(pixels) if pixels.shape[2] == WITH_ALPHA else pixels
    array = np.frombuffer(header.picture_bytes(data), np.uint8)
    if header.has_alpha:
        decoded: Any = cv2.imdecode(array, cv2.IMREAD_UNCHANGED)
        if decoded is None or (decoded.ndim > 2 and decoded.shape[2] == WITH_ALPHA):  # noqa: PLR2004
            return None if decoded is None else _on_white(decoded)
        # one gray tone is declared transparent: OpenCV does not tell it from the others
    flags = REDUCED.get(divisor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    color: Any = cv2.imdecode(array, flags)  # None where damaged; OpenCV's annotation does not know that
    return None if color is None else np.asarray(color, np.uint8)


def _on_white(pixels: NDArray[Any]) -> Image:
    """Lay BGRA of 8 or 16 bits on white."""
    color = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), BAND):
        band = pixels[top : top + BAND]
        if band.dtype == np.uint16:
            band = band >> 8
        alpha = band[..., 3:].astype(np.uint16)
        color[top : top + BAND] = (band[..., :3] * alpha + WHITE * (WHITE - alpha) + WHITE // 2) // WHITE
    return color


def _upright(image: Image, *, orientation: int) -> Image:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112)."""
    if orientation in QUARTER_TURNS:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = FLIPS.get(orientation)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)

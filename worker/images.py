"""Decodes the bytes of an image to an upright picture."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, ImageError
from worker.engine.base import Image
from worker.image_headers import JPEG, bare, damaged, has_alpha, orientation_of, stored_size
from worker.memory import require

WHITE: Final = 255
NEEDED: Final = 16
"""Bytes for each pixel that reading a picture may take: 8 as it is stored, at most, and as much again on the way."""
BAND: Final = 256
"""Rows that are laid on white at once: the numbers between are twice as wide."""
REDUCED: Final = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
"""How OpenCV is asked for a half, a quarter or an eighth of each side."""

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
        return self if not self.reduced else self._read_again(enough=None)

    def at(self, enough: int) -> "Picture":
        """The picture as `decode` reads it with `enough`; this object if it has every pixel and all are read."""
        if self.file is None or reduction(self.width, self.height, enough=enough) == 1:
            return self.whole()
        return self._read_again(enough=enough)

    def turned(self, degrees: int) -> "Picture":
        """The picture turned clockwise by a multiple of 90 degrees."""
        quarters = degrees // 90 % 4
        if not quarters:
            return self
        width, height = (self.width, self.height) if quarters == 2 else (self.height, self.width)  # noqa: PLR2004
        pixels = np.ascontiguousarray(np.rot90(self.pixels, -quarters))
        return replace(self, pixels=pixels, width=width, height=height, turn=(self.turn + 90 * quarters) % 360)

    def _read_again(self, *, enough: int | None) -> "Picture":
        again = decode(self.file or b"", max_pixels=self.width * self.height, enough=enough)
        return again.turned(self.turn)


def decode(data: bytes, *, max_pixels: int, enough: int | None = None) -> Picture:
    """The picture of a JPEG, PNG, WebP or BMP file, upright.

    EXIF orientation is applied. Grey, palette and CMYK become colour, 16 bits become the upper 8, and what is
    transparent is laid on white, as a viewer shows it.

    A JPEG whose long side stays at least `enough` at a half, a quarter or an eighth is read at the smallest of these:
    libjpeg then skips most of the work (docs/decisions/0011). The other kinds are always read whole; OpenCV would
    only scale them down afterwards.

    Returns:
        Pixels of shape (height, width, 3), uint8, BGR, contiguous; and the size of the whole upright image.

    Raises:
        MemoryError: there is not enough of it for this picture.
        ImageError: `invalid_image` for bytes that are no whole image of these four kinds,
            `image_dimensions_too_large` for a header that promises more than `max_pixels`; nothing is decoded then.
    """
    width, height = stored_size(data)
    if width * height > max_pixels:
        raise ImageError(
            ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE,
            f"The image has {width}x{height} pixels; at most {max_pixels} are taken.",
        )
    divisor = 1 if enough is None or not data.startswith(JPEG) else reduction(width, height, enough=enough)
    array = np.frombuffer(bare(data), np.uint8)
    try:
        pixels = _on_white(array) if has_alpha(data) else cv2.imdecode(array, REDUCED.get(divisor, cv2.IMREAD_COLOR))
    except cv2.error:
        pixels = None
    if pixels is None:
        require(NEEDED * width * height)  # the decoder does not say whether it was the file or the memory
        raise damaged()
    high, wide = pixels.shape[:2]
    if divisor == 1:
        width, height = wide, high
    elif (wide, high) == _divided(height, width, by=divisor):
        width, height = height, width  # EXIF orientation turned it by a quarter
    elif (wide, high) != _divided(width, height, by=divisor):
        raise damaged()  # libjpeg found another size in the file than we did
    return Picture(np.ascontiguousarray(pixels, np.uint8), width, height, file=data if data.startswith(JPEG) else None)


def enough_for(sides: Iterable[int]) -> int:
    """The long side that a picture is worth reading at, for a detector that looks at squares of these sides.

    Two and a half times the largest: what the detector sees is then still scaled down by as much, and it finds the same
    faces; at twice the largest it lost one of 10 pixels. At 640 a 12-megapixel photo (4000 wide) is read at half its
    size and a 40-megapixel one (7300) at a quarter. A face that has become too small for the other models is read from
    the whole picture (`Work.in_detail`).
    """
    return 5 * max(sides) // 2


def reduction(width: int, height: int, *, enough: int) -> int:
    """How many times smaller a JPEG may be read so that its long side keeps `enough` pixels: 1, 2, 4 or 8.

    Sides that differ and would come out equal are not reduced so far: which of them is the width can no longer be
    told from the pixels, and whether the EXIF orientation turned them is OpenCV's secret.
    """
    for divisor in REDUCED:
        wide, high = _divided(width, height, by=divisor)
        lost = width != height and wide == high
        if max(width, height) >= divisor * enough and not lost:
            return divisor
    return 1


def _divided(width: int, height: int, *, by: int) -> tuple[int, int]:
    """The size that libjpeg gives a reduced picture: rounded up."""
    return -(-width // by), -(-height // by)


def _on_white(array: NDArray[np.uint8]) -> Image | None:
    """Decode an image with transparency. Reading alpha makes OpenCV ignore orientation, so it is applied here."""
    decoded, kinds, blobs = cv2.imdecodeWithMetadata(array, flags=cv2.IMREAD_UNCHANGED)
    pixels: Any = decoded  # None where damaged, else uint8 or uint16: OpenCV's annotation knows neither
    if pixels is None:
        return None
    if pixels.ndim != 3 or pixels.shape[2] != 4:  # noqa: PLR2004 - one grey tone declared transparent: not kept apart
        return np.asarray(cv2.imdecode(array, cv2.IMREAD_COLOR), np.uint8)
    colour = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), BAND):
        band = pixels[top : top + BAND]
        if band.dtype == np.uint16:
            band = band >> 8
        alpha = band[..., 3:].astype(np.uint16)
        colour[top : top + BAND] = (band[..., :3] * alpha + WHITE * (WHITE - alpha) + WHITE // 2) // WHITE
    exif = next((bytes(blob) for kind, blob in zip(kinds, blobs, strict=True) if kind == cv2.IMAGE_METADATA_EXIF), b"")
    return _upright(colour, orientation=orientation_of(exif))


def _upright(image: Image, *, orientation: int) -> Image:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112); what is not 2 to 8 changes nothing."""
    if orientation in {5, 6, 7, 8}:
        image = image.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return image

"""The result of an inspection, and errors and helpers shared by all formats."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from shared.errors import ErrorCode, ImageError
from shared.image_header.bitmap import Bitmap

Kind = Literal["jpeg", "png", "webp", "bmp"]
CheckSize = Callable[[int, int], None]
"""Called with width and height as soon as they are known. Raises an error if they exceed the limits."""

MAX_SIDE: Final = 65_535
"""Pixels; the limit of JPEG. OpenCV rejects far wider images regardless of their area."""
MAX_PIECES: Final = 20_000
"""PNG chunks, JPEG segments or WebP chunks per file. A 64 MB PNG with chunks of 4 KB stays below."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A still image. Width and height are as stored, before `orientation` is applied."""

    kind: Kind
    width: int
    height: int
    orientation: int = 1
    """EXIF orientation, 1 to 8; 1 is upright."""
    has_alpha: bool = field(default=False, compare=False)
    """True if pixels may be transparent."""
    spans: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    """Byte ranges of the picture in the file, without metadata, stray bytes and trailing data."""
    prefix: bytes = field(default=b"", compare=False, repr=False)
    suffix: bytes = field(default=b"", compare=False, repr=False)
    bitmap: Bitmap | None = field(default=None, compare=False)
    """The pixel layout of a BMP."""

    def picture_bytes(self, data: bytes) -> bytes:
        """Return the file to decode instead of `data`: the same picture and nothing else."""
        return b"".join([self.prefix, *(data[start:end] for start, end in self.spans), self.suffix])


class Spans(list[tuple[int, int]]):
    """Byte ranges in file order. Adjacent ranges are merged."""

    def add(self, start: int, end: int) -> None:
        """Append the range from `start` to `end`."""
        if self and self[-1][1] == start:
            start = self.pop()[0]
        self.append((start, end))


def reject(kind: Kind, reason: str) -> NoReturn:
    """Raise `invalid_image`: the file is of a supported type but damaged."""
    raise ImageError(ErrorCode.INVALID_IMAGE, f"The {kind.upper()} image is not valid: {reason}.")


def reject_type(what: str) -> NoReturn:
    """Raise `unsupported_image_type`. `what` names the type with its article."""
    raise ImageError(
        ErrorCode.UNSUPPORTED_IMAGE_TYPE, f"The file is {what}; JPEG, PNG, WebP and BMP images are supported."
    )


def reject_animation(what: str) -> NoReturn:
    """Raise `animated_image`: the file has several frames."""
    raise ImageError(ErrorCode.ANIMATED_IMAGE, f"The image is {what}; send a still image.")


def u16le(data: bytes, at: int) -> int:
    """Read a little-endian number of two bytes. Missing bytes count as zero, here and below."""
    return int.from_bytes(data[at : at + 2], "little")


def u24le(data: bytes, at: int) -> int:
    """Read a little-endian number of three bytes."""
    return int.from_bytes(data[at : at + 3], "little")


def u32le(data: bytes, at: int) -> int:
    """Read a little-endian number of four bytes."""
    return int.from_bytes(data[at : at + 4], "little")


def u16be(data: bytes, at: int) -> int:
    """Read a big-endian number of two bytes."""
    return int.from_bytes(data[at : at + 2], "big")


def u32be(data: bytes, at: int) -> int:
    """Read a big-endian number of four bytes."""
    return int.from_bytes(data[at : at + 4], "big")

"""The result of an inspection, and the errors and helpers that all formats share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from shared.errors import ErrorCode, ImageError
from shared.image_header.bitmap import Bitmap

Kind = Literal["jpeg", "png", "webp", "bmp"]
CheckSize = Callable[[int, int], None]
"""Called with width and height as soon as they are known; raises where they exceed the limits."""

MAX_SIDE: Final = 65_535
"""Pixels; JPEG's own limit. OpenCV rejects far wider images whatever their area."""
MAX_PIECES: Final = 20_000
"""PNG chunks, JPEG segments or WebP chunks in one file; a 64 MB PNG of 4 KB chunks stays below."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One still image. Width and height are as stored: `orientation` is not applied to them."""

    kind: Kind
    width: int
    height: int
    orientation: int = 1
    """EXIF orientation, 1 to 8; 1 is upright."""
    has_alpha: bool = field(default=False, compare=False)
    """Whether pixels may be transparent."""
    spans: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    """Where the bytes of the picture are in the file: no metadata, no stray bytes, nothing behind its end."""
    prefix: bytes = field(default=b"", compare=False, repr=False)
    suffix: bytes = field(default=b"", compare=False, repr=False)
    bitmap: Bitmap | None = field(default=None, compare=False)
    """The pixel layout of a BMP."""

    def picture_bytes(self, data: bytes) -> bytes:
        """The file that a decoder should read in place of `data`: the same picture and nothing else."""
        return b"".join([self.prefix, *(data[start:end] for start, end in self.spans), self.suffix])


class Spans(list[tuple[int, int]]):
    """Byte ranges in file order; adjacent ones are joined."""

    def add(self, start: int, end: int) -> None:
        """Add the range from `start` up to `end`."""
        if self and self[-1][1] == start:
            start = self.pop()[0]
        self.append((start, end))


def reject(kind: Kind, reason: str) -> NoReturn:
    """The file is of a supported kind, but damaged."""
    raise ImageError(ErrorCode.INVALID_IMAGE, f"The {kind.upper()} image is not valid: {reason}.")


def reject_type(what: str) -> NoReturn:
    """The file is of another kind; `what` names it with its article."""
    raise ImageError(
        ErrorCode.UNSUPPORTED_IMAGE_TYPE, f"The file is {what}; JPEG, PNG, WebP and BMP images are supported."
    )


def reject_animation(what: str) -> NoReturn:
    """The file has several frames."""
    raise ImageError(ErrorCode.ANIMATED_IMAGE, f"The image is {what}; send one still picture.")


def u16le(data: bytes, at: int) -> int:
    """Little-endian number of two bytes; missing bytes count as zero, as in all of these."""
    return int.from_bytes(data[at : at + 2], "little")


def u24le(data: bytes, at: int) -> int:
    """Little-endian number of three bytes."""
    return int.from_bytes(data[at : at + 3], "little")


def u32le(data: bytes, at: int) -> int:
    """Little-endian number of four bytes."""
    return int.from_bytes(data[at : at + 4], "little")


def u16be(data: bytes, at: int) -> int:
    """Big-endian number of two bytes."""
    return int.from_bytes(data[at : at + 2], "big")


def u32be(data: bytes, at: int) -> int:
    """Big-endian number of four bytes."""
    return int.from_bytes(data[at : at + 4], "big")

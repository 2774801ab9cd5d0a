"""Reads PNG files, https://www.w3.org/TR/png-3."""

from typing import Final

from shared.image_header.exif import orientation_of
from shared.image_header.header import MAX_PIECES, CheckSize, ImageHeader, Spans, reject, reject_animation, u32be
from shared.image_header.trailer import check_trailer

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER_END: Final = 33
_PICTURE: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
"""The chunks that define the pixels. Decoders also unpack texts and profiles: 3 GB from a file of 3 MB."""
_WITH_ALPHA: Final = frozenset({4, 6})


def read_png(data: bytes, check_size: CheckSize) -> ImageHeader:  # noqa: RET503 - reject never returns
    """Walk the chunks up to IEND."""
    if len(data) < _HEADER_END or data[8:16] != b"\0\0\0\x0dIHDR":
        reject("png", "its header is damaged or truncated")
    width, height = u32be(data, 16), u32be(data, 20)
    check_size(width, height)
    spans, at, names, exif = Spans([(0, _HEADER_END)]), _HEADER_END, set[bytes](), b""
    for _ in range(MAX_PIECES):
        size, name = u32be(data, at), data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            reject("png", "it is truncated")
        if name in _PICTURE:
            spans.add(at, end)
        if name == b"IEND":
            if b"IDAT" not in names:
                reject("png", "it has no pixels")
            check_trailer(data, end, kind="png")
            return ImageHeader(
                "png",
                width,
                height,
                orientation_of(exif),
                has_alpha=data[25] in _WITH_ALPHA or b"tRNS" in names,
                spans=tuple(spans),
            )
        if name == b"fdAT" or (name == b"acTL" and u32be(data, at + 8) != 1):
            reject_animation("an animated PNG")
        if name == b"eXIf" and name not in names:
            exif = data[at + 8 : end - 4]
        names.add(name)
        at = end
    reject("png", f"it has more than {MAX_PIECES} chunks")

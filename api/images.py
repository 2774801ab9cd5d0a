"""What a file says it is, read from its header: nothing is decoded, every read is bounded."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from shared.errors import ErrorCode, ImageError

Kind = Literal["jpeg", "png", "webp", "bmp"]

MAX_SIDE: Final = 65_535
"""Pixels; JPEG's own limit. OpenCV refuses far wider images whatever their area."""
MAX_PIECES: Final = 20_000
"""PNG chunks, JPEG segments or WebP chunks in one file; a 64 MB PNG of 4 KB chunks stays below."""
MAX_SCANS: Final = 100
"""Scans of a progressive JPEG; encoders write about 10, and each one costs the decoder a whole picture."""
PADDING: Final = b"\0\t\n\r "
"""Bytes after the end that hold nothing; some cameras and tools round a file up."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the header says. Width and height are as stored: EXIF orientation is not applied."""

    kind: Kind
    width: int
    height: int


def inspect_image(data: bytes, *, max_bytes: int, max_pixels: int) -> ImageHeader:
    """Check that `data` is one whole still image of a kind and size that we take, without decoding it.

    Raises:
        ImageError: `empty_image`, `image_too_large`, `unsupported_image_type`, `animated_image`,
            `image_dimensions_too_large`, or `invalid_image` for damaged, cut off or two-faced files.
    """
    if not data:
        raise ImageError(ErrorCode.EMPTY_IMAGE, "The image is empty: it has no bytes.")
    if len(data) > max_bytes:
        raise ImageError(ErrorCode.IMAGE_TOO_LARGE, f"The image has {len(data)} bytes; at most {max_bytes} are taken.")
    kind = _kind(data)
    measure, complete = _READERS[kind]
    width, height = measure(data)
    if width < 1 or height < 1:
        _refuse(kind, "its header says that a side has no pixels")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
        raise ImageError(
            ErrorCode.IMAGE_DIMENSIONS_TOO_LARGE,
            f"The image is {width} x {height} pixels; at most {max_pixels} pixels and {MAX_SIDE} on a side are taken.",
        )
    complete(data)
    return ImageHeader(kind=kind, width=width, height=height)


def _refuse(kind: Kind, reason: str) -> NoReturn:
    raise ImageError(ErrorCode.INVALID_IMAGE, f"The {kind.upper()} image is not valid: {reason}.")


def _refuse_kind(what: str) -> NoReturn:
    raise ImageError(
        ErrorCode.UNSUPPORTED_IMAGE_TYPE, f"This looks like {what}; JPEG, PNG, WebP and BMP images are taken."
    )


def _refuse_animation(what: str) -> NoReturn:
    raise ImageError(ErrorCode.ANIMATED_IMAGE, f"The image is {what}; send one still picture.")


# --- which kind ---------------------------------------------------------------------------------------------------

_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
_LOOKS: Final = (
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "a TIFF or a camera's raw file"),
    (re.compile(rb".{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "an AVIF picture"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "a video"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL picture"),
    (re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "), "a JPEG 2000 picture"),
    (re.compile(rb"\0\0[\x01\x02]\0"), "an icon"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"\x1aE\xdf\xa3|RIFF.{4}AVI ", re.DOTALL), "a video"),
    (re.compile(rb"data:image/"), "a data URL: send the bytes behind the comma"),
    (
        re.compile(rb"\s*(<\?xml[^>]{0,200}>\s*)?(<!--.{0,500}?-->\s*)?(<!DOCTYPE svg[^>]{0,300}>\s*)?<svg", re.DOTALL),
        "an SVG drawing",
    ),
    (re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE), "a web page"),
)
_TEXT_SAMPLE: Final = 512
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def _kind(data: bytes) -> Kind:
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and len(data) >= _BMP_LEAST and _u32le(data, 14) in _BMP_HEADERS:
        return "bmp"
    head = data[:1024]
    for pattern, what in _LOOKS:
        if pattern.match(head):
            _refuse_kind(what)
    sample = head[:_TEXT_SAMPLE]
    if not _CONTROL.search(sample) and sample.decode("utf-8", "replace").count("\ufffd") <= 1:
        _refuse_kind("text")
    if data[:2] == b"\xff\xd8" or b"\x89PNG".startswith(data[:4]) or b"PNG\r\n\x1a\n" in data[:12]:
        raise ImageError(ErrorCode.INVALID_IMAGE, "The image is not valid: its first bytes are damaged or missing.")
    _refuse_kind("no kind of file that is known here")


def _u16be(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _u32be(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _u24le(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _u32le(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _nothing_after(data: bytes, end: int, *, kind: Kind) -> None:
    if data[end:].strip(PADDING):
        _refuse(kind, f"{len(data) - end} bytes follow its end")


# --- PNG, https://www.w3.org/TR/png-3 -----------------------------------------------------------------------------

_PNG_HEADER_END: Final = 33


def _measure_png(data: bytes) -> tuple[int, int]:
    if len(data) < _PNG_HEADER_END or data[8:16] != b"\0\0\0\x0dIHDR":
        _refuse("png", "its header is damaged or cut off")
    return _u32be(data, 16), _u32be(data, 20)


def _complete_png(data: bytes) -> None:
    at, pixels = _PNG_HEADER_END, False
    for _ in range(MAX_PIECES):
        size, name = _u32be(data, at), data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            _refuse("png", "it is cut off")
        if name == b"IEND":
            if not pixels:
                _refuse("png", "it has no pixels")
            _nothing_after(data, end, kind="png")
            return
        if name == b"acTL" and _u32be(data, at + 8) != 1:
            _refuse_animation("an animated PNG")
        pixels = pixels or name == b"IDAT"
        at = end
    _refuse("png", f"it has more than {MAX_PIECES} chunks")


# --- JPEG, ITU-T T.81 annex B -------------------------------------------------------------------------------------

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_TAKEN: Final = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended sequential and progressive, all Huffman coded: what browsers and cameras use."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_IN_SCAN: Final = re.compile(rb"\xff[\xc4\xd9-\xdd\xe0-\xef\xfe]")
"""The markers that may follow a scan. Stuffed zeros, restarts and fill bytes are skipped; the search is linear."""


def _jpeg_segment(data: bytes, at: int) -> tuple[int, int, int]:
    """The marker at or after `at`: its code, where its payload begins and where the segment ends."""
    start = at
    while data[at : at + 1] == b"\xff" and at - start < MAX_PIECES:
        at += 1
    if at == start or at >= len(data):
        _refuse("jpeg", "it is damaged or cut off before its pixels")
    code = data[at]
    if code in _ALONE:
        return code, at + 1, at + 1
    if code in {0x00, 0xFF, _SOI, _EOI}:
        _refuse("jpeg", "it ends before its pixels" if code == _EOI else "a marker is damaged")
    end = at + 1 + _u16be(data, at + 1)
    if end < at + 3 or end > len(data):
        _refuse("jpeg", "it is damaged or cut off before its pixels")
    return code, at + 3, end


def _measure_jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(MAX_PIECES):
        code, payload, end = _jpeg_segment(data, at)
        if code in _FRAMES:
            if code not in _TAKEN:
                _refuse_kind("a lossless, hierarchical or arithmetic-coded JPEG")
            if end - payload < 6:  # noqa: PLR2004 - precision, height, width, components
                _refuse("jpeg", "its frame header is too short")
            if data[payload] != 8:  # noqa: PLR2004 - bits per sample
                _refuse_kind(f"a JPEG with {data[payload]} bits per sample")
            return _u16be(data, payload + 3), _u16be(data, payload + 1)
        if code == _SOS:
            _refuse("jpeg", "its pixels come before their size")
        at = end
    _refuse("jpeg", f"it has more than {MAX_PIECES} segments")


def _complete_jpeg(data: bytes) -> None:
    at, scans, frames = 2, 0, 0
    for _ in range(MAX_PIECES):
        if scans:
            found = _IN_SCAN.search(data, at)
            if found is None:
                _refuse("jpeg", "it is cut off")
            at = found.start()
            if data[at + 1] == _EOI:
                _check_trailer(data, at + 2)
                return
        code, _, at = _jpeg_segment(data, at)
        scans += code == _SOS
        frames += code in _FRAMES
        if scans > MAX_SCANS or frames > 1:
            _refuse("jpeg", f"it has more than {MAX_SCANS} scans or more than one frame")
    _refuse("jpeg", f"it has more than {MAX_PIECES} segments")


_FOREIGN: Final = (
    *(b"%pdf-", b"<?php", b"<script", b"<html", b"<!doctype html", b"this program cannot be run in dos mode"),
    *(b"rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"),
    *(b"\x7felf\x01\x01\x01", b"\x7felf\x01\x02\x01", b"\x7felf\x02\x01\x01", b"\x7felf\x02\x02\x01"),
)
"""In lower case, and long enough not to turn up by chance in the megabytes of a motion video."""
_FOREIGN_START: Final = (b"PK\x03\x04", b"PK\x05\x06", b"MZ", b"#!/", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_ZIP_TAIL: Final = 65_535 + 22


def _check_trailer(data: bytes, end: int) -> None:
    """Phones append previews, depth maps and motion videos after the picture: those stay, other formats do not."""
    trailer = data[end:].lstrip(PADDING)
    if not trailer:
        return
    lowered = trailer.lower()
    directory = trailer.rfind(b"PK\x05\x06", max(0, len(trailer) - _ZIP_TAIL))
    is_zip = directory >= 0 and directory + 22 + int.from_bytes(
        trailer[directory + 20 : directory + 22], "little"
    ) == len(trailer)
    if is_zip or trailer.startswith(_FOREIGN_START) or any(sign in lowered for sign in _FOREIGN):
        _refuse("jpeg", "a file of another kind is hidden behind its end")


# --- WebP, RFC 9649 -----------------------------------------------------------------------------------------------

_WEBP_ANIMATION: Final = 0x02


def _measure_webp(data: bytes) -> tuple[int, int]:
    name = data[12:16]
    if name == b"VP8X":
        if len(data) < 30:  # noqa: PLR2004 - RIFF header, chunk header, 10 bytes
            _refuse("webp", "it is cut off")
        return _u24le(data, 24) + 1, _u24le(data, 27) + 1
    return _measure_webp_frame(data, 12)


def _measure_webp_frame(data: bytes, at: int) -> tuple[int, int]:
    name, payload = data[at : at + 4], data[at + 8 : at + 18]
    if name == b"VP8 " and len(payload) == 10 and payload[3:6] == b"\x9d\x01\x2a" and not payload[0] & 1:  # noqa: PLR2004
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(payload) >= 5 and payload[0] == 0x2F:  # noqa: PLR2004 - signature and 28 bits
        bits = _u32le(payload, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    _refuse("webp", "its frame header is damaged or cut off")


def _complete_webp(data: bytes) -> None:
    end = 8 + _u32le(data, 4)
    if end > len(data):
        _refuse("webp", "it is cut off")
    if data[12:16] == b"VP8X" and data[20] & _WEBP_ANIMATION:
        _refuse_animation("an animated WebP")
    at, frame = 12, None
    for _ in range(MAX_PIECES):
        if at + 8 > end:
            break
        name, size = data[at : at + 4], _u32le(data, at + 4)
        if at + 8 + size > end:
            _refuse("webp", "it is cut off")
        if name in {b"ANIM", b"ANMF"}:
            _refuse_animation("an animated WebP")
        if name in {b"VP8 ", b"VP8L"} and frame is None:
            frame = _measure_webp_frame(data, at)
        at += 8 + size + (size & 1)
    if frame is None:
        _refuse("webp", "it has no pixels")
    if frame != _measure_webp(data):
        _refuse("webp", "its two headers differ on its size")
    _nothing_after(data, end, kind="webp")


# --- BMP, [MS-WMF] 2.2.2 ------------------------------------------------------------------------------------------

_BMP_LEAST: Final = 26
_BMP_CORE: Final = 12
_BMP_DEPTHS: Final = frozenset({1, 4, 8, 16, 24, 32})
_BMP_PLAIN: Final = frozenset({0, 3, 6})
_BMP_RUNS: Final = frozenset({1, 2})


def _measure_bmp(data: bytes) -> tuple[int, int]:
    header = _u32le(data, 14)
    if len(data) < 14 + header:
        _refuse("bmp", "its header is cut off")
    if header == _BMP_CORE:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # a negative height is a picture stored from the top


def _complete_bmp(data: bytes) -> None:
    header, declared, pixels = _u32le(data, 14), _u32le(data, 2), _u32le(data, 10)
    core = header == _BMP_CORE
    depth = int.from_bytes(data[24:26] if core else data[28:30], "little")
    packing = 0 if core else _u32le(data, 30)
    if depth not in _BMP_DEPTHS:
        _refuse("bmp", "its colour depth is none that exists")
    if packing not in _BMP_PLAIN | _BMP_RUNS:
        _refuse_kind("a BMP that wraps another image")
    width, height = _measure_bmp(data)
    needed = pixels + (width * depth + 31) // 32 * 4 * height if packing in _BMP_PLAIN else pixels + 1
    if pixels < 14 + header or needed > len(data) or declared > len(data):
        _refuse("bmp", "it is cut off, or its pixels are not where its header says")
    _nothing_after(data, max(needed if packing in _BMP_PLAIN else declared or len(data), declared), kind="bmp")


_READERS: Final[dict[Kind, tuple[Callable[[bytes], tuple[int, int]], Callable[[bytes], None]]]] = {
    "jpeg": (_measure_jpeg, _complete_jpeg),
    "png": (_measure_png, _complete_png),
    "webp": (_measure_webp, _complete_webp),
    "bmp": (_measure_bmp, _complete_bmp),
}

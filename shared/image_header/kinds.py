"""Recognizes the type of a file by its first bytes. File name and `Content-Type` are ignored."""

import re
from typing import Final, NoReturn

from shared.errors import ErrorCode, ImageError
from shared.image_header.bmp import HEADERS, LEAST
from shared.image_header.header import Kind, reject_type, u32be, u32le
from shared.image_header.png import SIGNATURE

_LOOKS: Final = (
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"II\*\0.{4}CR", re.DOTALL), "a Canon raw photo (CR2)"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "a TIFF or a camera's raw photo"),
    (re.compile(rb"FUJIFILMCCD-RAW"), "a Fujifilm raw photo (RAF)"),
    (re.compile(rb"II(RO|RS|U\0)"), "a camera's raw photo"),
    (re.compile(rb"II\xbc"), "a JPEG XR image"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL image"),
    (re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "), "a JPEG 2000 image"),
    (re.compile(rb"\0\0[\x01\x02]\0"), "an icon"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"gimp xcf"), "a GIMP file"),
    (re.compile(rb"qoif"), "a QOI image"),
    (re.compile(rb"P[1-7]\s"), "a Netpbm image (PBM, PGM, PPM)"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"), "a PostScript file"),
    (re.compile(rb".{128}DICM", re.DOTALL), "a DICOM image"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"\x1aE\xdf\xa3|RIFF.{4}AVI ", re.DOTALL), "a video"),
    (re.compile(rb"data:image/"), "a data URL: send only the part after the comma"),
    (
        re.compile(rb"\s*(<\?xml[^>]{0,200}>\s*)?(<!--.{0,500}?-->\s*)?(<!DOCTYPE svg[^>]{0,300}>\s*)?<svg", re.DOTALL),
        "an SVG drawing",
    ),
    (re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE), "a web page"),
)
_BRANDS: Final = (
    ({b"crx "}, "a Canon raw photo (CR3)"),
    ({b"avif", b"avis"}, "an AVIF image"),
    ({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}, "a HEIC image"),
    ({b"mif1", b"mif2", b"msf1", b"miaf"}, "a HEIF image"),
)
"""ISO/IEC 14496-12, 4.3: a file lists its compatible brands in any order. The first matching row names the type."""
_TEXT_SAMPLE: Final = 512
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def kind_of(data: bytes) -> Kind:  # noqa: RET503 - reject never returns
    """Return which of the four supported types the file is.

    Raises:
        ImageError: `unsupported_image_type`, naming the type if known; `invalid_image` if the first bytes are damaged.
    """
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == SIGNATURE:
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and len(data) >= LEAST and u32le(data, 14) in HEADERS:
        return "bmp"
    _reject_other(data[:1024])


def _reject_other(head: bytes) -> NoReturn:
    if head[4:8] == b"ftyp":
        reject_type(_container(head))
    for pattern, what in _LOOKS:
        if pattern.match(head):
            reject_type(what)
    sample = head[:_TEXT_SAMPLE]
    if not _CONTROL.search(sample) and sample.decode("utf-8", "replace").count("\ufffd") <= 1:
        reject_type("text")
    if head[:2] == b"\xff\xd8" or b"\x89PNG".startswith(head[:4]) or b"PNG\r\n\x1a\n" in head[:12]:
        raise ImageError(ErrorCode.INVALID_IMAGE, "The image is not valid: its first bytes are damaged or missing.")
    reject_type("of an unknown type")


def _container(head: bytes) -> str:
    end = min(u32be(head, 0), 256)
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    return next((what for names, what in _BRANDS if names & brands), "a video")

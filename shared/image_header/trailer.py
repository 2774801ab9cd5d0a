"""Checks the bytes after the end of a picture: they are ignored unless they are a file of another type."""

from typing import Final

from shared.image_header.header import Kind, reject

_PADDING: Final = b"\0\t\n\r "
_FOREIGN: Final = (
    *(b"%pdf-", b"<?php", b"<script", b"<html", b"<!doctype html", b"this program cannot be run in dos mode"),
    *(b"rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"),
    *(b"\x7felf\x01\x01\x01", b"\x7felf\x01\x02\x01", b"\x7felf\x02\x01\x01", b"\x7felf\x02\x02\x01"),
)
"""In lower case, and long enough not to occur by chance in the megabytes of a motion video."""
_FOREIGN_START: Final = (b"PK\x03\x04", b"PK\x05\x06", b"MZ", b"#!/", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_ZIP_TAIL: Final = 65_535 + 22


def check_trailer(data: bytes, end: int, *, kind: Kind) -> None:
    """Reject a picture that is followed by a document, a program or an archive.

    Phones append previews, depth maps and motion videos; editors leave the rest of a larger file after a crop. Viewers
    ignore such bytes, and the decoders here never see them.
    """
    trailer = data[end:].lstrip(_PADDING)
    if not trailer:
        return
    lowered = trailer.lower()
    directory = trailer.rfind(b"PK\x05\x06", max(0, len(trailer) - _ZIP_TAIL))
    is_zip = directory >= 0 and directory + 22 + int.from_bytes(
        trailer[directory + 20 : directory + 22], "little"
    ) == len(trailer)
    if is_zip or trailer.startswith(_FOREIGN_START) or any(signature in lowered for signature in _FOREIGN):
        reject(kind, "a file of another type is hidden after its end")

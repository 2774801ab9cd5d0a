"""Reads the EXIF orientation of JPEG, PNG and WebP files (EXIF 2.32, tag 0x0112; TIFF 6.0, section 2)."""

import struct
from typing import Final

PREFIX: Final = b"Exif\0\0"
"""Starts the EXIF segment of a JPEG. It does not belong in PNG and WebP, but many tools write it there."""
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_ORIENTATION: Final = 0x0112
_WHOLE_NUMBERS: Final = {3: "H", 4: "I", 8: "h", 9: "i"}
"""TIFF types: SHORT, which the standard requires, LONG, and the signed ones. Pillow reads no others either."""


def orientation_of(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8, with or without the prefix; 1 if there is none or it is damaged.

    Only the main directory (IFD0) counts; a thumbnail may have another orientation.
    """
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    order = _ORDERS.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, at)
            if tag == _ORIENTATION:
                number = _WHOLE_NUMBERS.get(kind)
                if number is None or values != 1:
                    return 1
                (value,) = struct.unpack_from(f"{order}{number}", exif, at + 8)
                return int(value) if 1 <= value <= 8 else 1  # noqa: PLR2004 - the defined values
    except struct.error:
        pass
    return 1

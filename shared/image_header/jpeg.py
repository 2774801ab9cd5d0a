"""Reads JPEG files, ITU-T T.81 annex B."""

import re
from dataclasses import dataclass, field
from typing import Final

from shared.image_header.exif import PREFIX, orientation_of
from shared.image_header.header import MAX_PIECES, CheckSize, ImageHeader, Spans, reject, reject_type, u16be
from shared.image_header.jpeg_scan import MAX_UNENDED, Scan
from shared.image_header.trailer import check_trailer

MAX_SCANS: Final = 100
"""Scans of a progressive JPEG. Encoders write about 10, and each costs the decoder a pass over the whole picture."""
_SOI, _EOI, _SOS, _DHT, _DRI, _APP1 = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xE1
_PROGRESSIVE: Final = 0xC2
_SUPPORTED: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
"""Baseline, extended sequential and progressive with Huffman coding: what cameras write and browsers display."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_SKIPPED: Final = frozenset({0xCC, 0xDC, *range(0xE0, 0xF0), 0xFE})
_PICTURE: Final = _SUPPORTED | {_DHT, _SOS, 0xDB, _DRI, 0xE0, 0xEE}
"""What a decoder needs: frame, tables, scans, and the segments (JFIF, Adobe) that define how colors are stored."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
"""The next marker. Fill bytes, stuffed zeros and stray bytes before it are skipped."""
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""The next marker after a scan that contains restart markers."""
_ZEROS: Final = b"\0" * 16
"""Replaces the end marker of a baseline file. libjpeg looks ahead by some bytes, which must exist. If it finds the end
marker before all pixels, it fills the rest with gray and OpenCV reports no error; without a marker it fails."""


@dataclass(slots=True)
class _Walk:
    """State of the walk through the segments."""

    spans: Spans = field(default_factory=lambda: Spans([(0, 2)]))
    frame: tuple[int, int] | None = None
    """Byte range of the frame header's payload."""
    code: int = 0
    tables: list[tuple[int, int]] = field(default_factory=list)
    interval: int = 0
    """Restart interval of the first scan."""
    restarts: bool = False
    """True if scans may have restart markers. At an unexpected one, decoders fill the rest with gray."""
    exif: bytes = b""
    scans: list[tuple[int, int]] = field(default_factory=list)
    """Byte range of each scan header's payload."""
    coded: tuple[int, int] = (0, 0)
    """Byte range of the first scan's coded pixels."""

    @property
    def one_scan(self) -> bool:
        """True if all pixels are in one sequential scan."""
        return self.code != _PROGRESSIVE and len(self.scans) == 1

    def picture(self) -> tuple[tuple[int, int], ...]:
        """Return the spans that a decoder needs. If there is only one scan, nothing after it is needed."""
        if not self.one_scan:
            return tuple(self.spans)
        last = self.coded[1]
        return tuple((start, min(end, last)) for start, end in self.spans if start < last)


def read_jpeg(data: bytes, check_size: CheckSize) -> ImageHeader:  # noqa: RET503 - reject never returns
    """Walk the segments up to the end marker."""
    walk, at, size = _Walk(), 2, (0, 0)
    for _ in range(MAX_PIECES):
        marker = (_AFTER_SCAN if walk.scans and walk.restarts else _MARKER).search(data, at)
        if walk.scans:
            end = len(data) if marker is None else marker.start()
            walk.spans.add(at, end)
            if len(walk.scans) == 1 and not walk.coded[1]:
                walk.coded = at, end
            if marker is None or data[end + 1] == _EOI:
                _check_scans(data, walk, end, ended=marker is not None)
                return ImageHeader(
                    "jpeg",
                    *size,
                    orientation_of(walk.exif),
                    spans=walk.picture(),
                    suffix=_ZEROS if walk.one_scan else b"\xff\xd9",
                )
        if marker is None:
            reject("jpeg", "it is damaged or truncated before its pixels")
        code, at = data[marker.start() + 1], marker.end()
        if code in _ALONE:
            if walk.scans:
                reject("jpeg", "a marker in its pixels is damaged")
            continue
        start, at = at + 2, _segment_end(data, at, code)
        if code in _PICTURE:
            walk.spans.add(marker.start(), at)
        if code in _FRAMES:
            size = _read_frame(data, walk, code, start, at)
            check_size(*size)
        _note(data, walk, code, start, at)
    reject("jpeg", f"it has more than {MAX_PIECES} segments")


def _segment_end(data: bytes, at: int, code: int) -> int:
    if code not in _FRAMES | _PICTURE | _SKIPPED:
        reject("jpeg", "it ends before its pixels" if code == _EOI else "a marker is damaged")
    end = at + u16be(data, at)
    if end < at + 2 or end > len(data):
        reject("jpeg", "it is damaged or truncated in a segment")
    return end


def _read_frame(data: bytes, walk: _Walk, code: int, start: int, end: int) -> tuple[int, int]:
    if code not in _SUPPORTED:
        reject_type("a lossless, hierarchical or arithmetic-coded JPEG")
    if end - start < 6 or end - start < 6 + 3 * data[start + 5]:  # noqa: PLR2004 - precision, height, width, components
        reject("jpeg", "its frame header is too short")
    if data[start] != 8:  # noqa: PLR2004 - bits per sample
        reject_type(f"a JPEG with {data[start]} bits per sample")
    if walk.frame is not None:
        reject("jpeg", "it has more than one frame")
    walk.frame, walk.code = (start, end), code
    return u16be(data, start + 3), u16be(data, start + 1)


def _note(data: bytes, walk: _Walk, code: int, start: int, end: int) -> None:
    if code == _DHT and not walk.scans:
        walk.tables.append((start, end))
    elif code == _DRI:
        interval = u16be(data, start)
        walk.interval = walk.interval if walk.scans else interval
        walk.restarts = walk.restarts or interval > 0
    elif code == _APP1 and not walk.exif and data.startswith(PREFIX, start):
        walk.exif = data[start:end]
    elif code == _SOS:
        if walk.frame is None:
            reject("jpeg", "its pixels come before their size")
        if end - start < 1 or end - start < 4 + 2 * data[start]:
            reject("jpeg", "a scan header is too short")
        walk.scans.append((start, end))
        if len(walk.scans) > MAX_SCANS:
            reject("jpeg", f"it has more than {MAX_SCANS} scans")


def _check_scans(data: bytes, walk: _Walk, end: int, *, ended: bool) -> None:
    """Check that no color is missing and, if the end marker is missing, no pixel (docs/decisions/0065)."""
    if walk.frame is None:
        reject("jpeg", "its pixels come before their size")
    start, stop = walk.frame
    colors = set(data[start + 6 : start + 6 + 3 * data[start + 5] : 3])
    stored = {number for begin, _ in walk.scans for number in data[begin + 1 : begin + 1 + 2 * data[begin] : 2]}
    if not colors or colors - stored:
        reject("jpeg", "it is truncated: a color is missing")
    if ended:
        check_trailer(data, end + 2, kind="jpeg")
        return
    at, end = walk.coded
    if not walk.one_scan:
        reject("jpeg", "it is truncated")
    if end - at > MAX_UNENDED:
        reject("jpeg", "it is truncated, or its end marker (FF D9) is missing")
    scan = Scan(data[start:stop], interval=walk.interval)
    for first, last in walk.tables:
        scan.define(data[first:last])
    begin, over = walk.scans[0]
    if not scan.is_complete(data[begin:over], data[at:end]):
        reject("jpeg", "it is truncated")

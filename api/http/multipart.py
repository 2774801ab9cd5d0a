"""Split multipart bodies into parts as they arrive. Everything stays in memory: images never reach a file."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.errors import ErrorCode, RequestError

PADDING: Final = 64
"""Spaces and tabs accepted after the first boundary (transport padding in RFC 2046)."""
_EXTENDED: Final = re.compile(rb";\s*filename\*\s*=\s*([^;\s]*)", re.IGNORECASE)
"""RFC 7578 forbids `filename*` in forms, but some clients send only that."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    data: bytes = field(repr=False)
    media_type: str = ""
    """The content type without parameters, in lower case; empty if absent."""
    charset: str = ""
    """The charset of the content type, in lower case; empty if absent."""
    transfer_encoding: str = ""
    filename: bytes | None = None
    """`filename` or `filename*` as sent, or None. Used only to tell files, texts, and empty file inputs apart."""


async def read_parts(stream: AsyncIterator[bytes], *, boundary: bytes, max_parts: int) -> list[Part]:
    """Split a body into its parts. Text before the first boundary and after the closing one is ignored.

    Args:
        stream: the body.
        boundary: the boundary from the content type.
        max_parts: the maximum number of parts.

    Raises:
        RequestError: `malformed_form` if the body is not a form or ends before its closing boundary;
            `invalid_request` if it has too many parts.
    """
    if not boundary:
        detail = "The Content-Type header has no boundary. Let your HTTP library set the whole header."
        raise RequestError(ErrorCode.MALFORMED_FORM, detail)
    collector = _Collector(max_parts)
    preamble = _Preamble(boundary)
    try:
        parser = collector.parser(boundary)
        async for chunk in stream:
            for piece in preamble.strip(chunk):
                parser.write(piece)
    except FormParserError:
        raise RequestError(ErrorCode.MALFORMED_FORM, "The body is not valid multipart/form-data.") from None
    if not preamble.passed:
        detail = "The body does not contain the boundary named in its Content-Type header."
        raise RequestError(ErrorCode.MALFORMED_FORM, detail)
    if not collector.complete:
        detail = "The body ends before its closing boundary. Send the whole form again."
        raise RequestError(ErrorCode.MALFORMED_FORM, detail)
    return collector.parts


class _Preamble:
    """Drops the text before the first boundary, which RFC 2046 allows and some mail libraries write."""

    def __init__(self, boundary: bytes) -> None:
        self.passed = False
        self._first = b"--" + boundary
        ending = rb"(?:[ \t]{0,%d}\r\n|(?P<end>--))" % PADDING
        self._pattern = re.compile(rb"(?:\A|\n)" + re.escape(self._first) + ending)
        self._overlap = len(self._first) + PADDING + 3
        self._buffer = bytearray()

    def strip(self, chunk: bytes) -> tuple[bytes, ...]:
        """Return the bytes to parse from this chunk and from earlier chunks held back."""
        if self.passed:
            return (chunk,)
        start = max(0, len(self._buffer) - self._overlap)
        self._buffer += chunk
        match = self._pattern.search(self._buffer, start)
        if match is None:
            return ()
        self.passed = True
        rest = bytes(self._buffer[match.end() :])
        self._buffer.clear()
        return (self._first + (b"--" if match["end"] else b"\r\n"), rest)


@dataclass
class _Open:
    """The part being read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


class _Collector:
    """Receives the parser's events."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_parts = max_parts
        self._open = _Open()
        self._header = bytearray()
        self._value = bytearray()

    def parser(self, boundary: bytes) -> MultipartParser:
        """Return a parser that reports its events to this collector."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": lambda data, start, end: self._open.data.extend(memoryview(data)[start:end]),
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def _begin(self) -> None:
        self._open = _Open()
        if len(self.parts) >= self._max_parts:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"The form has more than {self._max_parts} parts.")

    def _end_header(self) -> None:
        self._open.headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end(self) -> None:
        disposition = self._open.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            detail = "A part of the form has no name in its Content-Disposition header."
            raise RequestError(ErrorCode.MALFORMED_FORM, detail)
        kind, parameters = parse_options_header(self._open.headers.get(b"content-type", b""))
        encoding = self._open.headers.get(b"content-transfer-encoding", b"")
        extended = _EXTENDED.search(disposition)
        self.parts.append(
            Part(
                name=options[b"name"].decode("utf-8", "replace"),
                data=bytes(self._open.data),
                media_type=kind.decode("latin-1"),
                charset=parameters.get(b"charset", b"").decode("latin-1").lower(),
                transfer_encoding=encoding.decode("latin-1").strip().lower(),
                filename=options.get(b"filename", extended and extended[1]),
            )
        )
        self._open = _Open()

    def _finish(self) -> None:
        self.complete = True

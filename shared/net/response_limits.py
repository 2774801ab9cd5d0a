"""Limits the cost of a response by counting its bytes before a parser sees them."""

import re
import ssl
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import httpcore
from anyio.lowlevel import checkpoint

MOST_HEAD: Final = 32 * 1024
"""Maximum size of a response head in bytes, including informational responses (1xx) before it."""
MOST_INFORMATIONAL: Final = 8
"""Maximum number of informational responses before the final one."""
SPARE_PIECES: Final = 256
PIECE: Final = 256
"""Data may arrive in `SPARE_PIECES` pieces plus one for each `PIECE` bytes. Each piece costs a run of the parser,
however short it is."""
READ: Final = 16 * 1024
"""Maximum bytes per read, so that one response never blocks the event loop for long."""

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_INFORMATIONAL: Final = re.compile(rb"HTTP/\d\.\d 1(?!01)\d\d")


def too_many_pieces(pieces: int, size: int) -> bool:
    """Return whether the data arrived in more pieces than an honest sender would produce."""
    return pieces > SPARE_PIECES + size // PIECE


def _refuse(why: str) -> NoReturn:
    raise httpcore.RemoteProtocolError(why)


class ResponseMeter:
    """Counts the bytes of one response.

    Args:
        most: maximum size of the whole response in bytes, including head and framing.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._size = 0
        self._reads = 0
        self._informational = 0
        self._head: bytearray | None = bytearray()
        """Bytes of the current head; None after the final head."""
        self._heads = 0

    def count(self, data: bytes) -> None:
        """Count the bytes of one read.

        Raises:
            httpcore.RemoteProtocolError: the response exceeds a limit.
        """
        self._size += len(data)
        self._reads += 1
        if self._size > self._most:
            _refuse("response too large")
        if too_many_pieces(self._reads, self._size):
            _refuse("response in too many pieces")
        if self._head is not None:
            self._count_head(data)

    def _count_head(self, data: bytes) -> None:
        head = self._head or bytearray()
        begin = max(0, len(head) - 2)
        head += data
        while (end := _BLANK_LINE.search(head, begin)) is not None:
            if _INFORMATIONAL.match(head) is None:
                self._check_head(end.end())
                self._head = None
                return
            self._informational += 1
            if self._informational > MOST_INFORMATIONAL:
                _refuse("too many informational responses")
            self._heads += end.end()
            del head[: end.end()]
            begin = 0
        self._check_head(len(head))
        self._head = head

    def _check_head(self, size: int) -> None:
        if self._heads + size > MOST_HEAD:
            _refuse("response head too large")


class MeteredStream(httpcore.AsyncNetworkStream):
    """A connection for one request that counts the response as it is read."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: ResponseMeter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        """Read a piece, after letting other tasks run."""
        await checkpoint()
        data = await self._stream.read(min(max_bytes, READ), timeout)
        self._meter.count(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of the buffer."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the same connection over TLS. From now on the decrypted bytes are counted."""
        return MeteredStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._meter)

    def get_extra_info(self, info: str) -> Any:
        """Return information on the underlying connection."""
        return self._stream.get_extra_info(info)


class MeteredNetwork(httpcore.AsyncNetworkBackend):
    """Makes connections for one request, whose responses one meter counts."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, meter: ResponseMeter) -> None:
        self._network = network
        self._meter = meter

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect, and count what is read."""
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return MeteredStream(stream, self._meter)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)

"""One download: a host's addresses are checked, and one of those is connected to, with a cap on size and time."""

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn

import anyio
import httpcore
from anyio import to_thread

from api import addresses
from api.addresses import Address
from api.url_policy import ImageUrl
from shared.errors import ErrorCode, FetchError, ImageError

CONNECT: Final = 3.0
"""Seconds for each address of a host."""
MOST_ADDRESSES: Final = 4
"""Addresses of one host that are tried; all that it has are checked."""
OK: Final = 200
LATER: Final = frozenset({408, 425, 429})
"""Statuses that say: not now. So do all from 500."""
HEADERS: Final = (
    ("Accept", "image/jpeg, image/png, image/webp, image/bmp"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
    ("User-Agent", "vultus"),
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to all of its addresses, as texts. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every download of a process."""

    tls: ssl.SSLContext
    most_bytes: int
    within: timedelta
    private_too: bool
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend


async def look_up(host: str, port: int) -> Sequence[str]:
    """Every address of a host, by the system's resolver, in a thread: it blocks, and cannot be told to stop."""

    def ask() -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return await to_thread.run_sync(ask, abandon_on_cancel=True)


async def download(url: ImageUrl, *, terms: Terms) -> bytes:
    """The bytes at this address, at most `most_bytes` of them, within the time.

    The host is looked up once. If any of its addresses is not open, none is connected to; else the connection goes to
    one of those that were checked, and TLS asks for a certificate of the host's name. Nothing is followed,
    decompressed, remembered, or sent through a proxy of the environment.

    Raises:
        FetchError: `image_url_refused` where the address leads to a closed network; `image_unreachable`.
        ImageError: `image_too_large`.
    """
    with anyio.move_on_after(terms.within.total_seconds()) as time:
        data = await _get(url, await _checked(url, terms), terms)
    if time.cancelled_caught:
        _give_up(f"The fetch took longer than {terms.within.total_seconds():g} s.", retryable=True)
    return data


async def _checked(url: ImageUrl, terms: Terms) -> Sequence[Address]:
    try:
        found = await terms.resolve(url.host, url.port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        _give_up("The host's name could not be resolved.", retryable=True)
    try:
        checked = list(dict.fromkeys(map(addresses.read, found)))
    except ValueError:
        checked = []
    if not checked or not all(addresses.is_open(address, private_too=terms.private_too) for address in checked):
        raise FetchError(
            ErrorCode.IMAGE_URL_REFUSED, "The image's address leads to a network that is closed.", retryable=False
        )
    return checked[:MOST_ADDRESSES]


async def _get(url: ImageUrl, checked: Sequence[Address], terms: Terms) -> bytes:
    host = f"[{url.host}]" if ":" in url.host else url.host
    connection = httpcore.AsyncHTTPConnection(
        origin=httpcore.Origin(url.scheme.encode(), host.encode(), url.port),
        ssl_context=terms.tls,
        network_backend=Pinned(checked, terms.network),
    )
    target = httpcore.URL(scheme=url.scheme, host=host, port=url.port, target=url.target)
    extensions = {"timeout": {"connect": CONNECT}, "sni_hostname": url.host}
    try:
        async with (
            connection,
            connection.stream("GET", target, headers=list(HEADERS), extensions=extensions) as answer,
        ):
            return await _read(answer, most=terms.most_bytes)
    except httpcore.ConnectTimeout:
        _give_up("The host did not take the connection in time.", retryable=True)
    except httpcore.ConnectError as error:
        why = "has no TLS certificate that holds" if isinstance(error.__cause__, ssl.SSLError) else "took no connection"
        _give_up(f"The host {why}.", retryable=True)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        _give_up("The host broke off, or did not speak HTTP.", retryable=True)


async def _read(answer: httpcore.Response, *, most: int) -> bytes:
    status = answer.status
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        _give_up("The host answered with a redirect; none is followed.", retryable=False)
    if status != OK:
        retryable = status in LATER or status >= 500  # noqa: PLR2004 - server errors
        _give_up(f"The host answered with status {status} instead of 200.", retryable=retryable)
    for name, value in answer.headers:
        if name.lower() == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            _give_up("The host sent the image compressed, though not asked to.", retryable=False)
        if name.lower() == b"content-length" and int(value) > most:
            raise _too_large(most)
    held = bytearray()
    async for part in answer.aiter_stream():
        held += part
        if len(held) > most:
            raise _too_large(most)
    return bytes(held)


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the first of these addresses that takes the connection, whatever the host's name is."""

    def __init__(self, checked: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        self._checked = checked
        self._network = network

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - it was looked up once, and is not again
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the addresses."""
        *others, last = self._checked
        for address in others:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(last), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


def _give_up(detail: str, *, retryable: bool) -> NoReturn:
    raise FetchError(ErrorCode.IMAGE_UNREACHABLE, detail, retryable=retryable) from None


def _too_large(most: int) -> ImageError:
    return ImageError(ErrorCode.IMAGE_TOO_LARGE, f"The image has more than {most} bytes.")

"""Requests to hosts that others name: looked up once, every address checked, and one of those connected to."""

import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final

import anyio
import httpcore
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from shared.net import addresses
from shared.net.addresses import Address, Network
from shared.net.response_limits import MeteredNetwork, ResponseMeter
from shared.net.urls import Url

CONNECT: Final = 3.0
"""Seconds for each address of a host."""
MOST_ADDRESSES: Final = 4
"""Addresses of one host that are tried; all that it has are checked."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to all of its addresses, as texts. Raises OSError."""


LOOK_UPS: Final = 512
"""Names that one event loop looks up at once. They have threads of their own: a name server that hangs, of whoever
names it, keeps no thread from the store."""
_limiter: RunVar[CapacityLimiter] = RunVar("look_ups")


class UnresolvedError(Exception):
    """The host has no address that could be found."""


class ClosedError(Exception):
    """One of the host's addresses is not open, so none of them is."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Every address of a host, by the system's resolver, in a thread: it blocks, and cannot be told to stop."""

    def ask() -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=_threads())


def _threads() -> CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        _limiter.set(limiter := CapacityLimiter(LOOK_UPS))
        return limiter


async def checked(url: Url, *, resolve: Resolve, private: Collection[Network]) -> Sequence[Address]:
    """The addresses of a URL's host that may be connected to, at most so many; all of them were checked.

    Raises:
        UnresolvedError: there are none, or they could not be found out.
        ClosedError: one of them is not open.
    """
    try:
        found = await resolve(url.host, url.port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise UnresolvedError
    try:
        known = list(dict.fromkeys(map(addresses.read, found)))
    except ValueError:
        raise ClosedError from None
    if not all(addresses.is_open(address, private=private) for address in known):
        raise ClosedError
    return known[:MOST_ADDRESSES]


def connection(
    url: Url, known: Sequence[Address], *, tls: ssl.SSLContext, network: httpcore.AsyncNetworkBackend, most: int
) -> httpcore.AsyncHTTPConnection:
    """A connection for one request, not open yet, to one of these addresses.

    TLS asks for a certificate of the host's name. A response that passes the limits of
    `shared/net/response_limits.py`, or has more than `most` bytes with its head and framing, raises
    `httpcore.RemoteProtocolError` as it is read.
    """
    return httpcore.AsyncHTTPConnection(
        origin=httpcore.Origin(url.scheme.encode(), _host(url).encode(), url.port),
        ssl_context=tls,
        network_backend=Pinned(known, MeteredNetwork(network, ResponseMeter(most=most))),
    )


def target(url: Url) -> httpcore.URL:
    """The URL as a request names it."""
    return httpcore.URL(scheme=url.scheme, host=_host(url), port=url.port, target=url.target)


def extensions(url: Url) -> dict[str, Any]:
    """What httpcore is told beside the request."""
    return {"timeout": {"connect": CONNECT}, "sni_hostname": url.host}


def _host(url: Url) -> str:
    return f"[{url.host}]" if ":" in url.host else url.host


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the first of these addresses that takes the connection, whatever the host's name is."""

    def __init__(self, known: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        self._known = known
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
        *others, last = self._known
        for address in others:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(last), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

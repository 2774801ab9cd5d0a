"""Connections to untrusted hosts: each name is resolved once, and only checked addresses are connected to."""

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
"""Connect timeout for each address of a host, in seconds."""
MOST_ADDRESSES: Final = 4
"""Maximum number of addresses per host to try. All of its addresses are checked."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host and a port to all addresses, as texts. Raises OSError."""


LOOK_UPS: Final = 512
"""Concurrent DNS lookups of one event loop. They have dedicated threads, so that a name server that hangs takes no
thread from calls to the store."""
_limiter: RunVar[CapacityLimiter] = RunVar("look_ups")


class UnresolvedError(Exception):
    """The host name cannot be resolved."""


class ClosedError(Exception):
    """One of the host's addresses is blocked, so the host is not connected to."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Resolve a host with the system's resolver, in a thread because it blocks and cannot be canceled."""

    def resolve() -> list[str]:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return await to_thread.run_sync(resolve, abandon_on_cancel=True, limiter=_threads())


def _threads() -> CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        _limiter.set(limiter := CapacityLimiter(LOOK_UPS))
        return limiter


async def checked(url: Url, *, resolve: Resolve, private: Collection[Network]) -> Sequence[Address]:
    """Resolve the host of a URL, check all of its addresses, and return those to connect to.

    Raises:
        UnresolvedError: the name has no address or cannot be resolved.
        ClosedError: one of the addresses is blocked.
    """
    try:
        texts = await resolve(url.host, url.port)
    except (OSError, UnicodeError):
        texts = []
    if not texts:
        raise UnresolvedError
    try:
        resolved = list(dict.fromkeys(map(addresses.read, texts)))
    except ValueError:
        raise ClosedError from None
    if not all(addresses.is_open(address, private=private) for address in resolved):
        raise ClosedError
    return resolved[:MOST_ADDRESSES]


def connection(
    url: Url, resolved: Sequence[Address], *, tls: ssl.SSLContext, network: httpcore.AsyncNetworkBackend, most: int
) -> httpcore.AsyncHTTPConnection:
    """Return an unopened connection for one request to one of these addresses.

    TLS verifies the certificate against the host name. A response that exceeds the limits of
    `shared/net/response_limits.py`, or `most` bytes including head and framing, raises
    `httpcore.RemoteProtocolError` while it is read.
    """
    return httpcore.AsyncHTTPConnection(
        origin=httpcore.Origin(url.scheme.encode(), _host(url).encode(), url.port),
        ssl_context=tls,
        network_backend=Pinned(resolved, MeteredNetwork(network, ResponseMeter(most=most))),
    )


def target(url: Url) -> httpcore.URL:
    """Return the URL in the form that httpcore expects."""
    return httpcore.URL(scheme=url.scheme, host=_host(url), port=url.port, target=url.target)


def extensions(url: Url) -> dict[str, Any]:
    """Return the extensions of a request: timeouts and the TLS server name."""
    return {"timeout": {"connect": CONNECT}, "sni_hostname": url.host}


def _host(url: Url) -> str:
    return f"[{url.host}]" if ":" in url.host else url.host


class Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the first of these addresses that accepts the connection. The host name is ignored."""

    def __init__(self, resolved: Sequence[Address], network: httpcore.AsyncNetworkBackend) -> None:
        self._resolved = resolved
        self._network = network

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - was resolved once, and is not resolved again
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to one of the addresses."""
        *others, last = self._resolved
        for address in others:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(last), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

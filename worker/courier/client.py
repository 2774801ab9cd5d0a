"""Make one attempt: one request to a validated address, and its response."""

import asyncio
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import httpcore

from shared.net import pinned
from shared.net.addresses import Network
from shared.net.pinned import ClosedError, Resolve, UnresolvedError
from shared.net.response_limits import MOST_HEAD, too_many_pieces
from shared.net.urls import Url, UrlError, read_webhook_url

MOST_READ: Final = 64 * 1024
"""Maximum bytes of a response body that are read."""
MOST_BYTES: Final = MOST_HEAD + 2 * MOST_READ
"""Maximum bytes of a whole response, including head and framing."""
MOST_KEPT: Final = 1024
"""Bytes of the response body kept for the log."""
OWN: Final = {"content-type": "application/json", "connection": "close", "user-agent": "vultus"}
"""Sent with every callback."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Connection settings shared by all attempts of a process."""

    tls: ssl.SSLContext
    within: timedelta
    allow_http: bool
    private: Collection[Network]
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an attempt: a status, or an error code if there is none. Both may be present."""

    milliseconds: float
    status: int | None = None
    error: str | None = None
    response: str = ""
    retry_after: float | None = None
    """Seconds."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers as sent."""

    @property
    def taken(self) -> bool:
        """Whether the receiver accepted the event."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - success


class _Failed(Exception):  # noqa: N818 - carries an error code
    """The attempt failed; the message is the error code."""


async def send(address: str, body: bytes, headers: Mapping[str, str], *, now: float, terms: Terms) -> Answer:
    """Post a body and return the outcome. Failures of the receiver or the network never raise.

    The host is resolved once, every address must be allowed, and the connection goes to one of them. Redirects are not
    followed and proxy environment variables are ignored. The status decides: once it has arrived, an incomplete
    response still succeeds or fails by its status, and the log records what went wrong.

    `now` is the current Unix time, used to interpret a date in `Retry-After`.
    """
    begin = time.monotonic()
    sent = {**OWN, **headers}
    seen = _Seen()
    error = None
    try:
        async with asyncio.timeout(terms.within.total_seconds()):
            await _post(read_webhook_url(address, allow_http=terms.allow_http), body, sent, seen, terms=terms)
    except TimeoutError:
        error = "timeout"
    except _Failed as failed:
        error = str(failed)
    except UrlError:
        error = "url_refused"
    return Answer(
        milliseconds=round(1000 * (time.monotonic() - begin), 1),
        status=seen.status,
        error=error,
        response=bytes(seen.body[:MOST_KEPT]).decode("utf-8", "replace"),
        retry_after=retry_after(seen.retry_after, now=now + time.monotonic() - begin),
        headers=sent,
    )


@dataclass(slots=True)
class _Seen:
    """The part of a response received so far."""

    status: int | None = None
    retry_after: bytes = b""
    body: bytearray = field(default_factory=bytearray)


async def _post(url: Url, body: bytes, headers: Mapping[str, str], seen: _Seen, *, terms: Terms) -> None:
    try:
        address = await pinned.checked(url, resolve=terms.resolve, private=terms.private)
    except UnresolvedError:
        raise _Failed("unresolved") from None  # noqa: EM101 - an error code
    except ClosedError:
        raise _Failed("address_refused") from None  # noqa: EM101
    connection = pinned.connection(url, address, tls=terms.tls, network=terms.network, most=MOST_BYTES)
    sent = [*headers.items(), ("content-length", str(len(body)))]
    pieces = 0
    try:
        async with (
            connection,
            connection.stream(
                "POST", pinned.target(url), headers=sent, content=body, extensions=pinned.extensions(url)
            ) as answer,
        ):
            seen.status = answer.status
            seen.retry_after = {name.lower(): value for name, value in answer.headers}.get(b"retry-after", b"")
            async for part in answer.aiter_stream():
                seen.body += part[: MOST_READ - len(seen.body)]
                pieces += 1
                if len(seen.body) >= MOST_READ or too_many_pieces(pieces, len(seen.body)):
                    break  # the status has decided the outcome; the rest is not needed
    except httpcore.ConnectTimeout:
        raise _Failed("connect_timeout") from None  # noqa: EM101
    except httpcore.ConnectError as error:
        raise _Failed("tls" if isinstance(error.__cause__, ssl.SSLError) else "no_connection") from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        anyio.ClosedResourceError,
        OSError,
    ):
        raise _Failed("broken_off" if seen.status else "no_answer") from None


def retry_after(value: bytes, *, now: float) -> float | None:
    """Parse a `Retry-After` header (RFC 9110), a number or a date, into seconds; None if it is invalid."""
    text = value.decode("latin-1").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None

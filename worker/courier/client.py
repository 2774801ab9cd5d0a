"""One attempt: one request to an address that was checked, and what was answered."""

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
"""Bytes of an answer's body that are read."""
MOST_BYTES: Final = MOST_HEAD + 2 * MOST_READ
"""Bytes of a whole response, its head and framing included."""
MOST_KEPT: Final = 1024
"""Bytes of it that are kept for the log."""
OWN: Final = {"content-type": "application/json", "connection": "close", "user-agent": "vultus"}
"""Sent with every callback."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every attempt of a process."""

    tls: ssl.SSLContext
    within: timedelta
    allow_http: bool
    private: Collection[Network]
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: a status, or a word for why there is none. `error` may stand beside a status."""

    milliseconds: float
    status: int | None = None
    error: str | None = None
    response: str = ""
    retry_after: float | None = None
    """Seconds."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What was sent."""

    @property
    def taken(self) -> bool:
        """True where the receiver said that it has it."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - success


class _Failed(Exception):  # noqa: N818 - a word for the log
    """There is no answer."""


async def send(address: str, body: bytes, headers: Mapping[str, str], *, now: float, terms: Terms) -> Answer:
    """Post a body, and say what came of it; nothing is raised for what a receiver or its network does.

    The host is looked up once, every address of it must be open, and one of those is connected to; no redirect is
    followed, no proxy of the environment asked. The status decides: where it came and the rest of the answer does not
    come, or not whole, the attempt has still succeeded or failed by its status, and the log says what was wrong.

    `now` is the time since the epoch that a date in `Retry-After` is held against.
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
    """As much of an answer as came."""

    status: int | None = None
    retry_after: bytes = b""
    body: bytearray = field(default_factory=bytearray)


async def _post(url: Url, body: bytes, headers: Mapping[str, str], seen: _Seen, *, terms: Terms) -> None:
    try:
        known = await pinned.checked(url, resolve=terms.resolve, private=terms.private)
    except UnresolvedError:
        raise _Failed("unresolved") from None  # noqa: EM101 - a word for the log
    except ClosedError:
        raise _Failed("address_refused") from None  # noqa: EM101
    connection = pinned.connection(url, known, tls=terms.tls, network=terms.network, most=MOST_BYTES)
    told = [*headers.items(), ("content-length", str(len(body)))]
    pieces = 0
    try:
        async with (
            connection,
            connection.stream(
                "POST", pinned.target(url), headers=told, content=body, extensions=pinned.extensions(url)
            ) as answer,
        ):
            seen.status = answer.status
            seen.retry_after = {name.lower(): value for name, value in answer.headers}.get(b"retry-after", b"")
            async for part in answer.aiter_stream():
                seen.body += part[: MOST_READ - len(seen.body)]
                pieces += 1
                if len(seen.body) >= MOST_READ or too_many_pieces(pieces, len(seen.body)):
                    break  # the status has decided; the rest would only cost time
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
    """Seconds that a `Retry-After` (RFC 9110) asks for, as a number or a date; None for anything else."""
    text = value.decode("latin-1").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None

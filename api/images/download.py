"""One download: a host's addresses are checked, and one of those is connected to, with a cap on size and time."""

import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

import anyio
import httpcore

from shared.errors import ErrorCode, FetchError, ImageError
from shared.net import pinned
from shared.net.addresses import Address, Network
from shared.net.pinned import ClosedError, Resolve, UnresolvedError
from shared.net.response_limits import MOST_HEAD, too_many_pieces
from shared.net.urls import Url

OK: Final = 200
LATER: Final = frozenset({408, 425, 429})
"""Statuses that say: not now. So do all from 500."""
IMAGES: Final = "image/jpeg, image/png, image/webp, image/bmp"
HEADERS: Final = (
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
    ("User-Agent", "vultus"),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every download of a process."""

    tls: ssl.SSLContext
    most_bytes: int
    within: timedelta
    private: Collection[Network]
    """Private networks that images may come from."""
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend
    accept: str = IMAGES
    """What is asked for; what comes is not held to it."""


async def download(url: Url, *, terms: Terms) -> bytes:
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


async def _checked(url: Url, terms: Terms) -> Sequence[Address]:
    try:
        return await pinned.checked(url, resolve=terms.resolve, private=terms.private)
    except UnresolvedError:
        _give_up("The host's name could not be resolved.", retryable=True)
    except ClosedError:
        raise FetchError(
            ErrorCode.IMAGE_URL_REFUSED, "The image URL resolves to a network that is not allowed.", retryable=False
        ) from None


async def _get(url: Url, known: Sequence[Address], terms: Terms) -> bytes:
    connection = pinned.connection(
        url, known, tls=terms.tls, network=terms.network, most=MOST_HEAD + 2 * terms.most_bytes
    )
    told = pinned.extensions(url)
    try:
        async with (
            connection,
            connection.stream(
                "GET", pinned.target(url), headers=[("Accept", terms.accept), *HEADERS], extensions=told
            ) as answer,
        ):
            return await _read(answer, most=terms.most_bytes)
    except httpcore.ConnectTimeout:
        _give_up("The host did not accept the connection in time.", retryable=True)
    except httpcore.ConnectError as error:
        why = "has no TLS certificate that holds" if isinstance(error.__cause__, ssl.SSLError) else "took no connection"
        _give_up(f"The host {why}.", retryable=True)
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        _give_up("The host closed the connection early or did not respond with valid HTTP.", retryable=True)


async def _read(answer: httpcore.Response, *, most: int) -> bytes:
    status = answer.status
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        _give_up("The host responded with a redirect. Redirects are not followed.", retryable=False)
    if status != OK:
        retryable = status in LATER or status >= 500  # noqa: PLR2004 - server errors
        _give_up(f"The host answered with status {status} instead of 200.", retryable=retryable)
    for name, value in answer.headers:
        if name.lower() == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            _give_up("The host sent the image compressed, though not asked to.", retryable=False)
        if name.lower() == b"content-length" and int(value) > most:
            raise _too_large(most)
    held, pieces = bytearray(), 0
    async for part in answer.aiter_stream():
        held += part
        pieces += 1
        if len(held) > most:
            raise _too_large(most)
        if too_many_pieces(pieces, len(held)):
            _give_up("The host sent the image in too many small pieces.", retryable=False)
    return bytes(held)


def _give_up(detail: str, *, retryable: bool) -> NoReturn:
    raise FetchError(ErrorCode.IMAGE_UNREACHABLE, detail, retryable=retryable) from None


def _too_large(most: int) -> ImageError:
    return ImageError(ErrorCode.IMAGE_TOO_LARGE, f"The image has more than {most} bytes.")

"""Download from a URL: check the host's addresses, connect to one of them, and limit size and time."""

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
"""Client-error statuses worth a retry, like all server errors."""
IMAGES: Final = "image/jpeg, image/png, image/webp, image/bmp"
HEADERS: Final = (
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
    ("User-Agent", "vultus"),
)


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """Limits and dependencies shared by all downloads of a process."""

    tls: ssl.SSLContext
    max_bytes: int
    timeout: timedelta
    private: Collection[Network]
    """Private networks that may be connected to."""
    resolve: Resolve
    network: httpcore.AsyncNetworkBackend
    accept: str = IMAGES
    """The `Accept` header. The content type of the response is not checked."""


async def download(url: Url, *, options: DownloadOptions) -> bytes:
    """Return the bytes at this URL, within the limits on size and time.

    The host name is resolved once. If any of its addresses is blocked, no connection is made. Otherwise the connection
    goes to one of the checked addresses, and TLS verifies the certificate for the host name. Redirects are not
    followed, and there is no decompression, no cache, and no proxy.

    Raises:
        FetchError: `image_url_refused` if the host resolves to a blocked network; `image_unreachable`.
        ImageError: `image_too_large`.
    """
    with anyio.move_on_after(options.timeout.total_seconds()) as time:
        data = await _get(url, await _resolved(url, options), options)
    if time.cancelled_caught:
        _give_up(f"The fetch took longer than {options.timeout.total_seconds():g} s.", retryable=True)
    return data


async def _resolved(url: Url, options: DownloadOptions) -> Sequence[Address]:
    try:
        return await pinned.checked(url, resolve=options.resolve, private=options.private)
    except UnresolvedError:
        _give_up("The host name could not be resolved.", retryable=True)
    except ClosedError:
        raise FetchError(
            ErrorCode.IMAGE_URL_REFUSED, "The image URL resolves to a network that is not allowed.", retryable=False
        ) from None


async def _get(url: Url, addresses: Sequence[Address], options: DownloadOptions) -> bytes:
    connection = pinned.connection(
        url, addresses, tls=options.tls, network=options.network, most=MOST_HEAD + 2 * options.max_bytes
    )
    headers = [("Accept", options.accept), *HEADERS]
    try:
        async with (
            connection,
            connection.stream(
                "GET", pinned.target(url), headers=headers, extensions=pinned.extensions(url)
            ) as response,
        ):
            return await _read(response, max_bytes=options.max_bytes)
    except httpcore.ConnectTimeout:
        _give_up("The host did not accept the connection in time.", retryable=True)
    except httpcore.ConnectError as error:
        is_tls = isinstance(error.__cause__, ssl.SSLError)
        _give_up(
            "The host has no valid TLS certificate." if is_tls else "The host did not accept the connection.",
            retryable=True,
        )
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        _give_up("The host closed the connection early or did not respond with valid HTTP.", retryable=True)


async def _read(response: httpcore.Response, *, max_bytes: int) -> bytes:
    status = response.status
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        _give_up("The host responded with a redirect. Redirects are not followed.", retryable=False)
    if status != OK:
        retryable = status in LATER or status >= 500  # noqa: PLR2004 - server errors
        _give_up(f"The host responded with status {status} instead of 200.", retryable=retryable)
    for name, value in response.headers:
        if name.lower() == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            _give_up("The host sent a compressed response although none was requested.", retryable=False)
        if name.lower() == b"content-length" and int(value) > max_bytes:
            raise _too_large(max_bytes)
    data, pieces = bytearray(), 0
    async for part in response.aiter_stream():
        data += part
        pieces += 1
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        if too_many_pieces(pieces, len(data)):
            _give_up("The host sent the image in too many small pieces.", retryable=False)
    return bytes(data)


def _give_up(detail: str, *, retryable: bool) -> NoReturn:
    raise FetchError(ErrorCode.IMAGE_UNREACHABLE, detail, retryable=retryable) from None


def _too_large(max_bytes: int) -> ImageError:
    return ImageError(ErrorCode.IMAGE_TOO_LARGE, f"The image has more than {max_bytes} bytes.")

"""Read the issuer's public keys from a file or a URL."""

import ssl
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import httpcore
from anyio import to_thread

from api.auth.jwt import ReadKeys
from api.images.download import DownloadOptions, download
from shared.net.addresses import PRIVATE
from shared.net.pinned import look_up
from shared.net.urls import read_url

MAX_BYTES: Final = 256 * 1024
TIMEOUT: Final = timedelta(seconds=5)


def reader(location: str) -> ReadKeys:
    """Return a function that reads the current JWKS from an `https://` URL or a file path.

    The operator chose the host, so it may be in a private network. Metadata addresses stay blocked, and redirects are
    not followed.

    Raises:
        ValueError: the URL cannot be fetched.
    """
    if "://" not in location:
        return partial(to_thread.run_sync, Path(location).read_bytes)
    options = DownloadOptions(
        tls=ssl.create_default_context(),
        max_bytes=MAX_BYTES,
        timeout=TIMEOUT,
        private=PRIVATE,
        resolve=look_up,
        network=httpcore.AnyIOBackend(),
        accept="application/json",
    )
    return partial(download, read_url(location), options=options)

"""Where the issuer's public keys come from: a file, or an address that is fetched like any other."""

import ssl
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import httpcore
from anyio import to_thread

from api.auth.jwt import ReadKeys
from api.images.download import Terms, download
from shared.net.addresses import PRIVATE
from shared.net.pinned import look_up
from shared.net.urls import read_url

MOST_BYTES: Final = 256 * 1024
WITHIN: Final = timedelta(seconds=5)


def reader(where: str) -> ReadKeys:
    """Reads the JWKS at this `https://` address, or in the file of this path, as it is at the time.

    The operator named the host, so it may be in a private network; metadata addresses stay closed, and nothing is
    followed.

    Raises:
        ValueError: the address is none that can be fetched.
    """
    if "://" not in where:
        return partial(to_thread.run_sync, Path(where).read_bytes)
    terms = Terms(
        tls=ssl.create_default_context(),
        most_bytes=MOST_BYTES,
        within=WITHIN,
        private=PRIVATE,
        resolve=look_up,
        network=httpcore.AnyIOBackend(),
        accept="application/json",
    )
    return partial(download, read_url(where), terms=terms)

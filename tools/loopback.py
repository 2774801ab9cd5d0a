"""HTTP calls to this machine, which never use a proxy from the environment."""

import urllib.request
from typing import Any, Final

import requests

_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def urlopen(url: str, *, timeout: float) -> Any:
    """Open a URL like `urllib.request.urlopen`, but without a proxy."""
    return _OPENER.open(url, timeout=timeout)


def session() -> requests.Session:
    """Return a `requests` session that ignores the environment."""
    direct = requests.Session()
    direct.trust_env = False
    return direct

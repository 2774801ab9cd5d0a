"""HTTP calls to this machine. They never go through a proxy that the environment names for the outside."""

import urllib.request
from typing import Any, Final

import requests

_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def urlopen(url: str, *, timeout: float) -> Any:
    """As `urllib.request.urlopen`, without a proxy."""
    return _OPENER.open(url, timeout=timeout)


def session() -> requests.Session:
    """A session of `requests` that takes nothing from the environment."""
    direct = requests.Session()
    direct.trust_env = False
    return direct

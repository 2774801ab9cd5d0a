"""An environment whose proxies lead nowhere, as on a machine behind a company proxy."""

from collections.abc import Mapping
from typing import Final

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1")
DEAD: Final = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""
DEAD_PROXIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD),
    "no_proxy": "",
    "NO_PROXY": "",
}

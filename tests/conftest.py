"""Calls of the tests to this machine never go through a proxy of the environment."""

import os

from tests.proxies import LOOPBACK_NAMES

for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), *LOOPBACK_NAMES)))

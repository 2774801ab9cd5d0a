"""Applies to every test: no proxy between us and this machine, no property test judged by the clock, plain logs."""

import os

import structlog
from hypothesis import HealthCheck, settings

from tests.proxies import LOOPBACK_NAMES

for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), *LOOPBACK_NAMES)))

# A deadline and the check for slow generation measure how busy the machine is.
settings.register_profile("vultus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vultus")

# structlog's default renders each local variable of each frame of a traceback, which takes seconds for an application.
structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])

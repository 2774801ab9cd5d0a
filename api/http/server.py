"""Run the application with uvicorn: announce the address, drain before stopping, and allow enough open files."""

import asyncio
import resource
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI

from api.http.allocator import return_large_buffers
from api.http.connections import guarded
from api.http.draining import Drain
from api.http.garbage import collect_rarely
from api.settings.api import ApiSettings
from shared.errors import SettingsError

FILES: Final = 256
"""Open files of the gateway besides its connections: stores, logs, modules."""
GRACE: Final = timedelta(seconds=10)
"""How long requests in progress may take once the process stops."""

log = structlog.get_logger(__name__)


def serve(app: FastAPI, *, settings: ApiSettings, drain: Drain, stopping: Callable[[], None]) -> None:
    """Serve the application until the process is told to stop.

    Args:
        app: the application.
        settings: its address and limits.
        drain: set when the process is told to stop.
        stopping: called on the event loop after the drain delay, to cut long waits short.

    Raises:
        SettingsError: the process may not open enough files for its connections.
    """
    _allow_files(settings.max_connections)
    return_large_buffers()
    _Server(app, settings=settings, drain=drain, stopping=stopping).run()


def server_config(app: FastAPI, settings: ApiSettings) -> uvicorn.Config:
    """Return the configuration of uvicorn."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=guarded(head_timeout=settings.header_timeout, max_connections=settings.max_connections),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=settings.keep_alive.total_seconds(),  # type: ignore[arg-type]  # seconds for call_later
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=round(GRACE.total_seconds()),
    )


class _Server(uvicorn.Server):
    """A uvicorn server that logs its address and drains before it stops."""

    def __init__(self, app: FastAPI, *, settings: ApiSettings, drain: Drain, stopping: Callable[[], None]) -> None:
        super().__init__(server_config(app, settings))
        self._version = app.version
        self._settings = settings
        self._drain = drain
        self._stopping = stopping

    async def startup(self, sockets: Any = None) -> None:
        """Start, and log the address."""
        await super().startup(sockets)
        collect_rarely()
        if self.started:
            address = f"http://{self.config.host}:{self.config.port}"
            log.info("gateway.listening", address=address, version=self._version)
            if self._settings.auth == "off":
                log.warning("gateway.open", detail="NO AUTHENTICATION: anyone who can reach this port has full access")

    async def shutdown(self, sockets: Any = None) -> None:
        """Keep serving for the drain delay, then stop. A second signal skips the delay."""
        delay = self._settings.drain_delay.total_seconds()
        log.info("gateway.stopping", after=delay)
        self._drain.begin()
        until = time.monotonic() + delay
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110 - uvicorn sets a flag, not an event
            await asyncio.sleep(0.05)
        self._stopping()
        await super().shutdown(sockets)


def _allow_files(connections: int) -> None:
    """Raise the limit of open files to what this many connections need.

    Raises:
        SettingsError: the hard limit is lower.
    """
    needed = connections + FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        msg = f"VULTUS_MAX_CONNECTIONS is wrong: {connections} connections need {needed} open files; {hard} are allowed"
        raise SettingsError(msg)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

"""Who did what, noted as each call is answered: a line in the log at once, the tenant's audit log a moment later."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.authenticator import Caller
from shared.errors import UnavailableError
from shared.ledger.tenants.audit import Audit, Entry

GATHER: Final = timedelta(seconds=0.2)
"""Entries are written together this often: an act costs its call no round trip."""
MOST: Final = 10_000
"""Entries that wait for a store that is away; beyond, the oldest are only in the log lines."""
FORBIDDEN: Final = 403

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
"""What may stand in the log: an id of ours; not whatever somebody puts into a path."""

log = structlog.get_logger(__name__)


class AuditLog:
    """Takes entries on the event loop and writes them in a thread."""

    def __init__(self, store: Audit, *, keep: timedelta) -> None:
        self._store = store
        self._keep = keep
        self._waiting: deque[Entry] = deque()
        self._called = asyncio.Event()

    def note(self, entry: Entry) -> None:
        """Note one act."""
        log.info(
            "audit", tenant=entry.tenant, key=entry.key, action=entry.action, subject=entry.subject, status=entry.status
        )
        if len(self._waiting) >= MOST:
            self._waiting.popleft()
            log.error("audit.dropped", detail="the store is away; this entry is in the log lines alone")
        self._waiting.append(entry)
        self._called.set()

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await self._called.wait()
            self._called.clear()
            await asyncio.sleep(GATHER.total_seconds())
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted so far; what cannot be written waits."""
        while self._waiting:
            entries = list(self._waiting)
            self._waiting.clear()
            try:
                await to_thread.run_sync(partial(self._store.add, entries, keep=self._keep))
            except UnavailableError:
                self._waiting.extendleft(reversed(entries))
                self._called.set()
                return


class AuditMiddleware:
    """Notes what callers do: each call that changes something, or gives results away, and each one refused to them."""

    def __init__(self, app: ASGIApp, *, audit: Callable[[], AuditLog]) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._see(scope, message)
            await send(message)

        await self._app(scope, receive, answer)

    def _see(self, scope: Scope, message: Message) -> None:
        state = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        if caller is None or caller.key is None:
            return  # nobody is known, so there is nobody to name
        status: int = message["status"]
        acts = scope["method"] != "GET" or state.get("discloses", False)
        if not (acts and status < 400) and status != FORBIDDEN:  # noqa: PLR2004 - errors
            return
        headers = {name.lower(): value for name, value in message["headers"]}
        named = [*scope.get("path_params", {}).values(), headers.get(b"location", b"").decode().rpartition("/")[2]]
        subject = state.get("subject") or next((str(name) for name in named if _ID.fullmatch(str(name))), "")
        self._audit().note(
            Entry(
                tenant=state.get("subject_tenant", caller.tenant),
                key=caller.key,
                action=getattr(scope.get("route"), "name", "-"),
                subject=subject,
                status=status,
                request_id=str(state.get("request_id", "")),
            )
        )

"""The audit log: each action is written to the process log at once and to the tenant's audit log a moment later."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
"""Entries are written in batches at this interval, so that no request waits for a round trip."""
MAX_PENDING: Final = 10_000
"""Entries kept while the store is unavailable. Beyond that, the oldest remain only in the process log."""
FORBIDDEN: Final = 403

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
"""The form of the ids that are logged. Arbitrary text from a path is not."""

log = structlog.get_logger(__name__)


class AuditLog:
    """Collects entries on the event loop and writes them in a thread."""

    def __init__(self, store: Audit, *, keep: timedelta) -> None:
        self._store = store
        self._keep = keep
        self._pending: deque[Entry] = deque()
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write entries during the block, and those that are left at its end."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            async with self._writing:  # cancelling a write would lose its entries if it fails
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.flush()

    def note(self, entry: Entry) -> None:
        """Record one action."""
        log.info(
            "audit", tenant=entry.tenant, key=entry.key, action=entry.action, subject=entry.subject, status=entry.status
        )
        if len(self._pending) >= MAX_PENDING:
            self._pending.popleft()
            log.error("audit.dropped", detail="the store is unavailable; the oldest entry is only in the process log")
        self._pending.append(entry)
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(GATHER.total_seconds())
            await self.flush()

    async def flush(self) -> None:
        """Wait until all entries noted so far are written. If the store is unavailable, they stay pending."""
        async with self._writing:
            while self._pending:
                entries = list(self._pending)
                self._pending.clear()
                try:
                    await to_thread.run_sync(partial(self._store.add, entries, keep=self._keep))
                except UnavailableError:
                    self._pending.extendleft(reversed(entries))
                    self._changed.set()
                    return


class AuditMiddleware:
    """Records each request that changes something or discloses results, and each one that lacks permission."""

    def __init__(self, app: ASGIApp, *, audit: Callable[[], AuditLog]) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def audited_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(scope, message)
            await send(message)

        await self._app(scope, receive, audited_send)

    def _record(self, scope: Scope, message: Message) -> None:
        state = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        if caller is None or caller.key is None:
            return  # an unauthenticated request has nobody to record
        status: int = message["status"]
        audited = scope["method"] != "GET" or state.get("discloses", False)
        if not (audited and status < 400) and status != FORBIDDEN:  # noqa: PLR2004 - errors
            return
        headers = {name.lower(): value for name, value in message["headers"]}
        ids = [*scope.get("path_params", {}).values(), headers.get(b"location", b"").decode().rpartition("/")[2]]
        subject = state.get("subject") or next((str(each) for each in ids if _ID.fullmatch(str(each))), "")
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

"""Wait for transitions and completions of jobs. Each waiter costs an object in memory, but no connection."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Final, Self

from anyio import to_thread

from shared.errors import UnavailableError
from shared.jobs import Job, Status
from shared.ledger.jobs.store import Ledger, no_such_job
from shared.tenants import DEFAULT

REREAD: Final = timedelta(seconds=1.5)
"""Pub/Sub may lose events, so watched jobs are also read again at this interval."""
REREAD_MOST: Final = 200
"""Maximum number of jobs read per pass, least recently read first. It caps the reads for any number of waiters."""
HURRY: Final = timedelta(seconds=3)
"""How long a wait may still take once the process stops."""


class Watch:
    """Watches a job for one caller. Inside its `with` block, no event is missed.

    Any job id may be watched, but reading another tenant's job raises `job_not_found`.
    """

    __slots__ = ("_happened", "_seen", "_tenant", "_waiting", "job_id", "transitions")

    def __init__(self, waiting: "Waiting", job_id: str, *, tenant: str, transitions: bool) -> None:
        self._waiting = waiting
        self._tenant = tenant
        self._happened = asyncio.Event()
        self._seen: Status | None = None
        self.job_id = job_id
        self.transitions = transitions
        """Whether every transition counts, or only completion."""

    def __enter__(self) -> Self:
        """Start watching."""
        self._waiting.enter(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._waiting.leave(self)

    def tell(self, status: Status | None) -> None:
        """Notify the watch of the job's status; None if the job no longer exists."""
        if status is None or status.is_terminal or (self.transitions and status is not self._seen):
            self._happened.set()

    def rouse(self) -> None:
        """Wake the waiter, because an event may have been missed."""
        self._happened.set()

    async def happened(self, *, within: timedelta) -> bool:
        """Wait until the job may have changed since the last `read`. False on timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._happened.wait()
        return self._happened.is_set()

    def forget(self) -> None:
        """Reset before a read: later events may be newer than its result."""
        self._happened.clear()
        self._seen = None

    async def read(self) -> Job:
        """Read the job.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        self.forget()
        job = await self._waiting.read(self.job_id, tenant=self._tenant)
        self._seen = job.status
        return job

    async def end(self, known: Job | None = None, *, timeout: timedelta) -> Job:  # noqa: ASYNC109 - returns on timeout
        """Return the job once it has completed, or its current state after `timeout`.

        Args:
            known: the job as read after this watch started, so that it is not read again.
            timeout: how long to wait.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout.total_seconds()
        job = known or await self.read()
        while not job.status.is_terminal:
            left = min(deadline, self._waiting.last_call or deadline) - clock()
            if left <= 0:
                break
            await self.happened(within=timedelta(seconds=left))
            job = await self.read()
        return job


class Waiting:
    """All waits of a gateway. Runs on the event loop; only the ledger is read in threads."""

    def __init__(self, ledger: Ledger, *, reread: timedelta = REREAD) -> None:
        self._ledger = ledger
        self._every = reread.total_seconds()
        self._watches: dict[str, set[Watch]] = {}
        self._of_transitions: set[Watch] = set()
        self._catch_up = asyncio.Event()
        self.last_call: float | None = None
        """Deadline of all waits, on the loop's clock. Set once the process stops."""
        self.tuned = asyncio.Event()
        """Set when the first watch of transitions has been added, or the last one removed."""

    def watch(self, job_id: str, *, tenant: str = DEFAULT, transitions: bool = False) -> Watch:
        """Return a watch of a tenant's job: of its completion, or of all its `transitions`."""
        return Watch(self, job_id, tenant=tenant, transitions=transitions)

    async def wait_for_end(
        self,
        job_id: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - returns the job on timeout
        tenant: str = DEFAULT,
    ) -> Job:
        """Return the job once it has completed, or its current state after `timeout`.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        # Start the watch before reading the ledger, so that a completion in between is not missed.
        with self.watch(job_id, tenant=tenant) as watch:
            return await watch.end(timeout=timeout)

    async def read(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
        """Read a tenant's job.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        job = await to_thread.run_sync(self._ledger.read, job_id)
        if job is None or job.tenant != tenant:
            raise no_such_job()
        return job

    def hear(self, job_id: str, status: Status | None) -> None:
        """Notify all watches of a job of its status; None if the job no longer exists."""
        for watch in self._watches.get(job_id, ()):
            watch.tell(status)

    def hurry(self) -> None:
        """Cut all waits short, because the process stops. They return the current state of their jobs."""
        self.last_call = asyncio.get_running_loop().time() + HURRY.total_seconds()
        for watches in self._watches.values():
            for watch in watches:
                watch.rouse()

    @property
    def stopping(self) -> bool:
        """True once the process stops."""
        return self.last_call is not None

    @property
    def of_transitions(self) -> bool:
        """True while there are watches of all transitions."""
        return bool(self._of_transitions)

    def transitions_are_heard(self) -> None:
        """Called once transitions are subscribed. Wakes watches that may have missed one before."""
        for watch in self._of_transitions:
            watch.rouse()

    def catch_up(self) -> None:
        """Read all watched jobs again now, because events were missed."""
        self._catch_up.set()

    async def reread(self) -> None:
        """Read watched jobs again until cancelled, in case events were lost."""
        while True:
            try:
                await asyncio.wait_for(self._catch_up.wait(), timeout=self._every)
            except TimeoutError:
                await self._pass(REREAD_MOST)
            else:
                self._catch_up.clear()
                for _ in range(0, len(self._watches), REREAD_MOST):
                    await self._pass(REREAD_MOST)

    async def _pass(self, most: int) -> None:
        due = list(islice(self._watches, most))
        for job_id in due:
            self._watches[job_id] = self._watches.pop(job_id)  # to the end of the order
        if due:
            try:
                statuses = await to_thread.run_sync(self._ledger.statuses, due)
            except UnavailableError:
                return  # the subscription logs the outage; the next pass tries again
            for job_id, status in zip(due, statuses, strict=True):
                self.hear(job_id, status)

    def enter(self, watch: Watch) -> None:
        """Add a watch."""
        self._watches.setdefault(watch.job_id, set()).add(watch)
        if watch.transitions:
            self._of_transitions.add(watch)
            if len(self._of_transitions) == 1:
                self.tuned.set()

    def leave(self, watch: Watch) -> None:
        """Remove a watch."""
        others = self._watches[watch.job_id]
        others.discard(watch)
        if not others:
            del self._watches[watch.job_id]
        if watch.transitions:
            self._of_transitions.discard(watch)
            if not self._of_transitions:
                self.tuned.set()

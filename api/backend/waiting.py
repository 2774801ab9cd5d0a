"""Wait for jobs to move or to end: one note in memory for each waiter, and no connection of its own."""

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
"""Events can be lost (Pub/Sub promises nothing), so what is waited for is also read again this often."""
REREAD_MOST: Final = 200
"""Jobs read again in one pass, the longest unread first: ten thousand waiters cost no more reads than these."""
HURRY: Final = timedelta(seconds=3)
"""How long a wait may still take once the process stops."""


class Watch:
    """One caller's eye on a job, open inside its `with`: what happens from then on is not missed.

    Anything may be watched; what is another tenant's is not there when it is read.
    """

    __slots__ = ("_happened", "_seen", "_tenant", "_waiting", "job_id", "transitions")

    def __init__(self, waiting: "Waiting", job_id: str, *, tenant: str, transitions: bool) -> None:
        self._waiting = waiting
        self._tenant = tenant
        self._happened = asyncio.Event()
        self._seen: Status | None = None
        self.job_id = job_id
        self.transitions = transitions
        """Every transition counts; otherwise only the end."""

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._waiting.enter(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Watch no more."""
        self._waiting.leave(self)

    def tell(self, status: Status | None) -> None:
        """The job has this status; None: there is nothing left of it."""
        if status is None or status.is_terminal or (self.transitions and status is not self._seen):
            self._happened.set()

    def rouse(self) -> None:
        """Something may have happened unseen."""
        self._happened.set()

    async def happened(self, *, within: timedelta) -> bool:
        """True as soon as there may be news since the last `read`, False when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                await self._happened.wait()
        return self._happened.is_set()

    def forget(self) -> None:
        """What has happened so far is about to be read; whatever is heard from now on may be newer than the answer."""
        self._happened.clear()
        self._seen = None

    async def read(self) -> Job:
        """The job as it is.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        self.forget()
        job = await self._waiting.read(self.job_id, tenant=self._tenant)
        self._seen = job.status
        return job

    async def end(self, known: Job | None = None, *, timeout: timedelta) -> Job:  # noqa: ASYNC109 - the job, as it is
        """The job once it has ended, or as it is when `timeout` is over.

        Args:
            known: the job as it was after this watch began; it is not read before there is news.
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
    """Everyone who waits for a job. Lives on the event loop; only the ledger is read in threads."""

    def __init__(self, ledger: Ledger, *, reread: timedelta = REREAD) -> None:
        self._ledger = ledger
        self._every = reread.total_seconds()
        self._watches: dict[str, set[Watch]] = {}
        self._of_transitions: set[Watch] = set()
        self._catch_up = asyncio.Event()
        self.last_call: float | None = None
        """When the last wait must be over, by the loop's clock; set once the process stops."""
        self.tuned = asyncio.Event()
        """Set when the first has come, or the last has gone, who wants to hear of every transition."""

    def watch(self, job_id: str, *, tenant: str = DEFAULT, transitions: bool = False) -> Watch:
        """An eye on a tenant's job: on its end, or on every one of its `transitions`."""
        return Watch(self, job_id, tenant=tenant, transitions=transitions)

    async def wait_for_end(
        self,
        job_id: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the job, as it then is
        tenant: str = DEFAULT,
    ) -> Job:
        """The job once it has ended, or as it is when `timeout` is over.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        # The watch begins before the ledger is read: an end between the two is not missed.
        with self.watch(job_id, tenant=tenant) as watch:
            return await watch.end(timeout=timeout)

    async def read(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
        """The tenant's job as it is.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        job = await to_thread.run_sync(self._ledger.read, job_id)
        if job is None or job.tenant != tenant:
            raise no_such_job()
        return job

    def hear(self, job_id: str, status: Status | None) -> None:
        """Take note of one transition; None is an end too: nothing is left to wait for."""
        for watch in self._watches.get(job_id, ()):
            watch.tell(status)

    def hurry(self) -> None:
        """The process stops: every wait ends within moments, with the job as it then is."""
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
        """True while somebody wants to hear of every transition."""
        return bool(self._of_transitions)

    def transitions_are_heard(self) -> None:
        """From now on every transition is heard; whoever came while that was arranged looks again."""
        for watch in self._of_transitions:
            watch.rouse()

    def catch_up(self) -> None:
        """Events were missed: read everything that is waited for again, now."""
        self._catch_up.set()

    async def reread(self) -> None:
        """Read again what is waited for, until cancelled: what the events did not tell."""
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
            self._watches[job_id] = self._watches.pop(job_id)  # to the end of the line
        if due:
            try:
                statuses = await to_thread.run_sync(self._ledger.statuses, due)
            except UnavailableError:
                return  # the subscription says so in the log; the next pass tries again
            for job_id, status in zip(due, statuses, strict=True):
                self.hear(job_id, status)

    def enter(self, watch: Watch) -> None:
        """Remember a watch."""
        self._watches.setdefault(watch.job_id, set()).add(watch)
        if watch.transitions:
            self._of_transitions.add(watch)
            if len(self._of_transitions) == 1:
                self.tuned.set()

    def leave(self, watch: Watch) -> None:
        """Forget a watch."""
        others = self._watches[watch.job_id]
        others.discard(watch)
        if not others:
            del self._watches[watch.job_id]
        if watch.transitions:
            self._of_transitions.discard(watch)
            if not self._of_transitions:
                self.tuned.set()

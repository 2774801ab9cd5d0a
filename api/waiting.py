"""Wait for jobs to end: one subscription for the whole process, a future for each waiter."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from typing import Final

import structlog
from anyio import to_thread
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Job, Status
from shared.storage.ledger import Ledger, event

REREAD: Final = timedelta(seconds=1.5)
"""Events can be lost (Pub/Sub promises nothing), so what is waited for is also read again this often."""
REREAD_MOST: Final = 200
"""Jobs read again in one pass, the longest unread first: ten thousand waiters cost no more reads than these."""
HURRY: Final = timedelta(seconds=3)
"""How long a wait may still take once the process stops."""
SILENCE: Final = timedelta(seconds=10)
"""A subscription that is silent for this long is asked whether it lives, and given as long to answer."""
RECONNECT: Final = timedelta(seconds=0.5)

log = structlog.get_logger(__name__)


class Waiting:
    """Everyone who waits for a job. Lives on the event loop; only the ledger is read in threads."""

    def __init__(self, ledger: Ledger, *, reread: timedelta = REREAD) -> None:
        self._ledger = ledger
        self._every = reread.total_seconds()
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._last_call: float | None = None
        self._catch_up = asyncio.Event()

    async def wait_for_end(self, job_id: str, *, timeout: timedelta) -> Job:  # noqa: ASYNC109 - the job, as it then is
        """The job once it has ended, or as it is when `timeout` is over.

        Raises:
            RequestError: `job_not_found`.
            UnavailableError: `store_unavailable`.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout.total_seconds()
        while True:
            # The waiter is in place before the ledger is read: an end between the two is not missed.
            waiter = self._enter(job_id)
            try:
                job = await to_thread.run_sync(self._ledger.read, job_id)
                if job is None:
                    raise RequestError(ErrorCode.JOB_NOT_FOUND, "There is no job with this id, or it has expired.")
                left = min(deadline, self._last_call or deadline) - clock()
                if job.status.is_terminal or left <= 0:
                    return job
                await asyncio.wait([waiter], timeout=left)
            finally:
                self._leave(job_id, waiter)

    def hear(self, job_id: str, status: Status | None) -> None:
        """Take note of one transition; None is an end too: nothing is left to wait for."""
        if status is None or status.is_terminal:
            self._wake(job_id)

    def hurry(self) -> None:
        """The process stops: every wait ends within moments, with the job as it then is."""
        self._last_call = asyncio.get_running_loop().time() + HURRY.total_seconds()
        for job_id in list(self._waiters):
            self._wake(job_id)

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
                for _ in range(0, len(self._waiters), REREAD_MOST):
                    await self._pass(REREAD_MOST)

    async def _pass(self, most: int) -> None:
        due = list(islice(self._waiters, most))
        for job_id in due:
            self._waiters[job_id] = self._waiters.pop(job_id)  # to the end of the line
        if due:
            try:
                ended = await to_thread.run_sync(self._ended, due)
            except UnavailableError:
                return  # the subscription says so in the log; the next pass tries again
            for job_id in ended:
                self._wake(job_id)

    def _ended(self, job_ids: Sequence[str]) -> list[str]:
        statuses = zip(job_ids, self._ledger.statuses(job_ids), strict=True)
        return [job_id for job_id, status in statuses if status is None or status.is_terminal]

    def _enter(self, job_id: str) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, set()).add(waiter)
        return waiter

    def _leave(self, job_id: str, waiter: asyncio.Future[None]) -> None:
        others = self._waiters[job_id]
        others.discard(waiter)
        if not others:
            del self._waiters[job_id]

    def _wake(self, job_id: str) -> None:
        for waiter in self._waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)


async def follow(client: Redis, channels: Sequence[str], waiting: Waiting) -> None:
    """Pass every transition on to `waiting` until cancelled; a store that went away is found again by itself."""
    client.set_retry(Retry(NoBackoff(), 0))  # the driver would reconnect unseen; we must know, to catch up
    away = False
    while True:
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as events:
                await events.subscribe(*channels)
                if away:
                    log.info("events.back")
                away = False
                waiting.catch_up()
                asked = False
                while True:
                    message = await events.get_message(timeout=SILENCE.total_seconds())
                    if message is not None:
                        asked = False
                        if message["type"] == "message":
                            waiting.hear(*event(message["data"]))
                    elif asked:
                        raise exceptions.TimeoutError  # a dead line ends like a cut one
                    else:
                        asked = True
                        await events.ping()
        except (exceptions.RedisError, OSError):
            if not away:
                log.warning("events.away", detail="waits read the ledger until the subscription is back")
            away = True
            await asyncio.sleep(RECONNECT.total_seconds())

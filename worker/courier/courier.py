"""The courier: rows of the outbox become deliveries, and what is due is sent, many at once."""

import asyncio
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import httpcore
import structlog
from anyio import to_thread

from shared.deliveries import LeasedDelivery, destination_of
from shared.errors import UnavailableError
from shared.ledger.connection import LISTEN
from shared.ledger.jobs.store import Ledger
from shared.ledger.webhooks.deliveries import Deliveries, Plan
from shared.ledger.webhooks.endpoints import MOST, Endpoints
from shared.ledger.webhooks.records import Row
from shared.net.pinned import Resolve, look_up
from shared.net.urls import UrlError, read_url
from shared.observability.monitor import Readiness
from shared.webhooks.schemas import Endpoint, EventType
from worker.courier import metrics
from worker.courier.client import Terms
from worker.courier.delivery import Deliverer
from worker.courier.settings import CourierSettings

LOOK: Final = 1.0
"""Seconds after which it looks whether there is something to do, though nobody said so."""
ROWS: Final = 200
"""Rows of one shard's outbox that are made into deliveries in one go."""
BEATS: Final = 4
"""How often a hold is renewed within its time."""
FRESH: Final = 1.0
"""Seconds for which an endpoint that was read is taken as it was."""
MEND: Final = 60.0
"""Seconds between two looks at whether the sets of listeners are those of the registry."""

log = structlog.get_logger(__name__)


class Courier:
    """Sends until it is told to stop; then what is in flight ends, and is put on record.

    Several couriers share the work. One that dies no longer renews its holds: what it had is the others'.
    """

    def __init__(
        self,
        settings: CourierSettings,
        *,
        deliveries: Deliveries,
        endpoints: Endpoints,
        jobs: Ledger,
        resolve: Resolve = look_up,
        network: httpcore.AsyncNetworkBackend | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._settings = settings
        self._hold = settings.webhook_hold
        terms = Terms(
            tls=ssl.create_default_context(),
            within=settings.webhook_timeout,
            allow_http=settings.webhook_allow_http,
            private=settings.webhook_allow_private,
            resolve=resolve,
            network=network or httpcore.AnyIOBackend(),
        )
        self._deliverer = Deliverer(
            settings,
            terms,
            deliveries=deliveries,
            endpoints=endpoints,
            jobs=jobs,
            endpoint=self._endpoint,
            forget=self._forget,
            chance=chance,
        )
        self._held: dict[asyncio.Task[None], LeasedDelivery] = {}
        self._known: dict[str, tuple[float, Endpoint | None]] = {}
        self._called = asyncio.Event()
        self._stopping = threading.Event()
        self._away = False
        self._renewed = time.monotonic()
        self._mended = 0.0
        metrics.IN_FLIGHT.set_function(lambda: len(self._held))

    def readiness(self) -> Readiness:
        """Whether it sends, stops, or cannot reach the store."""
        if self._stopping.is_set():
            return Readiness.DRAINING
        return Readiness.AWAY if self._away else Readiness.READY

    async def run(self) -> None:
        """Send until `stop`."""
        loop = asyncio.get_running_loop()
        listener = threading.Thread(target=self._listen, args=(loop,), name="listener", daemon=True)
        listener.start()
        to_thread.current_default_thread_limiter().total_tokens = 64
        while not self._stopping.is_set():
            self._called.clear()
            pause = await self._once()
            if pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._called.wait()
                except TimeoutError:
                    continue
        if self._held:
            log.info("courier.draining", deliveries=len(self._held))
            await self._drain()
        await to_thread.run_sync(listener.join, 2 * LISTEN.total_seconds())  # before its connection is closed under it

    def stop(self) -> None:
        """Take nothing new. To be called in the event loop."""
        self._stopping.set()
        self._called.set()

    async def _once(self) -> float:
        """One look at what there is to do; for how long nothing else is to be done unless somebody calls."""
        try:
            pause = await self._work()
        except UnavailableError as error:
            if not self._away:
                log.warning("ledger.away", code=error.code.value)
            self._away = True
            return LOOK
        except Exception:
            log.exception("courier.failed")
            return LOOK
        if self._away:
            log.info("ledger.back")
        self._away = False
        if self._settings.ready_file:
            self._settings.ready_file.touch()
        return pause

    async def _work(self) -> float:
        full = await to_thread.run_sync(self._fan_out)
        leased_deliveries: list[LeasedDelivery] = []
        held = [*self._held.values()]
        room = self._settings.webhook_parallel - len(held)
        if not room:
            await to_thread.run_sync(self._renew, held)
        else:
            leased_deliveries = await to_thread.run_sync(self._take, room, held)
            for leased in leased_deliveries:
                task = asyncio.create_task(self._deliverer.deliver(leased))
                self._held[task] = leased
                task.add_done_callback(self._landed)
        if time.monotonic() - self._mended > MEND:
            await to_thread.run_sync(self._endpoints.mend)
            self._mended = time.monotonic()
        if full:
            return 0.0
        if not room or leased_deliveries:
            return LOOK
        due = await to_thread.run_sync(self._deliveries.next_due)
        return LOOK if due is None else min(max(due, 0.005), LOOK)

    def _take(self, room: int, held: Sequence[LeasedDelivery]) -> list[LeasedDelivery]:
        self._renew(held)  # right before: after a pause of this process or of the store, its own would look left behind
        return self._deliveries.take(
            most=room,
            hold=self._hold,
            per_destination=self._settings.webhook_per_endpoint,
            held=Counter(leased.delivery.event.tenant for leased in held),
        )

    def _renew(self, held: Sequence[LeasedDelivery]) -> None:
        """Keep what is in hand from other couriers for another while, where that is due."""
        if time.monotonic() - self._renewed > self._hold.total_seconds() / BEATS:
            if held:
                self._deliveries.keep(held, hold=self._hold)
            self._renewed = time.monotonic()

    async def _drain(self) -> None:
        """Wait until what is in hand is on record, as long as that can take."""
        until = time.monotonic() + self._settings.patience.total_seconds()
        while self._held and time.monotonic() < until:
            await asyncio.wait(self._held, timeout=self._hold.total_seconds() / BEATS)
            with suppress(UnavailableError):
                await to_thread.run_sync(self._renew, [*self._held.values()])

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._held[task]
        self._called.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Perhaps not recorded: then the hold runs out, and it is sent again.
            if isinstance(error, UnavailableError):
                log.warning("delivery.left", code=error.code.value)
            else:
                log.error("delivery.lost", exc_info=error)

    def _fan_out(self) -> bool:
        """Make deliveries of the rows that wait; True where more of them may wait."""
        more = False
        for shard in range(self._deliveries.shards):
            rows = self._deliveries.rows(shard, most=ROWS)
            more = more or len(rows) == ROWS
            listening: dict[tuple[EventType, str], list[str]] = {}
            for row in rows:
                kind = (row.event.type, row.event.tenant)
                if kind not in listening:
                    listening[kind] = self._endpoints.listening(shard, kind[0], tenant=kind[1])
                self._deliveries.fan_out(row, [*_own(row), *(Plan(name, name) for name in listening[kind])])
        return more

    def _endpoint(self, name: str) -> Endpoint | None:
        """The endpoint as it was at most a moment ago; one that was disabled or unknown then is looked at again."""
        now = time.monotonic()
        read_at, known = self._known.get(name, (0.0, None))
        if known is None or not known.enabled or now - read_at > FRESH:
            known = self._endpoints.read(name)
            if len(self._known) > MOST:  # those that were deleted
                self._known.clear()
            self._known[name] = (now, known)
        return known

    def _forget(self, name: str) -> None:
        """Read this endpoint anew: it has changed."""
        self._known.pop(name, None)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in self._deliveries.signals(self._stopping):
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._called.set)


def _own(row: Row) -> list[Plan]:
    """The delivery to the address that came with the job or batch, where it asked for this type of event."""
    webhook = row.webhook
    if webhook is None or row.event.type not in webhook.events:
        return []
    try:
        origin = read_url(webhook.url).origin
    except UrlError:
        origin = webhook.url
    return [Plan(destination_of(origin, tenant=row.event.tenant), webhook=webhook)]

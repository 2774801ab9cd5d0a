"""The courier: turns outbox rows into deliveries and sends the due ones concurrently."""

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
"""Seconds between polls for work when no signal arrives."""
ROWS: Final = 200
"""Outbox rows of one shard that are turned into deliveries per pass."""
BEATS: Final = 4
"""Renewals per hold period."""
FRESH: Final = 1.0
"""Seconds for which a cached endpoint is considered current."""
MEND: Final = 60.0
"""Seconds between repairs of the listener sets from the endpoint registry."""

log = structlog.get_logger(__name__)


class Courier:
    """Sends deliveries until stopped, then finishes and records those in flight.

    Several couriers share the work. If one dies, its holds expire and the others take over its deliveries.
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
        self._deliverer = Deliverer(
            settings,
            _terms(settings, resolve=resolve, network=network or httpcore.AnyIOBackend()),
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
        """Whether the courier is sending, stopping, or unable to reach the store."""
        if self._stopping.is_set():
            return Readiness.DRAINING
        return Readiness.AWAY if self._away else Readiness.READY

    async def run(self) -> None:
        """Send deliveries until `stop` is called."""
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
        await to_thread.run_sync(listener.join, 2 * LISTEN.total_seconds())  # must end before its connection is closed

    def stop(self) -> None:
        """Stop taking new deliveries. Call this from the event loop."""
        self._stopping.set()
        self._called.set()

    async def _once(self) -> float:
        """Process the work that is due; return the seconds to wait for a signal before the next pass."""
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
        self._renew(held)  # first: after a pause of this process or the store, its own holds would look abandoned
        return self._deliveries.take(
            most=room,
            hold=self._hold,
            per_destination=self._settings.webhook_per_endpoint,
            held=Counter(leased.delivery.event.tenant for leased in held),
        )

    def _renew(self, held: Sequence[LeasedDelivery]) -> None:
        """Renew the holds on the deliveries in flight if a renewal is due."""
        if time.monotonic() - self._renewed > self._hold.total_seconds() / BEATS:
            if held:
                self._deliveries.keep(held, hold=self._hold)
            self._renewed = time.monotonic()

    async def _drain(self) -> None:
        """Wait until the deliveries in flight are recorded, for as long as that can take."""
        until = time.monotonic() + self._settings.patience.total_seconds()
        while self._held and time.monotonic() < until:
            await asyncio.wait(self._held, timeout=self._hold.total_seconds() / BEATS)
            with suppress(UnavailableError):
                await to_thread.run_sync(self._renew, [*self._held.values()])

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._held[task]
        self._called.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The outcome may not be recorded. In that case the hold expires and the delivery is sent again.
            if isinstance(error, UnavailableError):
                log.warning("delivery.left", code=error.code.value)
            else:
                log.error("delivery.lost", exc_info=error)

    def _fan_out(self) -> bool:
        """Turn waiting outbox rows into deliveries. Return True if more rows may be waiting."""
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
        """Return the endpoint, at most `FRESH` seconds old; a disabled or unknown endpoint is always read again."""
        now = time.monotonic()
        read_at, endpoint = self._known.get(name, (0.0, None))
        if endpoint is None or not endpoint.enabled or now - read_at > FRESH:
            endpoint = self._endpoints.read(name)
            if len(self._known) > MOST:  # deleted endpoints have accumulated
                self._known.clear()
            self._known[name] = (now, endpoint)
        return endpoint

    def _forget(self, name: str) -> None:
        """Drop an endpoint that has changed from the cache."""
        self._known.pop(name, None)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in self._deliveries.signals(self._stopping):
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._called.set)


def _terms(settings: CourierSettings, *, resolve: Resolve, network: httpcore.AsyncNetworkBackend) -> Terms:
    return Terms(
        tls=ssl.create_default_context(),
        within=settings.webhook_timeout,
        allow_http=settings.webhook_allow_http,
        private=settings.webhook_allow_private,
        resolve=resolve,
        network=network,
    )


def _own(row: Row) -> list[Plan]:
    """Plan the delivery to the webhook of the job or batch itself, if it subscribes to this event type."""
    webhook = row.webhook
    if webhook is None or row.event.type not in webhook.events:
        return []
    try:
        origin = read_url(webhook.url).origin
    except UrlError:
        origin = webhook.url
    return [Plan(destination_of(origin, tenant=row.event.tenant), webhook=webhook)]

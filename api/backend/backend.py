"""Open and close the long-lived resources of a gateway process."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from anyio import to_thread

from api.backend.fetcher import Fetcher
from api.backend.store_metrics import StoreCollector
from api.backend.subscription import follow
from api.backend.waiting import Waiting
from api.backend.workers import Workers
from api.settings.api import ApiSettings
from shared.dispatch import Doorbell, celery_app
from shared.errors import SettingsError, UnavailableError
from shared.ledger.connection import connect, connect_async, still_loads, verify_durability
from shared.ledger.events import completion_channels, transition_channels
from shared.ledger.layout import Layout
from shared.ledger.presence import Presence
from shared.ledger.stores import Stores, open_stores
from shared.ledger.sweeper import Sweeper
from shared.observability.monitor import watched

PATIENCE: Final = timedelta(seconds=10)
"""How long a starting gateway waits for its ledger before it gives up."""
PAUSE: Final = timedelta(seconds=0.5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Backend:
    """The resources available to routes."""

    stores: Stores
    workers: Workers
    doorbell: Doorbell
    waiting: Waiting
    fetcher: Fetcher | None = None
    """Set if images by URL are enabled."""

    def wake_fetcher(self) -> None:
        """Notify the fetcher of new images to fetch. Without this, it finds them within a second."""
        if self.fetcher is not None:
            self.fetcher.wake()


OpenBackend = Callable[[ApiSettings], AbstractAsyncContextManager[Backend]]


def verify_ledger(settings: ApiSettings, *, patience: timedelta = PATIENCE) -> None:
    """Wait until the ledger responds, and check that it is as durable as `settings.durability` requires.

    Raises:
        SettingsError: it is less durable, or did not respond or is still loading after `patience`.
    """
    deadline = time.monotonic() + patience.total_seconds()
    warned = False
    while True:
        try:
            with closing(connect(settings.ledger_url)) as client:
                verify_durability(client, settings.durability)
                # A store that is still loading reports its configuration but refuses jobs.
                Layout(client, shards=settings.shards).settle()
        except UnavailableError as error:
            if time.monotonic() >= deadline:
                state = "is still loading its data after" if still_loads(error) else "did not respond within"
                msg = f"The ledger at VULTUS_LEDGER_URL {state} {patience.total_seconds():g} s"
                raise SettingsError(msg) from None
            if not warned:
                log.warning("ledger.away", detail=f"waiting up to {patience.total_seconds():g} s for the ledger")
            warned = True
            time.sleep(PAUSE.total_seconds())
        else:
            return


@asynccontextmanager
async def open_backend(settings: ApiSettings) -> AsyncIterator[Backend]:
    """Open all resources, and close them on exit. The default of `create_app`."""
    client = connect(settings.ledger_url)
    events = connect_async(settings.ledger_url)
    stores = open_stores(client, shards=settings.shards, lease=settings.lease, retry_window=settings.retry_window)
    doorbell = Doorbell(celery_app(settings.broker_url))
    sweeper = Sweeper(stores.jobs, doorbell, max_attempts=settings.max_attempts)
    waiting = Waiting(stores.jobs)
    tasks = [
        asyncio.create_task(
            follow(
                events,
                completions=completion_channels(settings.shards),
                transitions=transition_channels(settings.shards),
                waiting=waiting,
            )
        ),
        asyncio.create_task(waiting.reread()),
    ]
    fetcher = Fetcher(stores.fetches, stores.pressure, doorbell, settings=settings) if settings.url_policy else None
    sweeper.start()
    if fetcher is not None:
        fetcher.start()
    workers = Workers(Presence(client))
    store = StoreCollector(stores.measures.take, lambda: len(workers.alive()))
    try:
        with watched(store):
            yield Backend(stores=stores, workers=workers, doorbell=doorbell, waiting=waiting, fetcher=fetcher)
    finally:
        store.close()
        if fetcher is not None:
            await to_thread.run_sync(fetcher.stop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await to_thread.run_sync(sweeper.stop)
        await events.aclose()
        await to_thread.run_sync(doorbell.close)
        client.close()

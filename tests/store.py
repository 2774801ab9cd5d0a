"""A real Valkey server for unit tests: one for each test process, emptied before each test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.backend.subscription import follow
from api.backend.waiting import Waiting
from shared.errors import UnavailableError
from shared.jobs import Job, Status, shard_of
from shared.ledger import keys
from shared.ledger.events import completion_channels, transition_channels
from shared.ledger.jobs.store import Ledger
from shared.ledger.stores import Stores, open_stores
from shared.ledger.tenants.api_keys import ApiKeys
from shared.tenants import ApiKey, Scope, Tenant, new_key
from tests.chaos.store_clock import set_clock
from tools.service import Service
from tools.stack import valkey

T = TypeVar("T")

LEASE: Final = timedelta(seconds=30)
CONFIGURATION: Final = """
port 0
unixsocket "{socket}"
appendonly no
save ""
maxmemory-policy noeviction
loglevel warning
daemonize no
"""


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """Run a server that keeps nothing on disk; yield its socket."""
    socket = folder / "valkey"
    lines: list[str] = []
    configuration = CONFIGURATION.format(socket=socket)
    service = Service("valkey", [valkey(), "-"], {}, lambda _, line: lines.append(line), stdin=configuration)
    service.start()
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            while not _answers(client):
                if service.wait(0.01):
                    msg = f"valkey ended at start: {lines}"
                    raise RuntimeError(msg)
        yield socket
    finally:
        service.stop()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


class Switch(redis.ConnectionPool):
    """Connections to a server. While it is `away`, none can be had."""

    away = False

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if self.away:
            raise redis.ConnectionError
        return super().get_connection(*args, **options)


class CountingLedger(Ledger):
    """The store of jobs, with the numbers of records that were read, and of reads that failed."""

    reads = 0
    refused = 0

    def read(self, job_id: str) -> Job | None:
        job = self._counted(lambda: super(CountingLedger, self).read(job_id))
        self.reads += 1
        return job

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        statuses = self._counted(lambda: super(CountingLedger, self).statuses(job_ids))
        self.reads += len(job_ids)
        return statuses

    def _counted(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except UnavailableError:
            self.refused += 1
            raise


class CountingApiKeys(ApiKeys):
    """The store of API keys, with the number of times that one was looked up for a request."""

    lookups = 0

    def find(self, key_id: str) -> tuple[ApiKey, Tenant] | None:
        self.lookups += 1
        return super().find(key_id)


class LiveStore:
    """An empty server, the means to break it, and a look at what it holds."""

    def __init__(self, socket: Path) -> None:
        self._path = str(socket)
        retry = Retry(NoBackoff(), 1)
        self._switch = Switch(
            connection_class=redis.UnixDomainSocketConnection, path=self._path, retry=retry, driver_info=None
        )
        self.client = redis.Redis.from_pool(self._switch)
        """The client of the code under test."""
        self.inside = redis.Redis(unix_socket_path=self._path, driver_info=None)
        """The client of the test, which reaches a server that is away."""
        self.inside.config_set("maxmemory", 0)
        self.inside.flushall()

    def close(self) -> None:
        self.client.close()
        self.inside.close()

    def open(
        self, *, shards: int = 1, lease: timedelta = LEASE, retry_window: timedelta = timedelta(hours=1)
    ) -> Stores:
        """Every store, those of jobs and of API keys with counters."""
        stores = open_stores(self.client, shards=shards, lease=lease, retry_window=retry_window)
        jobs = CountingLedger(
            self.client, shards=shards, lease=lease, retry_window=retry_window, pressure=stores.pressure
        )
        return replace(stores, jobs=jobs, api_keys=CountingApiKeys(self.client, shards=shards))

    def ledger(self) -> CountingLedger:
        """The store of jobs alone."""
        return CountingLedger(self.client, shards=1, lease=LEASE)

    @asynccontextmanager
    async def followed(self, waiting: Waiting, *, shards: int = 1) -> AsyncIterator[None]:
        """Pass on to `waiting` what the server publishes, from the first moment."""
        channels = completion_channels(shards)
        # As `connect_async` does: with a timeout, the driver loses a cancellation now and then before Python 3.12.
        events = redis.asyncio.Redis(unix_socket_path=self._path, socket_timeout=None, driver_info=None)
        task = asyncio.create_task(
            follow(events, completions=channels, transitions=transition_channels(shards), waiting=waiting)
        )
        try:
            with waiting.watch("probe") as watch:
                while not await watch.happened(within=timedelta(0)):
                    self.inside.publish(channels[-1], "probe completed")
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await events.aclose()

    @property
    def away(self) -> bool:
        """True while the code under test cannot reach the server."""
        return self._switch.away

    @away.setter
    def away(self, away: bool) -> None:
        self._switch.away = away

    def fill(self) -> None:
        """Leave so little memory that no job is accepted."""
        self.inside.config_set("maxmemory", round(self.inside.info("memory")["used_memory"] * 1.2))

    def set_clock(self, *, by: float) -> None:
        """Set the server's clock forward by so many seconds."""
        set_clock(self.inside, by=by)

    def forget(self, job_id: str) -> None:
        """Drop a job's record, as the server does when its time to live is over."""
        self.inside.delete(keys.job(shard_of(job_id), job_id))

    def ids(self, kind: str) -> list[str]:
        """The ids of all records of a kind: `job`, `session`."""
        names = cast("Iterator[bytes]", self.inside.scan_iter(f"{keys.ROOT}:*:{kind}:*", count=1000))
        return sorted(name.decode().rpartition(":")[2] for name in names)

    def field(self, job_id: str, name: str) -> str | None:
        """A field of a job's record."""
        value = cast("bytes | None", self.inside.hget(keys.job(shard_of(job_id), job_id), name))
        return None if value is None else value.decode()

    def images(self, job_id: str) -> tuple[bytes | None, bytes | None]:
        """The image and the reference that are kept of a job."""
        shard = shard_of(job_id)
        image, reference = (self.inside.get(key(shard, job_id)) for key in (keys.image, keys.reference))
        return cast("bytes | None", image), cast("bytes | None", reference)

    def fetches(self) -> dict[str, float]:
        """The jobs that wait for their images, each with the time until which a fetcher holds it."""
        rows = cast("list[tuple[bytes, float]]", self.inside.zrange(keys.fetch(0), 0, -1, withscores=True))
        return {name.decode(): until for name, until in rows}


def give_key(stores: Stores, tenant: str, *scopes: Scope, expires_at: float | None = None) -> str:
    """A fresh API key, in full. Its tenant is registered if it is new."""
    public, whole, digest = new_key()
    stores.tenants.create(Tenant(tenant))
    key = ApiKey(public, tenant, frozenset(scopes or Scope), digest, expires_at=expires_at)
    assert stores.api_keys.create(key) is not None
    return whole

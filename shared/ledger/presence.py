"""Which workers are alive with their models loaded: what readiness depends on."""

import json
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a warmed worker says of itself."""

    worker: str
    model_pack: str
    embedding_contract: str
    embedding_size: int
    provider: str
    threads: int
    attributes: tuple[str, ...] = ()
    """What its pack tells of a face beyond embedding and liveness."""


class Presence:
    """The roll call of workers. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._announce = scripts.register(client, "announce", beside=__package__, parts=())
        self._present = scripts.register(client, "present", beside=__package__, parts=())

    def announce(self, info: WorkerInfo, *, good_for: timedelta) -> None:
        """Say that this worker is warmed and alive for `good_for` from now."""
        with store_errors():
            self._announce(
                keys=[keys.WORKERS_SEEN, keys.WORKERS_INFO],
                args=[info.worker, good_for.total_seconds(), json.dumps(asdict(info))],
            )

    def leave(self, worker: str) -> None:
        """Say that this worker stops: the gateway need not wait for it to fall silent."""
        with store_errors():
            self._client.zrem(keys.WORKERS_SEEN, worker)
            self._client.hdel(keys.WORKERS_INFO, worker)

    def alive(self) -> list[WorkerInfo]:
        """Every warmed worker that is alive now."""
        with store_errors():
            rows = self._present(keys=[keys.WORKERS_SEEN, keys.WORKERS_INFO])
        return sorted(map(_read, rows), key=lambda info: info.worker)


def _read(row: bytes) -> WorkerInfo:
    """What a worker says of itself; what a newer one says beyond ours is left out."""
    found = json.loads(row)
    said = {field.name: found[field.name] for field in fields(WorkerInfo) if field.name in found}
    return WorkerInfo(**{**said, "attributes": tuple(said.get("attributes", ()))})

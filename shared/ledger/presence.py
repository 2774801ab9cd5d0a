"""The workers that are alive with their models loaded. Readiness depends on them."""

import json
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a warm worker announces about itself."""

    worker: str
    model_pack: str
    embedding_contract: str
    embedding_size: int
    provider: str
    threads: int
    attributes: tuple[str, ...] = ()
    """Attributes that its pack supports in addition to embedding and liveness."""


class Presence:
    """The registry of live workers. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._announce = scripts.register(client, "announce", beside=__package__, parts=())
        self._present = scripts.register(client, "present", beside=__package__, parts=())

    def announce(self, info: WorkerInfo, *, good_for: timedelta) -> None:
        """Announce that this worker is warm and counts as alive for `good_for` from now."""
        with store_errors():
            self._announce(
                keys=[keys.WORKERS_SEEN, keys.WORKERS_INFO],
                args=[info.worker, good_for.total_seconds(), json.dumps(asdict(info))],
            )

    def leave(self, worker: str) -> None:
        """Remove this worker at once instead of waiting until its announcement expires."""
        with store_errors():
            self._client.zrem(keys.WORKERS_SEEN, worker)
            self._client.hdel(keys.WORKERS_INFO, worker)

    def alive(self) -> list[WorkerInfo]:
        """Return every warm worker that is alive now."""
        with store_errors():
            rows = self._present(keys=[keys.WORKERS_SEEN, keys.WORKERS_INFO])
        return sorted(map(_read, rows), key=lambda info: info.worker)


def _read(row: bytes) -> WorkerInfo:
    """Decode an announcement. Fields of newer versions are ignored."""
    record = json.loads(row)
    values = {field.name: record[field.name] for field in fields(WorkerInfo) if field.name in record}
    return WorkerInfo(**{**values, "attributes": tuple(values.get("attributes", ()))})

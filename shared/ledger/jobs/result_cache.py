"""Results kept for repeated images, found by the digest of everything that they depend on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import redis
from pydantic_core import from_json, to_json
from redis import exceptions

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import shard_of
from shared.ledger import keys
from shared.tenants import DEFAULT


class Results:
    """The cache of results. Safe to share between threads.

    What it keeps is biometric data. A digest names its shard itself, not that of a job: equal images meet.

    Raises (every method):
        UnavailableError: `store_unavailable`, whatever the reason: no memory left, no permission, not a string.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    def find(self, digest: str) -> dict[str, Any] | None:
        """The result, or None where there is none that can be read."""
        with _any_error():
            kept = cast("bytes | None", self._client.get(self._key(digest)))
        try:
            found = from_json(kept) if kept else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def keep(self, digest: str, result: Mapping[str, Any], *, good_for: timedelta) -> None:
        """Keep a result for `good_for` from now."""
        with _any_error():
            self._client.set(self._key(digest), to_json(result), px=good_for)

    def forget(self, job_id: str, *, tenant: str = DEFAULT) -> None:
        """Erase the kept result that this job wrote or was answered from, for the other jobs with it as well."""
        key = keys.job(shard_of(job_id), job_id)
        with _any_error():
            digest, owner = cast("list[bytes | None]", self._client.hmget(key, "cached_as", "tenant"))
            if digest and owner == tenant.encode():
                self._client.delete(self._key(digest.decode()))

    def _key(self, digest: str) -> str:
        return keys.result(int(digest[:8], 16) % self._shards, digest)


@contextmanager
def _any_error() -> Iterator[None]:
    """Of a cache nobody needs to know more than that it does not work."""
    try:
        yield
    except (redis.RedisError, exceptions.RedisClusterException) as error:
        raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The result cache cannot be used just now.") from error

"""The cache of results for repeated images, by a digest of everything that a result depends on."""

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
    """The cache of results. Thread-safe.

    Cached results are biometric data. The shard depends on the digest and not on a job, so that equal images share an
    entry.

    Raises (every method):
        UnavailableError: `store_unavailable`, for any error of the store.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    def find(self, digest: str) -> dict[str, Any] | None:
        """Return the cached result, or None if there is none or it cannot be read."""
        with _any_error():
            text = cast("bytes | None", self._client.get(self._key(digest)))
        try:
            result = from_json(text) if text else None
        except ValueError:
            return None
        return result if isinstance(result, dict) else None

    def keep(self, digest: str, result: Mapping[str, Any], *, good_for: timedelta) -> None:
        """Cache a result for `good_for`."""
        with _any_error():
            self._client.set(self._key(digest), to_json(result), px=good_for)

    def forget(self, job_id: str, *, tenant: str = DEFAULT) -> None:
        """Erase the cached result that this job wrote or used. Other jobs with the same input lose it too."""
        key = keys.job(shard_of(job_id), job_id)
        with _any_error():
            digest, owner = cast("list[bytes | None]", self._client.hmget(key, "cached_as", "tenant"))
            if digest and owner == tenant.encode():
                self._client.delete(self._key(digest.decode()))

    def _key(self, digest: str) -> str:
        return keys.result(int(digest[:8], 16) % self._shards, digest)


@contextmanager
def _any_error() -> Iterator[None]:
    """Convert every error of the store: callers only need to know that the cache does not work."""
    try:
        yield
    except (redis.RedisError, exceptions.RedisClusterException) as error:
        raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The result cache is unavailable.") from error

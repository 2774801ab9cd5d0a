"""Atomic changes of a record, refused if the caller's version is out of date."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import redis

from shared.errors import ErrorCode, RequestError
from shared.ledger import scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import pairs


class Changes:
    """Runs the script that changes fields of a record. Thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._change = scripts.register(client, "record_change", beside=__package__, parts=())

    def apply(
        self,
        key: str,
        fields: Mapping[str, str],
        *,
        removed: Sequence[str] = (),
        stamped: Sequence[str] = (),
        versions: Collection[int] | None = None,
    ) -> dict[bytes, bytes] | None:
        """Set, remove or timestamp fields of the record at `key`. Return the record, or None if it does not exist.

        Raises:
            RequestError: `precondition_failed`: `versions` are given and do not include the record's.
            UnavailableError: `store_unavailable`.
        """
        with store_errors():
            row = self._change(
                keys=[key],
                args=[
                    json.dumps(dict(fields)),
                    json.dumps(list(removed)),
                    json.dumps(list(stamped)),
                    expected(versions),
                ],
            )
        refuse_stale(row)
        return None if row is None else pairs(row)


def written(record: object, write: Mapping[str, Callable[[Any], str]]) -> dict[str, str]:
    """Convert the fields of a record to texts, each with its own function."""
    return {name: to_text(getattr(record, name)) for name, to_text in write.items()}


def expected(versions: Collection[int] | None) -> str:
    """Encode the expected versions for the scripts."""
    return "" if versions is None else json.dumps(sorted(versions))


def refuse_stale(reply: Any) -> None:
    """Raise an error if a script refused a change because of the record's version.

    Raises:
        RequestError: `precondition_failed`.
    """
    if reply == b"stale":
        detail = "The resource has changed since the version in If-Match. Read it again, then repeat the change."
        raise RequestError(ErrorCode.PRECONDITION_FAILED, detail)

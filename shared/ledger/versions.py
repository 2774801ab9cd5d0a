"""Changes of one record in one atomic step, refused where the caller saw an older version."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import redis

from shared.errors import ErrorCode, RequestError
from shared.ledger import scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import pairs


class Changes:
    """Runs the script that changes fields of a record. Safe to share between threads."""

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
        """Set, remove, or set to the present moment, fields of the record at `key`; return it, None if there is none.

        Raises:
            RequestError: `precondition_failed`: its version is not among `versions`, where those are given.
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
    """The fields of a record as texts, each by its own rule."""
    return {name: to_text(getattr(record, name)) for name, to_text in write.items()}


def expected(versions: Collection[int] | None) -> str:
    """The versions that a change may meet, as the scripts read them."""
    return "" if versions is None else json.dumps(sorted(versions))


def refuse_stale(reply: Any) -> None:
    """Return unless a script refused a change because of the version of the record.

    Raises:
        RequestError: `precondition_failed`.
    """
    if reply == b"stale":
        detail = "The resource has changed since the version in If-Match. Read it again, then repeat the change."
        raise RequestError(ErrorCode.PRECONDITION_FAILED, detail)

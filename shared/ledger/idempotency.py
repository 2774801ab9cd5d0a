"""Idempotency keys: who is about to use one, and what it led to."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError
from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors

RECEIVING: Final = timedelta(seconds=60)
"""How long a submission may hold its key before it is on record; a gateway that died holds it no longer."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a key led to: the id of a job or batch, and the fingerprint of the submission."""

    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A key in a submission's hands; `known` is set where it was used before, and then it is in nobody's."""

    shard: int
    digest: str
    token: str
    known: Known | None = None
    fingerprint: str = ""

    def sealed(self, fingerprint: str) -> "Reservation":
        """With the fingerprint of the submission, ready to be settled by its acceptance."""
        return replace(self, fingerprint=fingerprint)

    @property
    def arguments(self) -> tuple[str, str, str]:
        """As the scripts take it."""
        return self.digest, self.token, self.fingerprint


NO_KEY: Final = Reservation(shard=0, digest="", token="")
"""A submission without a key."""


class Idempotency:
    """The keys that submissions carry. Safe to share between threads.

    A key's shard follows from the key, and its job is put on that shard: so one script settles both.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._abandon = scripts.register(client, "abandon", beside=__package__, parts=())

    def begin(self, scope: str, key: str) -> Reservation:
        """Take a key, before the submission is read; where it was used before, `known` says for what.

        Args:
            scope: whose key it is, and for which call: equal keys of others do not meet.
            key: as the caller sent it.

        Raises:
            RequestError: `idempotency_in_progress`: a submission with this key is being received just now.
        """
        digest = hashlib.sha256(f"{scope}\n{key}".encode()).hexdigest()
        shard = int(digest[:8], 16) % self._shards
        token = secrets.token_hex(8)
        with store_errors():
            held = cast(
                "bytes | None",
                self._client.set(
                    keys.idempotency(shard, digest), f"receiving {token}", nx=True, get=True, px=RECEIVING
                ),
            )
        # Our own: the answer to the first try was lost, and the driver has tried again.
        if held is None or held == f"receiving {token}".encode():
            return Reservation(shard=shard, digest=digest, token=token)
        first, rest = held.decode().split(" ", 1)
        if first == "receiving":
            raise in_progress()
        return Reservation(shard=shard, digest=digest, token="", known=Known(first, rest))

    def abandon(self, reservation: Reservation) -> None:
        """Give a key back: its submission came to nothing."""
        if reservation.token:
            with store_errors():
                self._abandon(
                    keys=[keys.idempotency(reservation.shard, reservation.digest)],
                    args=[keys.prefix(reservation.shard), reservation.token],
                )


def in_progress() -> RequestError:
    """What is said while another submission holds the key."""
    return RequestError(
        ErrorCode.IDEMPOTENCY_IN_PROGRESS,
        "A submission with this Idempotency-Key is being received just now; send it again in a moment.",
    )


def refuse_where_lost(answer: Sequence[Any]) -> None:
    """Read what a script says that settles a key.

    Raises:
        RequestError: `idempotency_in_progress`: the key is another's now.
    """
    if answer[0] == b"lost":
        raise in_progress()

"""Idempotency keys: reservations of submissions in progress, and the jobs that keys led to."""

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
"""How long a submission may hold its key before it is accepted. The key of a gateway that died is free after that."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a key led to: the id of a job or batch, and the fingerprint of the submission."""

    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A submission's hold on a key. If the key was used before, `known` is set and the submission does not hold it."""

    shard: int
    digest: str
    token: str
    known: Known | None = None
    fingerprint: str = ""

    def sealed(self, fingerprint: str) -> "Reservation":
        """Return a copy with the fingerprint of the submission, which acceptance stores with the key."""
        return replace(self, fingerprint=fingerprint)

    @property
    def arguments(self) -> tuple[str, str, str]:
        """The arguments for the scripts."""
        return self.digest, self.token, self.fingerprint


NO_KEY: Final = Reservation(shard=0, digest="", token="")
"""The reservation of a submission without a key."""


class Idempotency:
    """The store of idempotency keys. Thread-safe.

    The key determines the shard, and the job goes to the same shard, so that one script can write both.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._abandon = scripts.register(client, "abandon", beside=__package__, parts=())

    def begin(self, scope: str, key: str) -> Reservation:
        """Reserve a key before the submission is read. If it was used before, `known` says for what.

        Args:
            scope: caller and call. Equal keys in different scopes are independent.
            key: as the caller sent it.

        Raises:
            RequestError: `idempotency_in_progress`: another submission with this key is being received.
        """
        digest = hashlib.sha256(f"{scope}\n{key}".encode()).hexdigest()
        shard = int(digest[:8], 16) % self._shards
        token = secrets.token_hex(8)
        with store_errors():
            holder = cast(
                "bytes | None",
                self._client.set(
                    keys.idempotency(shard, digest), f"receiving {token}", nx=True, get=True, px=RECEIVING
                ),
            )
        # If the holder is this reservation, the reply to the first try was lost and the driver has tried again.
        if holder is None or holder == f"receiving {token}".encode():
            return Reservation(shard=shard, digest=digest, token=token)
        first, rest = holder.decode().split(" ", 1)
        if first == "receiving":
            raise in_progress()
        return Reservation(shard=shard, digest=digest, token="", known=Known(first, rest))

    def abandon(self, reservation: Reservation) -> None:
        """Release a key whose submission was not accepted."""
        if reservation.token:
            with store_errors():
                self._abandon(
                    keys=[keys.idempotency(reservation.shard, reservation.digest)],
                    args=[keys.prefix(reservation.shard), reservation.token],
                )


def in_progress() -> RequestError:
    """Return the error for a key that another submission holds."""
    return RequestError(
        ErrorCode.IDEMPOTENCY_IN_PROGRESS,
        "Another request with this Idempotency-Key is still being received. Send the request again in a moment.",
    )


def refuse_if_lost(reply: Sequence[Any]) -> None:
    """Raise an error if the reply of an accepting script says that the reservation was lost.

    Raises:
        RequestError: `idempotency_in_progress`: another submission holds the key.
    """
    if reply[0] == b"lost":
        raise in_progress()

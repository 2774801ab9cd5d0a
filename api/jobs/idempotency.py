"""A submission under an idempotency key: held while it is received, settled by its acceptance, or given back."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio import CancelScope, to_thread

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.ledger.idempotency import NO_KEY, Idempotency, Reservation


@asynccontextmanager
async def reserved(idempotency: Idempotency, *, tenant: str, route: str, key: str | None) -> AsyncIterator[Reservation]:
    """Hold a key for what happens inside; whatever is refused or breaks off inside gives it back.

    Raises:
        RequestError: `idempotency_in_progress`.
        UnavailableError: `store_unavailable`.
    """
    if key is None:
        yield NO_KEY
        return
    reservation = await to_thread.run_sync(idempotency.begin, f"{tenant} {route}", key)
    try:
        yield reservation
    except BaseException:
        # An acceptance whose answer was lost has settled the key already: then this changes nothing.
        with CancelScope(shield=True), suppress(UnavailableError):
            await to_thread.run_sync(idempotency.abandon, reservation)
        raise


def fingerprint(submission: Any) -> str:
    """What tells two submissions apart; equal for equal contents, however their bodies were written down.

    Args:
        submission: anything that JSON has, with bytes for images.
    """
    text = json.dumps(submission, sort_keys=True, separators=(",", ":"), default=_digest)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


def known_as(reservation: Reservation, mark: str) -> str | None:
    """The id that the key led to before; None where it is new.

    Raises:
        RequestError: `idempotency_mismatch`: it was used for another submission.
    """
    if reservation.known is None:
        return None
    if reservation.known.fingerprint != mark:
        raise RequestError(
            ErrorCode.IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used for another submission; a new submission needs a new key.",
        )
    return reservation.known.id

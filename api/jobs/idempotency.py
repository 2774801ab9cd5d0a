"""Idempotency keys: reserved while a submission is received, settled when it is accepted, else released."""

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
    """Reserve a key for the duration of the block, and release it if the block raises.

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
        # If the acceptance succeeded but its response was lost, the key is settled and this has no effect.
        with CancelScope(shield=True), suppress(UnavailableError):
            await to_thread.run_sync(idempotency.abandon, reservation)
        raise


def fingerprint(submission: Any) -> str:
    """A digest that is equal for equal submissions, however their bodies are encoded.

    Args:
        submission: JSON-compatible data, with images as bytes.
    """
    text = json.dumps(submission, sort_keys=True, separators=(",", ":"), default=_digest)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


def replayed_id(reservation: Reservation, mark: str) -> str | None:
    """The id that was created under this key before; None for a new key.

    Raises:
        RequestError: `idempotency_mismatch`: the key was used for a different submission.
    """
    if reservation.known is None:
        return None
    if reservation.known.fingerprint != mark:
        raise RequestError(
            ErrorCode.IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was already used for a different submission. Use a new key for each submission.",
        )
    return reservation.known.id
